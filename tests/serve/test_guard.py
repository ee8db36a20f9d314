"""Who may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
import tritonclient.http as triton
from torch import Tensor

from ptprof.errors import UsageError
from ptprof.serve import ServedModel, Service
from ptprof.study import Study

TOKEN = "correct horse"


@pytest.fixture(scope="module")
def client(serving, small: Callable[[], ServedModel]) -> Iterator[httpx.Client]:
    with (
        serving({"fno": small()}, token=TOKEN) as address,
        httpx.Client(base_url=f"http://{address}") as client,
    ):
        yield client


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer wrong", "correct horse", f"Basic {TOKEN}", f"Bearer {TOKEN}x"],
)
@pytest.mark.parametrize("path", ["/v2", "/v2/models/fno", "/metrics", "/page/overview", "/nowhere"])
def test_without_the_token_nothing_is_told(client: httpx.Client, path: str, given: str | None) -> None:
    response = client.get(path, headers={} if given is None else {"Authorization": given})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in response.json()["error"]


def test_no_model_is_unloaded_without_the_token(client: httpx.Client) -> None:
    assert client.post("/v2/repository/models/fno/unload").status_code == 401
    known = {"Authorization": f"bearer {TOKEN}"}
    assert client.get("/v2/models/fno/ready", headers=known).status_code == 200


def test_supervisors_need_none(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200


def test_real_clients_send_it(serving, small: Callable[[], ServedModel], state: Tensor) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    given = triton.InferInput("state", list(state.shape), "FP32").set_data_from_numpy(state.numpy())
    with (
        serving({"fno": small()}, token=TOKEN) as address,
        triton.InferenceServerClient(address) as client,
    ):
        assert client.is_server_ready()
        assert client.infer("fno", [given], headers=headers).as_numpy("next") is not None
        with pytest.raises(triton.InferenceServerException, match=r"\[401\]"):
            client.infer("fno", [given])


def test_pages_of_other_sites_may_not_ask(serving, small: Callable[[], ServedModel]) -> None:
    """A browser sends to this machine whatever a page tells it to."""
    unload = "/v2/repository/models/fno/unload"
    with serving({"fno": small()}) as address, httpx.Client(base_url=f"http://{address}") as client:
        for origin in ("https://evil.example", "http://127.0.0.1:1", "null", "http://[", ""):
            assert client.post(unload, headers={"Origin": origin}).status_code == 403
            assert client.get("/v2/models/fno/ready").status_code == 200
        own = {"Origin": f"http://{address}"}
        assert client.post("/v2/repository/index", headers=own).status_code == 200


@pytest.mark.parametrize("token", ["", " x", "x ", "ключ", "a\nb"])
def test_tokens_that_no_header_can_carry(tmp_path, token: str) -> None:
    with pytest.raises(UsageError, match="a token is printable ASCII"):
        Service(study=Study(tmp_path), token=token)

"""The Python client and `ptprof query`, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ptprof
from ptprof.errors import DataError, ProtocolError, PtprofError, UsageError
from ptprof.querying import ask
from ptprof.runtimes import Runner, open_runner
from ptprof.serve import Limits, ServedModel, create_app
from ptprof.serve.server import http_server, listen

SHAPE = (3, 2, 8, 12)
TOKEN = "a-token"


class Mixing(nn.Module):
    """A step of two fields; every value depends on the whole window."""

    state_shape = SHAPE

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.mix = nn.Conv2d(6, 2, 3, padding=1, padding_mode="circular")

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        following = state[:, -1] + torch.tanh(self.mix(state.flatten(1, 2)))
        return following, torch.cat((state[:, 1:], following.unsqueeze(1)), dim=1)


class Diverging(nn.Module):
    state_shape = SHAPE

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        return state[:, -1] * torch.inf, state


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    models = {
        "fno": ServedModel.of(open_runner("eager", Mixing()), fields="tracer, pressure"),
        "bad": ServedModel.of(open_runner("eager", Diverging()), fields="tracer, pressure"),
    }
    with listen("127.0.0.1", 0) as listener:
        server = http_server(create_app(models, token=TOKEN, limits=Limits(max_response_bytes=20_000)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def client(url: str) -> Iterator[ptprof.Client]:
    with ptprof.Client(url + "/", token=TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with open_runner("eager", Mixing()) as runner:
        yield runner


STATE = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(2))


def test_numpy_in_and_out(client: ptprof.Client, runner: Runner) -> None:
    expected = runner.rollout(STATE, 7).numpy()
    np.testing.assert_array_equal(client.step(STATE.numpy(), model="fno"), expected[:, 0])
    np.testing.assert_array_equal(client.rollout(STATE.numpy(), 7, model="fno"), expected)
    every = client.rollout(STATE.numpy().astype(np.float64), 7, states=3, model="fno")
    np.testing.assert_array_equal(every, expected[:, [2, 5]])
    assert client.cost == {"energy_missing": "not metered"}


def test_a_state_without_a_batch_gives_forecasts_without_one(client: ptprof.Client, runner: Runner) -> None:
    expected = runner.rollout(STATE[1:], 4).numpy()[0]
    window = STATE[1].numpy()
    np.testing.assert_array_equal(client.step(window, model="fno"), expected[0])
    np.testing.assert_array_equal(client.rollout(window, 4, states="last", model="fno"), expected[3:])
    np.testing.assert_array_equal(np.stack(list(client.stream(window, 4, model="fno"))), expected)


def test_a_stream_is_longer_than_any_one_answer(client: ptprof.Client, runner: Runner) -> None:
    with pytest.raises(ProtocolError, match="stream it") as refusal:
        client.rollout(STATE.numpy(), 40, model="fno")
    assert refusal.value.status == 400
    states = np.stack(list(client.stream(STATE.numpy(), 40, model="fno")), axis=1)
    np.testing.assert_array_equal(states, runner.rollout(STATE, 40).numpy())
    assert client.cost == {"energy_missing": "not metered"}


def test_what_the_server_tells_of_itself(client: ptprof.Client) -> None:
    assert client.models() == ["fno", "bad"]
    assert client.state_shape("fno") == SHAPE
    assert client.fields("fno") == ("tracer", "pressure")


def test_what_goes_wrong_comes_in_words(client: ptprof.Client, url: str) -> None:
    state = STATE.numpy()
    with pytest.raises(PtprofError, match="serves fno, bad: name one"):
        client.step(state)
    with pytest.raises(ProtocolError, match=r"unknown model 'fmo' \(did you mean 'fno'"):
        client.step(state, model="fmo")
    with pytest.raises(ProtocolError, match="not served here"):
        client.step(state, model="a/b")
    with pytest.raises(PtprofError, match="not of 3 dimensions"):
        client.step(state[0, 0], model="fno")
    with pytest.raises(ProtocolError, match="holds NaN"):
        client.step(state * np.nan, model="fno")
    with pytest.raises(ProtocolError, match="longer than"):
        list(client.stream(state, 10**6, model="fno"))
    with ptprof.Client(url) as stranger, pytest.raises(ProtocolError, match="Bearer") as refusal:
        stranger.models()
    assert refusal.value.status == 401
    with ptprof.Client("http://127.0.0.1:9") as lost, pytest.raises(PtprofError, match="no answer from http"):
        lost.models()
    with ptprof.Client("no url") as lost, pytest.raises(PtprofError, match="no answer from no url"):
        lost.models()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"outputs": [], "parameters": {"step": 1}}\n', "broke off"),
        (
            b'{"outputs": [{"name": "states", "shape": [1], "parameters": {"binary_data_size": 4}}]}\nab',
            "broke off",
        ),
        (b'{"error": "the forecast failed", "status": 500}\n', "the forecast failed"),
    ],
)
def test_a_stream_that_breaks_off_is_no_forecast(content: bytes, words: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=iter([content])))
    with ptprof.Client(transport=transport) as client, pytest.raises(PtprofError, match=words):
        list(client.stream(STATE.numpy(), 2, model="fno"))


def query(client: ptprof.Client, folder: Path, **options: object) -> object:
    path = folder / "window.npy"
    np.save(path, STATE[0].numpy())
    settings = {"steps": 4, "states": "all", "window": path, "trajectory": 0, "seed": None, "out": None}
    return ask(client, "fno", **settings | options)  # type: ignore[arg-type]


def test_query_writes_what_was_forecast(client: ptprof.Client, runner: Runner, tmp_path: Path) -> None:
    out = tmp_path / "states.npy"
    answer = query(client, tmp_path, states="2", out=out)
    expected = runner.rollout(STATE[:1], 4).numpy()[0, [1, 3]]
    np.testing.assert_array_equal(np.load(out), expected)
    assert answer.shape == expected.shape
    assert [field.field for field in answer.last] == ["tracer", "pressure"]
    assert answer.last[1].mean == pytest.approx(expected[-1, 1].mean(dtype=np.float64))
    assert answer.last[0].lowest == expected[-1, 0].min()


def test_query_leaves_nothing_behind_where_it_fails(client: ptprof.Client, tmp_path: Path) -> None:
    out = tmp_path / "states.npy"
    text = tmp_path / "text.npy"
    text.write_text("state")
    whole = tmp_path / "whole.npy"
    np.save(whole, np.arange(3))
    for options, error, words in (
        ({"window": text}, DataError, "not an array as numpy.save writes it"),
        ({"window": whole}, DataError, "floating-point"),
        ({"states": "some"}, UsageError, "--states is all, last or a number"),
        ({"steps": 10**6}, ProtocolError, "longer than"),
    ):
        with pytest.raises(error, match=words):
            query(client, tmp_path, out=out, **options)
    window = tmp_path / "window.npy"
    with pytest.raises(DataError, match="diverged"):
        ask(client, "bad", steps=2, states="all", window=window, trajectory=0, seed=None, out=out)
    assert not out.exists()


def test_the_command(url: str, tmp_path: Path) -> None:
    path = tmp_path / "window.npy"
    np.save(path, STATE.numpy())
    command = [
        sys.executable,
        "-m",
        "ptprof",
        "query",
        "fno",
        "--url",
        url,
        "--steps",
        "3",
        "--input",
        str(path),
    ]
    done = subprocess.run([*command, "--json", "--token", TOKEN], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert (said["steps"], said["shape"]) == (3, [2, 3, 2, 8, 12])
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("ptprof: this server wants the header Authorization")
    assert refused.stderr.count("\n") == 1


def test_the_package_is_light() -> None:
    """`ptprof.Client` is there, and nothing is loaded for it before it is asked for."""
    program = (
        "import sys, ptprof; heavy = {'numpy', 'httpx', 'torch'}; assert not heavy & set(sys.modules);"
        "ptprof.Client; assert 'torch' not in sys.modules and 'starlette' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

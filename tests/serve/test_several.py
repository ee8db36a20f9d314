"""A server that is one of several behind one address: what it tells is of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from torch import Tensor

from ptprof.errors import UsageError
from ptprof.serve import Limits, ServedModel, create_app, read_settings
from ptprof.serve.ledger import open_ledger
from ptprof.serve.telemetry import Snapshot

INFER = "/v2/models/fno/infer"


@dataclass
class Pair:
    """Two servers of one model that know of each other, and a way to ask either."""

    apps: list[Starlette]
    loop: asyncio.Runner

    def ask(self, which: int, path: str, content: bytes | None = None) -> httpx.Response:
        async def asking() -> httpx.Response:
            transport = httpx.ASGITransport(self.apps[which])
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.request("GET" if content is None else "POST", path, content=content)

        return self.loop.run(asking())


@contextmanager
def pair(small: Callable[[], ServedModel], **options: object) -> Iterator[Pair]:
    apps: list[Starlette] = []

    async def everyone() -> Sequence[Snapshot]:
        return [app.state.telemetry.snapshot(replica=name) for app, name in zip(apps, "ab", strict=True)]

    apps += [create_app({"fno": small()}, everyone=everyone, **options) for _ in range(2)]  # type: ignore[arg-type]
    with asyncio.Runner() as loop:
        yield Pair(apps, loop)


def request(state: Tensor, **parameters: object) -> bytes:
    given = {
        "name": "state",
        "datatype": "FP32",
        "shape": list(state.shape),
        "data": state.flatten().tolist(),
    }
    return orjson.dumps({"inputs": [given], "parameters": parameters})


def test_statistics_add_up_and_metrics_stand_apart(small: Callable[[], ServedModel], state: Tensor) -> None:
    with pair(small) as both:
        for which, states in ((0, 2), (0, 1), (1, 2)):
            assert both.ask(which, INFER, request(state[:states])).status_code == 200
        assert both.ask(1, INFER, b"{").status_code == 400
        for which in range(2):
            (stats,) = both.ask(which, "/v2/models/fno/stats").json()["model_stats"]
            assert (stats["inference_count"], stats["execution_count"]) == (5, 3)
            assert (
                stats["inference_stats"]["success"]["count"],
                stats["inference_stats"]["fail"]["count"],
            ) == (3, 1)
            batches = {batch["batch_size"]: batch["compute_infer"]["count"] for batch in stats["batch_stats"]}
            assert batches == {1: 1, 2: 2}
            families = list(text_string_to_metric_families(both.ask(which, "/metrics").text))
            assert len({family.name for family in families}) == len(families)
            steps = {
                sample.labels["replica"]: sample.value
                for family in families
                for sample in family.samples
                if sample.name == "ptprof_steps_total"
            }
            assert steps == {"a": 3, "b": 2}


def test_one_of_several_is_not_changed_by_itself(small: Callable[[], ServedModel]) -> None:
    with pair(small) as both:
        for verb in ("load", "unload"):
            refused = both.ask(0, f"/v2/repository/models/fno/{verb}", b"")
            assert refused.status_code == 400
            assert "deploy them anew" in refused.json()["error"]
        assert both.ask(0, "/v2/repository/index", b"").json()[0]["state"] == "READY"
        assert "model_repository" not in both.ask(0, "/v2").json()["extensions"]


def test_a_stream_that_may_pile_up_is_bounded(small: Callable[[], ServedModel], state: Tensor) -> None:
    """Twelve states of 2 × 8 × 12 values in fp32 are 9,216 bytes."""
    limits = Limits(max_response_bytes=9216, max_stream_bytes=9216)
    with pair(small, limits=limits) as both:
        parameters = {"stream": True, "binary_data_output": True}
        fits = both.ask(0, INFER, request(state[:1], rollout_steps=12, **parameters))
        assert fits.status_code == 200
        assert b'"final":true' in fits.content
        for streamed in (True, False):
            refused = both.ask(
                0, INFER, request(state[:1], rollout_steps=13, **parameters | {"stream": streamed})
            )
            assert refused.status_code == 400
            assert f"in one {'stream' if streamed else 'piece'}: keep every k-th" in refused.json()["error"]


def test_a_gpu_that_others_share_is_not_counted() -> None:
    with open_ledger("cuda:0", 6.0, "two share it") as ledger:
        account = ledger.begin()
        ledger.end(account)
        figures = ledger.energy(account)
    assert figures.gpu is None
    assert figures.missing["gpu"] == "two share it"
    assert figures.cpu is not None


@pytest.mark.parametrize(
    ("content", "replicas", "words"),
    [
        (None, None, "cannot be read"),
        ("a: [", None, "cannot be read"),
        ("- num_replicas", None, "not settings by name"),
        ("num_replicas: 3", 2, "has num_replicas, and --replicas"),
        ("autoscaling_config: {max_replicas: 3}", 2, "has autoscaling_config, and --replicas"),
    ],
)
def test_settings_that_cannot_be(tmp_path, content: str | None, replicas: int | None, words: str) -> None:
    path = tmp_path / "settings.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=words) as refused:
        read_settings(path, replicas)
    assert "\n" not in str(refused.value)


def test_settings_come_together(tmp_path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("max_ongoing_requests: 4\n")
    assert read_settings(path, 2) == {"max_ongoing_requests": 4, "num_replicas": 2}
    assert read_settings(None, None) == {}

"""When a query on a GPU becomes a CUDA graph, and that it goes on as before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ptprof.errors import RuntimeUnavailable
from ptprof.runtimes import Runner, cuda_graph, eager, open_runner


def test_only_a_gpu_captures_and_not_where_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PTPROF_CUDA_GRAPHS", raising=False)
    assert cuda_graph.wanted(torch.device("cuda:1"))
    assert not cuda_graph.wanted(torch.device("cpu"))
    monkeypatch.setenv("PTPROF_CUDA_GRAPHS", "off")
    assert not cuda_graph.wanted(torch.device("cuda:1"))


def test_a_query_is_captured_once_when_it_has_been_asked_often_enough(
    monkeypatch: pytest.MonkeyPatch, open_small: Callable[..., Runner], states: Callable[..., Tensor]
) -> None:
    calls: list[str] = []

    class Graph:
        def __init__(self, compute: Callable[[], None]) -> None:
            self.compute = compute

        def replay(self) -> None:
            calls.append("replay")
            self.compute()

    def captured(compute: Callable[[], None], device: torch.device) -> Graph:
        calls.append("capture")
        return Graph(compute)

    monkeypatch.setattr(eager, "wanted", lambda device: True)
    monkeypatch.setattr(eager, "captured", captured)
    state = states(1)
    with open_small("eager") as runner:
        query = runner.bind(state, 2)
        for _ in range(cuda_graph.CALLS_BEFORE):
            query()
        assert calls == []
        query()
        state.copy_(states(1, seed=4))
        query()
        assert calls == ["capture", "replay", "replay"]
        expected = runner.bind(states(1, seed=4), 2)
        expected()
        assert torch.equal(query.result, expected.result)


class Waiting(nn.Module):
    """A step that asks the GPU for a value, which a graph cannot hold."""

    state_shape = (2, 3, 8, 12)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        following = state[:, -1] * float(state.sum().item() > 0)
        return following, torch.cat((state[:, 1:], following.unsqueeze(1)), dim=1)


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", ["eager", "torchscript"])
def test_a_captured_rollout_is_the_one_that_was_captured(
    runtime: str, open_small: Callable[..., Runner], states: Callable[..., Tensor]
) -> None:
    state = states(1).cuda()
    with open_small(runtime, device="cuda:0") as runner:
        query = runner.bind(state, 5)
        for _ in range(cuda_graph.CALLS_BEFORE + 2):
            query()
        torch.testing.assert_close(query.result, runner.rollout(state, 5), rtol=1e-5, atol=1e-6)
        state.copy_(states(1, seed=4))
        query()
        torch.testing.assert_close(query.result, runner.rollout(state, 5), rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_what_cannot_be_captured_says_how_to_run_it(states: Callable[..., Tensor]) -> None:
    with open_runner("eager", Waiting(), device="cuda:0") as runner:
        query = runner.bind(states(1).cuda())
        for _ in range(cuda_graph.CALLS_BEFORE):
            query()
        with pytest.raises(RuntimeUnavailable, match="PTPROF_CUDA_GRAPHS=off"):
            query()

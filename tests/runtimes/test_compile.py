"""What is torch.compile's own: its compiler, its cache, one compiled query."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ptprof.errors import RuntimeUnavailable
from ptprof.runtimes import Runner
from ptprof.runtimes import compile as compile_runtime
from ptprof.runtimes.availability import provider


def test_without_a_compiler_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, open_small: Callable[..., Runner]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    for ask in (lambda: open_small("compile"), lambda: provider("compile", "cpu")):
        with pytest.raises(RuntimeUnavailable) as caught:
            ask()
        assert "needs a C++ compiler, and g++ is not here" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_compiled_step_and_rollout_are_the_module_s(
    open_small: Callable[..., Runner],
    step: nn.Module,
    states: Callable[..., Tensor],
    require_tool: Callable[[str], str],
) -> None:
    require_tool("g++")
    state = states(1)
    with open_small("compile") as runner, torch.inference_mode():
        assert runner.provider == provider("compile", "cpu") == "torch inductor cpu"
        following, state_out = step(state)
        torch.testing.assert_close(runner.step(state)[0], following, rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(runner.step(state)[1], state_out, rtol=1e-5, atol=2e-6)
        rollout = runner.rollout(state, 3)
        for lead in range(3):
            following, state = step(state)
            torch.testing.assert_close(rollout[:, lead], following, rtol=1e-5, atol=5e-6)


def test_generated_code_goes_with_the_process(tmp_path: object) -> None:
    code = """
import os
from ptprof.runtimes.compile import CACHE, own_cache
os.environ.pop(CACHE, None)
own_cache()
print(os.environ[CACHE], os.path.isdir(os.environ[CACHE]))
os.environ[CACHE] = "the user's"
own_cache()
assert os.environ[CACHE] == "the user's"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    folder, _, there = done.stdout.strip().rpartition(" ")
    assert there == "True"
    with pytest.raises(FileNotFoundError):
        open(folder)  # noqa: SIM115


def test_more_steps_than_it_takes_are_an_error_and_never_run_uncompiled(
    monkeypatch: pytest.MonkeyPatch,
    open_small: Callable[..., Runner],
    states: Callable[..., Tensor],
    require_tool: Callable[[str], str],
) -> None:
    require_tool("g++")
    monkeypatch.setattr(compile_runtime, "MOST_COMPILED", 1)
    torch.compiler.reset()
    with open_small("compile") as runner:
        runner.step(states(1))
        with pytest.raises(RuntimeUnavailable, match="takes no more"):
            runner.step(states(2))
        runner.step(states(1))

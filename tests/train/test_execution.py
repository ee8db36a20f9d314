"""What is refused before a training begins, and what is set while it runs."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch

from ptprof.errors import RuntimeUnavailable, UsageError
from ptprof.records import Execution
from ptprof.train import execution
from ptprof.train.execution import check, launch, numerics, quiet
from ptprof.train.recipe import load_recipe


def test_tf32_is_refused_on_a_cpu() -> None:
    check(Execution(precision="tf32"), load_recipe("quick"), "cuda:0")
    with pytest.raises(UsageError, match="on the CPU take --precision fp32 or bf16"):
        check(Execution(precision="tf32"), load_recipe("quick"), "cpu")


@pytest.mark.parametrize(("accumulate", "fits"), [(1, True), (8, True), (9, False), (0, False)])
def test_a_batch_is_split_into_no_more_parts_than_it_has_windows(accumulate: int, fits: bool) -> None:
    recipe = load_recipe("quick")
    assert recipe.batch == 8
    if fits:
        check(Execution(accumulate=accumulate), recipe, "cpu")
    else:
        with pytest.raises(UsageError, match="give --accumulate from 1 to 8"):
            check(Execution(accumulate=accumulate), recipe, "cpu")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_float32_is_what_the_precision_says_and_then_as_it_was(precision: str) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    with numerics(precision):
        assert matmul.allow_tf32 == cudnn.allow_tf32 == (precision == "tf32")
        assert cudnn.benchmark
    assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == before
    with pytest.raises(KeyError), numerics(precision):
        raise KeyError
    assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == before


def test_bf16_leaves_inputs_as_they_are() -> None:
    fabric = launch("cpu", Execution(precision="bf16"))
    window = torch.tensor([1.001], dtype=torch.float32)

    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0

    assert torch.equal(fabric.setup_module(Last())(window), window)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(execution, "nodes", lambda: (3, 2))
    with pytest.raises(RuntimeUnavailable, match="2 processes need a GPU each, and torch sees 1"):
        launch("cuda:0", Execution(processes=6))
    with pytest.raises(UsageError, match="give --device cuda, not cuda:1"):
        launch("cuda:1", Execution(processes=2))


def test_only_what_nobody_can_act_on_is_kept_back() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            warnings.warn("Grad strides do not match bucket view strides. This may …", stacklevel=1)
            warnings.warn("something else", stacklevel=1)
    assert [str(w.message) for w in caught] == ["something else"]


def test_fabric_is_silent_and_stays_out_of_the_help() -> None:
    """No line of its own, and no network: what it says while it starts is kept back."""
    code = (
        "from ptprof.records import Execution; from ptprof.train.execution import launch;"
        "launch('cpu', Execution(precision='bf16'))"
    )
    started = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    assert (started.stdout, started.stderr) == ("", "")
    code = "import sys, ptprof.cli; sys.exit(any(m.startswith(('lightning', 'torch')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

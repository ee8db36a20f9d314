"""Errors of torch's that a person can do something about."""

from __future__ import annotations

import pytest
import torch

from ptprof.errors import TrainingError
from ptprof.train import failures
from ptprof.train.failures import explained
from ptprof.train.recipe import load_recipe

RECIPE = load_recipe("quick")
GLOO = RuntimeError("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:4242")


def raised(error: Exception, accumulate: int = 1, device: str = "cpu") -> str:
    """What is said of an error."""
    with pytest.raises(TrainingError) as caught, explained("unet", RECIPE, device, accumulate):
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you"),
    ],
)
def test_too_little_memory_says_what_to_do(error: Exception) -> None:
    said = (
        "unet: the memory of cuda:0 ran out at a batch of 8: split it with --accumulate 2, or take a smaller"
    )
    assert raised(error, device="cuda:0").startswith(said)


def test_the_advice_goes_on_from_what_was_tried() -> None:
    assert "--accumulate 8" in raised(MemoryError(), accumulate=4)
    assert "one window at a time" in raised(MemoryError(), accumulate=8)


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(TrainingError, match="ran out"), explained("unet", RECIPE, "cpu", 1):
        torch.empty(2**60, dtype=torch.uint8)


def test_a_process_that_has_gone_ends_the_others_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="Connection closed"), explained("unet", RECIPE, "cpu", 1):
        raise GLOO
    monkeypatch.setattr(failures, "processes", lambda: 2)
    assert raised(GLOO) == "unet: another process of this training ended, and so this one does"


def test_what_cannot_be_compiled_says_so() -> None:
    error = torch._inductor.exc.InvalidCxxCompiler()
    assert raised(error).startswith("unet: torch.compile failed (")


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), explained("unet", RECIPE, "cpu", 1):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

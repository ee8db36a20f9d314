"""Which device a name means."""

from __future__ import annotations

import pytest
import torch

from ptprof.errors import RuntimeUnavailable, UsageError
from ptprof.runtimes.device import resolve_device


def pretend(patch: pytest.MonkeyPatch, gpus: int) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    patch.setattr(torch.cuda, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("name", "gpus", "expected"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_a_name_becomes_a_device(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, expected: str
) -> None:
    pretend(monkeypatch, gpus)
    assert resolve_device(name) == expected


@pytest.mark.parametrize(("name", "gpus"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_here_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int
) -> None:
    pretend(monkeypatch, gpus)
    with pytest.raises(RuntimeUnavailable, match=f"device '{name}' is not here"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cpu:0", "CUDA", ""])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="unknown device"):
        resolve_device(name)

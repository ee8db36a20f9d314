"""The fused AdamW against torch's own."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from ptprof.train.optimizer import AdamW

SETTINGS = {"lr": 1e-2, "weight_decay": 0.1}


def parameters() -> list[nn.Parameter]:
    """Real and complex ones, contiguous and not, one number, and one that no gradient reaches."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    return [
        nn.Parameter(draw(7, 5)),
        nn.Parameter(draw(3, 4, 2, 5, dtype=torch.complex128).permute(2, 3, 0, 1)),
        nn.Parameter(draw(2, 3, 4, 4).to(memory_format=torch.channels_last)),
        nn.Parameter(draw(1)),
        nn.Parameter(draw(3)),
    ]


def train(optimizer: torch.optim.Optimizer, ours: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for index, p in enumerate(ours[:-1]):
            grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
            # Gradients that lie as their parameters do, and others.
            p.grad = torch.empty_like(p).copy_(grad) if (step + index) % 2 else grad
        optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step)
        optimizer.step()


def test_as_torchs_own() -> None:
    ours, reference = parameters(), parameters()
    train(AdamW(ours, **SETTINGS), ours, range(5))
    train(torch.optim.AdamW(reference, **SETTINGS), reference, range(5))
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)
    assert not torch.equal(ours[1], parameters()[1])
    assert torch.equal(ours[-1], parameters()[-1])


@pytest.mark.parametrize("contiguous", [False, True])
def test_resumed_from_a_file_it_goes_on_bit_for_bit(contiguous: bool) -> None:
    """From state that lies in memory as it did, and from state that does not."""
    whole, part = parameters(), parameters()
    train(AdamW(whole, **SETTINGS), whole, range(6))
    first = AdamW(part, **SETTINGS)
    train(first, part, range(3))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    if contiguous:
        for tensors in state["state"].values():
            tensors.update({name: tensor.contiguous() for name, tensor in tensors.items()})
    second = AdamW(resumed := copy.deepcopy(part), **SETTINGS)
    second.load_state_dict(state)
    train(second, resumed, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_takes_over_the_state_of_torchs_own() -> None:
    """A checkpoint of `torch.optim.AdamW` is one of this."""
    ours, reference = parameters(), parameters()
    before = torch.optim.AdamW(ours, **SETTINGS)
    train(before, ours, range(2))
    after = AdamW(ours, **SETTINGS)
    after.load_state_dict({**after.state_dict(), "state": before.state_dict()["state"]})
    train(after, ours, range(2, 5))
    train(torch.optim.AdamW(reference, **SETTINGS), reference, range(5))
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)


def test_a_closure_computes_the_loss() -> None:
    p = nn.Parameter(torch.ones(2))
    optimizer = AdamW([p], lr=0.1, weight_decay=0.0)

    def closure() -> float:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0
    torch.testing.assert_close(p.detach(), torch.full((2,), 0.9))

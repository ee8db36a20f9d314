"""The large operations of a neural operator on the CPU, each in as few passes over memory as it takes.

On a CPU a pointwise layer, an activation or a sum of two fields costs as much as it moves, and automatic
differentiation moves every field several times. These functions compute what their plain forms in
`ptprof.train.models.operators` do, forward and backward: they add in place where the plain form makes a
new field, take hidden layers in pieces, and compute again what is cheaper to compute than to store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu

from ptprof.train.models.spectral import analyse, autocasting, recording

PIECE = 2**20
"""Hidden values in one piece, 4 MiB of float32: smaller ones stay in cache but cost more calls."""

NARROW = 32
"""Below this many input channels it is cheaper to compute a hidden layer again than to store it."""

gelu_backward = torch.ops.aten.gelu_backward


def applies(x: Tensor) -> bool:
    """Whether to use these functions: on the CPU, but not under autocast or while a graph is recorded."""
    return x.device.type == "cpu" and not recording() and not autocasting(x.device)


def pieces(length: int, width: int) -> Iterator[slice]:
    """Slices of ``length`` such that each times ``width`` holds about `PIECE` values."""
    step = max(1, PIECE // width)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


class SkipAnalysis(torch.autograd.Function):
    """A pointwise layer and the analysis over y of one field; see `skip_and_analysis`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, analysis_y: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight, analysis_y)
        return torch.bmm(weight.expand(x.shape[0], -1, -1), x), analyse(x, analysis_y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_rows: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, analysis_y = ctx.saved_tensors
        grad_x = torch.bmm(weight.t().expand(x.shape[0], -1, -1), grad)
        grad_x.view(-1, analysis_y.shape[1]).addmm_(grad_rows.t(), analysis_y)
        return grad_x, torch.bmm(grad, x.transpose(1, 2)).sum(0), None


def skip_and_analysis(x: Tensor, weight: Tensor, analysis_y: Tensor) -> tuple[Tensor, Tensor]:
    """``weight`` (Co, Ci) times ``x`` (B, Ci, X·Y), and the rows (2·my, B·Ci·X) of its analysis over y.

    The gradients of both come together in one field.
    """
    return SkipAnalysis.apply(x, weight, analysis_y)  # type: ignore[no-any-return, no-untyped-call]


class Synthesis(torch.autograd.Function):
    """Synthesis over y, added to a field in place; see `add_synthesis`."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, rows: Tensor, synthesis_y: Tensor) -> Tensor:
        ctx.save_for_backward(synthesis_y)
        ctx.mark_dirty(field)
        field.view(-1, synthesis_y.shape[1]).addmm_(rows.t(), synthesis_y)
        return field

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (synthesis_y,) = ctx.saved_tensors
        return grad, synthesis_y @ grad.reshape(-1, synthesis_y.shape[1]).t(), None


def add_synthesis(field: Tensor, rows: Tensor, synthesis_y: Tensor) -> Tensor:
    """``field`` (B, C, X·Y) plus the synthesis over y of ``rows`` (2·my, B·C·X), in its place."""
    return Synthesis.apply(field, rows, synthesis_y)  # type: ignore[no-any-return, no-untyped-call]


class Perceptron(torch.autograd.Function):
    """Two pointwise layers with a GELU between; see `perceptron`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, store: bool) -> Tensor:
        out = x.new_empty(x.shape[0], w2.shape[0], x.shape[2])
        hidden: list[Tensor] = []
        for sample in range(x.shape[0]):
            for part in pieces(x.shape[2], w1.shape[0]):
                h = torch.addmm(b1[:, None], w1, x[sample, :, part])
                torch.addmm(b2[:, None], w2, gelu(h), out=out[sample, :, part])
                if store:
                    hidden.append(h)
        # In pieces, each contiguous: elementwise work on a slice of a large field takes twice as long.
        ctx.save_for_backward(x, w1, b1, w2, *hidden)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w1, b1, w2, *stored = ctx.saved_tensors
        hidden = iter(stored)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_w1, grad_b1, grad_w2 = torch.zeros_like(w1), torch.zeros_like(b1), torch.zeros_like(w2)
        for sample in range(x.shape[0]):
            for part in pieces(x.shape[2], w1.shape[0]):
                x_part, grad_part = x[sample, :, part], grad[sample, :, part]
                h = next(hidden, None)
                h = torch.addmm(b1[:, None], w1, x_part) if h is None else h
                grad_w2.addmm_(grad_part, gelu(h).t())
                grad_h = gelu_backward(w2.t() @ grad_part, h)
                grad_w1.addmm_(grad_h, x_part.t())
                grad_b1 += grad_h.sum(1)
                if grad_x is not None:
                    torch.mm(w1.t(), grad_h, out=grad_x[sample, :, part])
        return grad_x, grad_w1, grad_b1, grad_w2, grad.sum((0, 2)), None


def perceptron(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """``w2·gelu(w1·x + b1) + b2`` at every point of ``x`` (B, Ci, N), weights (H, Ci) and (Co, H)."""
    store = torch.is_grad_enabled() and x.shape[1] > NARROW
    return Perceptron.apply(x, w1, b1, w2, b2, store)  # type: ignore[no-any-return, no-untyped-call]

"""What is torch's own: rounding to bfloat16, and what the spectral layers keep out of it; TF32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ptprof.errors import UsageError
from ptprof.runtimes import Runner, open_runner
from ptprof.runtimes.availability import provider
from ptprof.train.models import build
from ptprof.train.models.spectral import SpectralConv


class OneLayer(nn.Module):
    """A spectral layer as a step of one state of one field."""

    state_shape = (1, 4, 48, 96)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = next(part for part in build("fno", "quick").modules() if isinstance(part, SpectralConv))

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        wide = state[:, 0].repeat(1, self.conv.in_channels // 4, 1, 1)
        following = self.conv(wide)[:, :4]
        return following, following.unsqueeze(1)


def test_bf16_rounds_products_and_convolutions(
    open_small: Callable[..., Runner], step: nn.Module, states: Callable[..., Tensor]
) -> None:
    state = states(2)
    with torch.inference_mode():
        exact, moved = step(state)
    with open_small("eager", precision="bf16") as runner:
        given, state_out = runner.step(state)
        assert runner.provider == provider("eager", "cpu", "bf16") == "torch cpu bf16"
    assert (given.dtype, state_out.dtype) == (torch.float32, torch.float32)
    assert torch.equal(state_out[:, 0], moved[:, 0])
    assert 1e-5 < float((given - exact).norm() / exact.norm()) < 3e-2


def test_bf16_leaves_the_transforms_alone() -> None:
    state = torch.randn(1, 1, 4, 48, 96, generator=torch.Generator().manual_seed(0))
    layer = OneLayer()
    with open_runner("eager", layer) as exact, open_runner("eager", layer, precision="bf16") as rounded:
        torch.testing.assert_close(rounded.step(state)[0], exact.step(state)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"device": "cpu", "tf32": True}, {"device": "cuda", "tf32": True, "precision": "bf16"}]
)
def test_tf32_is_for_fp32_on_a_gpu(options: dict[str, object], open_small: Callable[..., Runner]) -> None:
    with pytest.raises(UsageError, match="tf32 is a mode of fp32 on NVIDIA GPUs"):
        open_small("eager", **options)


def test_a_precision_that_is_not_known_gets_a_suggestion(open_small: Callable[..., Runner]) -> None:
    with pytest.raises(UsageError, match="did you mean 'bf16'"):
        open_small("eager", precision="bf61")


@pytest.mark.gpu
def test_tf32_is_torch_s_own_switch(open_small: Callable[..., Runner]) -> None:
    for tf32 in (True, False):
        with open_small("eager", device="cuda:0", tf32=tf32) as runner:
            assert torch.backends.cudnn.allow_tf32 is tf32
            assert torch.backends.cuda.matmul.allow_tf32 is tf32
            assert runner.provider == ("torch cuda tf32" if tf32 else "torch cuda")

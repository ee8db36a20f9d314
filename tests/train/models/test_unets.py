"""The U-nets: The Well's numbers with zero padding, shift equivariance with circular padding."""

from __future__ import annotations

import types
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ptprof.train.models import build
from ptprof.train.models.convnext import ConvNextUNet
from ptprof.train.models.convolution import Conv2d, DepthwiseConv2d, Padding
from ptprof.train.models.unet import UNet
from ptprof.train.recipe import Recipe


def wake(model: nn.Module) -> nn.Module:
    """Give layer scales and norms values of order one, so that every layer takes part in the output."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 or name.endswith(("scale", "gamma")):
            parameter.data = torch.rand(parameter.shape, generator=generator) + 0.5
    return model


def shifted(x: Tensor, by: tuple[int, int]) -> Tensor:
    return torch.roll(x, by, dims=(2, 3))


@pytest.mark.parametrize("name", ["unet-cp", "unet-cn-cp"])
@pytest.mark.parametrize("by", [(16, 0), (0, 16), (32, 48), (-16, 80)])
def test_a_circular_net_commutes_with_shifts_by_the_pooling_stride(
    name: str, by: tuple[int, int], narrow: Recipe
) -> None:
    torch.manual_seed(0)
    model = wake(build(name, narrow)).eval()
    x = torch.randn(2, 16, 48, 96)
    with torch.no_grad():
        y, moved = shifted(model(x), by), model(shifted(x, by))
    assert float((moved - y).abs().max()) <= 1e-6 * float(y.abs().max())


@pytest.mark.parametrize(("name", "by"), [("unet", 16), ("unet-cn", 16), ("unet-cp", 1), ("unet-cn-cp", 1)])
def test_a_zero_padded_net_or_another_shift_does_not(name: str, by: int, narrow: Recipe) -> None:
    torch.manual_seed(0)
    model = wake(build(name, narrow)).eval()
    x = torch.randn(2, 16, 48, 96)
    with torch.no_grad():
        y, moved = shifted(model(x), (by, by)), model(shifted(x, (by, by)))
    assert float((moved - y).abs().max()) > 1e-3 * float(y.abs().max())


def transplant(model: nn.Module, peer: nn.Module, order: list[str]) -> None:
    """Copy the peer's state, in its order, into the model's, whose names begin as ``order`` says."""
    names = [name for start in order for name in model.state_dict() if name.startswith(start)]
    assert sorted(names) == sorted(model.state_dict())
    state = dict(zip(names, peer.state_dict().values(), strict=True))
    model.load_state_dict(state)


def assert_same_training_step(model: nn.Module, peer: nn.Module) -> None:
    """Loss, output and input gradient of a training step, then the output in eval mode, in float64."""
    model, peer = model.double(), peer.double()
    x, target = (
        torch.randn(2, 16, 48, 96, dtype=torch.float64),
        torch.randn(2, 4, 48, 96, dtype=torch.float64),
    )
    found, expected = (training_step(net, x, target) for net in (model, peer))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12 * float(theirs.abs().max()))
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), peer.eval()(x), rtol=1e-9, atol=1e-10)


def training_step(model: nn.Module, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, output and input gradient; the running state of the norms moves on."""
    x = x.clone().requires_grad_()
    y = model.train()(x)
    loss = nn.functional.mse_loss(y, target)
    loss.backward()
    assert x.grad is not None
    return loss.detach(), y.detach(), x.grad


def test_unet_is_the_wells(the_well: Callable[[str], types.ModuleType]) -> None:
    torch.manual_seed(0)
    peer = wake(the_well("unet_classic").UNetClassic(16, 4, 2, (48, 96), init_features=4))
    model = UNet(16, 4, init_features=4)
    levels = [part for i in range(4) for part in (f"ups.{i}.", f"decoders.{i}.")]
    transplant(model, peer, ["encoders.", "bottleneck.", *levels, "head."])
    assert_same_training_step(model, peer)


def test_unet_convnext_is_the_wells(the_well: Callable[[str], types.ModuleType]) -> None:
    torch.manual_seed(0)
    classes = the_well("unet_convnext")
    peer = wake(classes.UNetConvNext(16, 4, 2, (48, 96), stages=4, blocks_per_stage=2, init_features=4))
    model = ConvNextUNet(16, 4, init_features=4, blocks_per_stage=2)
    state = {ours: peer.state_dict()[theirs] for ours, theirs in convnext_names(model).items()}
    assert len(state) == len(peer.state_dict())
    model.load_state_dict(state)
    assert_same_training_step(model, peer)


def convnext_names(model: ConvNextUNet) -> dict[str, str]:
    """The peer's name for each of ours."""
    block = {
        "depthwise": "dwconv",
        "norm": "norm",
        "expand": "pwconv1",
        "contract": "pwconv2",
        "scale": "gamma",
    }
    names = {}
    for name in model.state_dict():
        part, *rest = name.split(".")
        if part in ("in_proj", "out_proj"):
            names[name] = name
        elif part == "neck":
            names[name] = ".".join(["neck.blocks.0", block[rest[0]], *rest[1:]])
        elif part == "merges":
            names[name] = f"decoder.{int(rest[0]) + 1}.skip_proj.{rest[1]}"
        else:
            stage, position, *inner = rest
            into = f"{part.removesuffix('s')}.{stage}"
            last = position == "2"
            names[name] = (
                f"{into}.resample.block." + ".".join(inner)
                if last
                else ".".join([into, "blocks", position, block[inner[0]], *inner[1:]])
            )
    return names


def plain_convolution(module: nn.Module, padding: Padding, kernel: int, groups: int) -> nn.Conv2d:
    """torch's convolution with the same weights."""
    plain = nn.Conv2d(
        module.in_channels,
        module.out_channels,
        kernel,
        padding=kernel // 2,
        padding_mode=padding,
        groups=groups,
    )
    plain.load_state_dict(module.state_dict())
    return plain


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(3, 40), st.integers(3, 40)),
    padding=st.sampled_from(["zeros", "circular"]),
    depthwise=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 999),
)
def test_convolutions_and_their_gradients_are_torchs(
    size: tuple[int, int], padding: Padding, depthwise: bool, last: bool, seed: int
) -> None:
    """Any size down to the one that a 7×7 kernel's padding wraps whole, contiguous or channels-last."""
    torch.manual_seed(seed)
    module = DepthwiseConv2d(5, 7, padding) if depthwise else Conv2d(5, 4, 3, padding)
    plain = plain_convolution(module, padding, 7 if depthwise else 3, 5 if depthwise else 1)
    module, plain = module.double(), plain.double()
    x = torch.randn(3, 5, *size, dtype=torch.float64)
    x = (x.contiguous(memory_format=torch.channels_last) if last else x).requires_grad_()
    y, expected = module(x), plain(x)
    target = torch.randn_like(expected)
    found = torch.autograd.grad(y, [x, module.weight, module.bias], target)
    reference = torch.autograd.grad(expected, [x, plain.weight, plain.bias], target)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(found, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-11)

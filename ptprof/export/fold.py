"""Batch normalisation folded into the convolution before it."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(module: nn.Module) -> nn.Module:
    """A copy of ``module``, in eval mode, whose convolutions do what the batch normalisation after them did.

    Exporters and runtimes fold by themselves what a graph has once. A network that is evaluated several times
    shares its weights among the evaluations: they would be left as they are, or copied for each.
    """
    copied = copy.deepcopy(module).eval()
    for part in list(copied.modules()):
        if not isinstance(part, nn.Sequential):
            continue
        for index, (before, after) in enumerate(zip(list(part), list(part)[1:], strict=False)):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                part[index], part[index + 1] = fuse_conv_bn_eval(before, after), nn.Identity()
    return copied

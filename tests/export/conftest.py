"""Steps with random weights that use every layer, exported once for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptprof.export import DeployableStep, exporter
from ptprof.export.onnx import write_onnx
from ptprof.export.torchscript import write_torchscript
from ptprof.records import Statistics
from ptprof.runtimes import Runner, open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.noise import draw
from ptprof.train.forecaster import forecaster
from ptprof.train.models import build
from ptprof.train.models.spectral import freeze
from ptprof.train.recipe import ModelRecipe, Recipe, load_recipe

GRID = (48, 96)
HISTORY = 4
FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
# As different as the fields of the shear flow are, so that a mix-up of channels shows.
STATISTICS = Statistics(fields=FIELDS, mean=(0.5, 0.001, 0.0, -0.02), std=(0.4, 0.03, 0.7, 0.2))


@dataclass(frozen=True)
class Exported:
    """A model with neuraloperator's layers and with real products, the step made of it, and its files."""

    trained: nn.Module
    lowered: nn.Module
    step: DeployableStep
    metadata: Metadata
    folder: Path

    def inputs(self, state: Tensor) -> tuple[Tensor, ...]:
        """What the step takes for ``state`` ``(B, h, C, X, Y)``."""
        return (state, draw(3, *state[:, 0].shape)) if self.step.takes_noise else (state,)

    def open(self, runtime: str) -> Runner:
        source = {
            "eager": self.step,
            "torchscript": self.folder / "model.pt",
            "onnxruntime": self.folder / "model.onnx",
        }
        return open_runner(runtime, source[runtime])


def recipe() -> Recipe:
    """The quick recipe with one ConvNeXt block per stage and two evaluations of flow matching's network.

    The exporter's time goes by the layers.
    """
    quick = load_recipe("quick")
    models = dict(quick.models)
    for name in ("unet-cn", "unet-cn-cp"):
        settings = models[name].settings | {"blocks_per_stage": 1}
        models[name] = ModelRecipe(learning_rate=models[name].learning_rate, settings=settings)
    settings = models["flow-matching"].settings | {"nfe": 2}
    models["flow-matching"] = ModelRecipe(learning_rate=5e-4, settings=settings)
    return quick.model_copy(update={"models": models})


def trained_like(name: str) -> nn.Module:
    """The model ``name`` with neuraloperator's spectral layers and weights such that every layer counts.

    What it gives has zero mean and unit deviation, as what a trained model gives has.
    """
    torch.manual_seed(7)
    model = build(name, recipe(), "fft").eval()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.uniform_(-0.5, 0.5)
                part.running_var.uniform_(0.5, 2.0)
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("scale"):
                parameter.fill_(0.3)
            elif parameter.is_complex() and "factors" not in parameter_name:
                parameter.mul_(10)
        std, mean = torch.std_mean(forecaster(model)(standardised(smooth_states(2))), dim=(0, 2, 3))
        kinds = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d
        convolutions = (part for part in model.modules() if isinstance(part, kinds))
        *_, last = (part for part in convolutions if part.out_channels == len(FIELDS))
        # A transposed convolution has its output channels second.
        outputs = last.weight.transpose(0, 1) if isinstance(last, nn.ConvTranspose2d) else last.weight
        outputs /= std.view(-1, *[1] * (outputs.ndim - 1))
        last.bias.sub_(mean).div_(std)
    return model


def lower(name: str, trained: nn.Module) -> nn.Module:
    """The same model with its spectral layers as real products."""
    model = build(name, recipe())
    model.load_state_dict(trained.state_dict())
    return model.eval()


def make_metadata(name: str) -> Metadata:
    return Metadata(
        model=name,
        run=f"{name}-quick-s0",
        recipe="quick",
        grid=GRID,
        history=HISTORY,
        fields=FIELDS,
        units=dict.fromkeys(FIELDS, "1"),
        statistics=STATISTICS,
        checkpoint_sha256="ab" * 32,
        versions={"torch": torch.__version__, "ptprof": "0"},
    )


def smooth_states(count: int, grid: tuple[int, int] = GRID, seed: int = 0) -> Tensor:
    """Windows ``(N, h, C, X, Y)`` of smooth random fields with the statistics above."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count * HISTORY, len(FIELDS), grid[0] // 4, grid[1] // 4, generator=generator)
    fields = nn.functional.interpolate(coarse, size=grid, mode="bicubic").reshape(count, HISTORY, -1, *grid)
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (STATISTICS.mean, STATISTICS.std))
    return fields * std + mean


def standardised(state: Tensor) -> Tensor:
    """``state`` ``(B, h, C, X, Y)`` as a model takes it."""
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (STATISTICS.mean, STATISTICS.std))
    return ((state - mean) / std).flatten(1, 2)


@pytest.fixture(scope="session", autouse=True)
def short_comparisons() -> Iterator[None]:
    """Exports are compared on fewer windows and steps than a user's: the reference takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "WINDOWS", 2)
        patch.setattr(exporter, "ROLLOUT_STEPS", 3)
        yield


@pytest.fixture(scope="session")
def states() -> Callable[..., Tensor]:
    """`smooth_states`, for the tests to call."""
    return smooth_states


@pytest.fixture(scope="session")
def statistics() -> Statistics:
    return STATISTICS


@pytest.fixture(scope="session")
def metadata() -> Metadata:
    """What a file on the quick grid says about itself."""
    return make_metadata("fno")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Exported]]:
    """Give a model's files, writing them when first asked for."""
    root = tmp_path_factory.mktemp("exported")

    @cache
    def give(name: str) -> Exported:
        trained = trained_like(name)
        lowered = lower(name, trained)
        step = DeployableStep(freeze(lowered, GRID), STATISTICS, HISTORY, GRID).eval()
        said = {} if step.sampler is None else {"sampler": step.sampler.name, "nfe": step.sampler.nfe}
        metadata = make_metadata(name).model_copy(update=said)
        result = Exported(trained, lowered, step, metadata, root / name)
        result.folder.mkdir()
        write_onnx(result.step, result.metadata, result.folder / "model.onnx")
        write_torchscript(result.step, result.metadata, result.folder / "model.pt")
        return result

    yield give
    give.cache_clear()

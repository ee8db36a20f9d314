"""Recipes: everything that a training needs to know, as TOML shipped with the package."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import resources
from typing import Any, Literal

from pydantic import Field

from ptprof import plugins
from ptprof.errors import UsageError, unknown
from ptprof.records import Value
from ptprof.study import PINN_RUNS

FORECASTERS = ("unet", "unet-cn", "unet-cp", "unet-cn-cp", "fno", "tfno", "ufno")
"""Those that are meant where none is named."""

OPERATORS = ("fno", "tfno", "ufno")
"""Those with spectral layers."""

FLOW_MATCHING = "flow-matching"

DEPLOYABLE = (*FORECASTERS, FLOW_MATCHING)
"""Those of ptprof's own that give the next state, and so are exported, measured and served."""

PINNS = ("burgers-nn", "burgers-u-pinn", "burgers-s-pinn")
"""The networks that learn one solution of Burgers' equation: `ptprof.train.burgers`."""

RESERVED = ("all", "solver")
"""Names that mean something else than a model where models are named."""

RECIPES = ("quick", "paper")


class DataRecipe(Value):
    """The simulations of a data set: every combination of the lists, sampled every ``dt`` up to ``steps``.

    Initial conditions are the combinations of ``n_shear``, ``n_blobs`` and ``width``; ``settings`` are
    pairs of Reynolds and Schmidt numbers; with ``select`` only those are taken from a folder that may hold
    more. ``split`` gives the shares of train, valid and test, by initial condition.
    """

    settings: tuple[tuple[float, float], ...]
    select: bool = False
    n_shear: tuple[int, ...]
    n_blobs: tuple[int, ...]
    width: tuple[float, ...]
    steps: int = Field(gt=0)
    dt: float = Field(gt=0)
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)


class ModelRecipe(Value):
    """One model: its learning rate and what its constructor takes."""

    learning_rate: float = Field(gt=0)
    settings: dict[str, Any] = Field(default_factory=dict)


class BurgersRecipe(Value):
    """How the three networks on Burgers' equation are trained; all points at once in every step.

    ``points`` is the size of the data set, and the number of collocation points, of a single training;
    ``sizes`` are those of the sweep, ``more_nn_sizes`` what the NN takes besides. A step costs it a fourth of
    what it costs a PINN, so it has its own number of steps too. The test error and the energy are noted every
    ``stage_steps``.
    """

    points: int = Field(gt=0)
    sizes: tuple[int, ...]
    more_nn_sizes: tuple[int, ...] = ()
    adam_steps: int = Field(ge=0)
    lbfgs_steps: int = Field(gt=0)
    nn_lbfgs_steps: int = Field(gt=0)
    stage_steps: int = Field(gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    dtype: Literal["float32", "float64"] = "float32"


class Recipe(Value):
    """A training protocol. ``steps_per_epoch`` of None means every window once per epoch.

    A network's output is the next state, or the change that leads to it: `ptprof.train.models.increment`.
    """

    name: str
    grid: tuple[int, int]
    history: int
    predict: Literal["state", "increment"] = "state"
    batch: int
    steps_per_epoch: int | None = None
    max_epochs: int
    warmup_epochs: int
    patience: int
    max_hours: float
    weight_decay: float
    rollout_steps: int
    data: DataRecipe
    models: dict[str, ModelRecipe]
    burgers: BurgersRecipe

    @property
    def selection(self) -> tuple[tuple[float, float], ...] | None:
        """The settings to take from a folder of data; None for all that it holds."""
        return self.data.settings if self.data.select else None

    def with_model(self, model: str) -> Recipe:
        """This recipe with what a plugin says of ``model``, where that is not one of ptprof's own.

        Raises
        ------
        UsageError : a model that is not known, or a plugin that cannot be used, whichever model is meant
        """
        own = own_models()
        if model in self.models:
            return self
        if model not in own:
            raise unknown_model(model, self.models)
        said = ModelRecipe(learning_rate=own[model].learning_rate)
        return self.model_copy(update={"models": {**self.models, model: said}})


def own_models() -> dict[str, plugins.ModelPlugin]:
    """The forecasters that plugins register, by name; UsageError where one cannot be used."""
    own = plugins.models(taken=(*DEPLOYABLE, *PINNS, *RESERVED))
    for name, model in own.items():
        if name.startswith(PINN_RUNS):
            raise UsageError(f"{model.source.name} registers {name!r}: names of PINNs begin so, rename it")
    return own


def unknown_model(name: str, known: Iterable[str]) -> UsageError:
    """The error for a model that is neither among ``known`` nor a plugin's."""
    error = unknown("model", name, (*known, *own_models()))
    return UsageError(f"{error}; one of your own: `ptprof --plugin FILE …`")


def in_order(models: Iterable[str]) -> list[str]:
    """Names of models as they are listed everywhere: ptprof's own in their order, then others by name."""
    rank = {name: i for i, name in enumerate(DEPLOYABLE)}
    return sorted(models, key=lambda name: (rank.get(name, len(rank)), name))


def load_recipe(name: str) -> Recipe:
    """The recipe called ``name``; raises UsageError for one that is not known."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    text = resources.files("ptprof.train.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return Recipe.model_validate(tomllib.loads(text))


def check_grid(grid: tuple[int, int]) -> None:
    """Refuse a grid that the models cannot take.

    The U-nets halve it four times, so sides are multiples of 16; on a shorter side below 48 a circular
    7×7 convolution would wrap around their bottleneck more than once.

    Raises
    ------
    UsageError : sides that are not multiples of 16, or a shorter one below 48
    """
    if any(side % 16 or side < 48 for side in grid):
        size = "x".join(str(side) for side in grid)
        raise UsageError(
            f"a grid of {size} cannot be used: its sides must be multiples of 16, the shorter at least 48"
        )


def parse_grid(text: str) -> tuple[int, int]:
    """A grid as a user writes it, ``64x128``; raises UsageError for another form, or one that cannot be."""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
        raise UsageError(f"a grid is two numbers of points, such as 64x128, not {text!r}")
    grid = (int(sides[0]), int(sides[1]))
    check_grid(grid)
    return grid

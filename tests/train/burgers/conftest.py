"""A recipe that takes a second, and points of a sweep made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import pytest

from ptprof.records import EnergyBreakdown, Environment, PinnPoint, PinnStage
from ptprof.train.recipe import Recipe, load_recipe

MACHINE = Environment(platform="Linux", python="3.11", cpu="a CPU", cpu_cores=2, memory_bytes=8 << 30)


@pytest.fixture
def tiny() -> Recipe:
    """Recipe quick with 40 points and 14 to 18 steps."""
    recipe = load_recipe("quick")
    settings = recipe.burgers.model_copy(
        update={
            "points": 40,
            "sizes": (30,),
            "more_nn_sizes": (60,),
            "adam_steps": 6,
            "lbfgs_steps": 8,
            "nn_lbfgs_steps": 12,
            "stage_steps": 4,
        }
    )
    return recipe.model_copy(update={"burgers": settings})


@pytest.fixture
def make_point(make_energy: Callable[..., object]) -> Callable[..., PinnPoint]:
    """Build a point from the joules and the test error of each of its stages."""

    def make(model: str, points: int, seed: int, stages: Sequence[tuple[float, float]]) -> PinnPoint:
        def breakdown(joules: float) -> EnergyBreakdown:
            return EnergyBreakdown(cpu=make_energy(joules), missing={"gpu": "none", "dram": "none"})

        made = tuple(
            PinnStage(
                optimizer="adam",
                steps=steps,
                evaluations=steps,
                loss=error,
                test_mse=error,
                duration_s=1.0,
                energy=breakdown(joules),
            )
            for steps, (joules, error) in zip(accumulate([100] * len(stages)), stages, strict=True)
        )
        return PinnPoint(
            run=f"{model}-quick-n{points}-s{seed}",
            model=model,
            recipe="quick",
            recipe_sha256="e",
            seed=seed,
            points=points,
            parameters=7851,
            steps=made[-1].steps,
            evaluations=made[-1].evaluations,
            stopped="planned",
            loss=made[-1].loss,
            test_mse=made[-1].test_mse,
            duration_s=float(len(made)),
            energy=breakdown(sum(joules for joules, _ in stages)),
            device="cpu",
            environment=MACHINE,
            created="2026-01-01T00:00:00+00:00",
            stages=made,
        )

    return make

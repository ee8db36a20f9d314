"""The sweep: what it trains, that it goes on where it was killed, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof.errors import StudyError, UsageError
from ptprof.records import PinnPoint
from ptprof.study import Study
from ptprof.train.burgers import sweep, sweeping
from ptprof.train.recipe import Recipe

NAMES = [
    "burgers-nn-quick-n30-s0",
    "burgers-nn-quick-n60-s0",
    "burgers-s-pinn-quick-n30-s0",
    "burgers-u-pinn-quick-n30-s0",
]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is trained, in order."""
    names: list[str] = []

    def run(*arguments: Any, name: str, **options: Any) -> Any:
        names.append(name)
        return real(*arguments, name=name, **options)

    real: Callable[..., Any] = sweeping.run
    monkeypatch.setattr(sweeping, "run", run)
    return names


def test_every_model_size_and_seed_is_a_file(tmp_path: Path, tiny: Recipe) -> None:
    points = sweep(Study(tmp_path), tiny, seeds=2)
    assert [(p.seed, p.model, p.points) for p in points] == [
        (seed, model, size)
        for seed in (0, 1)
        # This recipe has a size more for the NN.
        for model, size in [
            ("burgers-nn", 30),
            ("burgers-nn", 60),
            ("burgers-u-pinn", 30),
            ("burgers-s-pinn", 30),
        ]
    ]
    names = sorted(path.stem for path in (tmp_path / "burgers").iterdir())
    assert names == sorted([*NAMES, *(name.replace("s0", "s1") for name in NAMES)])
    assert [point.steps for point in points[:3]] == [18, 18, 14]
    assert all(point.stages[-1].test_mse == point.test_mse for point in points)


def test_killed_it_goes_on_and_repeats_nothing(
    tmp_path: Path, tiny: Recipe, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = sweeping.run

    def killed(*arguments: Any, **options: Any) -> Any:
        if len(trained) == 2:
            raise KeyboardInterrupt
        return counted(*arguments, **options)

    monkeypatch.setattr(sweeping, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(Study(tmp_path), tiny, seeds=1)
    assert len(list((tmp_path / "burgers").iterdir())) == 2
    monkeypatch.setattr(sweeping, "run", counted)
    resumed = sweep(Study(tmp_path), tiny, seeds=1)
    assert sorted(trained) == NAMES
    straight = sweep(Study(tmp_path / "other"), tiny, seeds=1)
    assert [point.test_mse for point in resumed] == [point.test_mse for point in straight]


def test_more_seeds_and_sizes_add_to_what_is_there(tmp_path: Path, tiny: Recipe, trained: list[str]) -> None:
    sweep(Study(tmp_path), tiny, sizes=[30], seeds=1)
    assert len(trained) == 3
    sweep(Study(tmp_path), tiny, sizes=[50, 30, 30], seeds=2)
    assert len(trained) == len(set(trained)) == 12
    sweep(Study(tmp_path), tiny, sizes=[30], seeds=1, force=True)
    assert len(trained) == 15


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sizes": []}, "at least one size"),
        ({"sizes": [0]}, "from 1 to"),
        ({"sizes": [30, 25_601]}, "25,600"),
        ({"seeds": 0}, "at least one seed"),
        ({"device": "tpu"}, "unknown device"),
    ],
)
def test_a_sweep_that_cannot_be_leaves_nothing(
    tmp_path: Path, tiny: Recipe, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        sweep(Study(tmp_path), tiny, **options)
    assert not list(tmp_path.iterdir())


def test_points_by_other_settings_are_refused_before_anything_is_trained(
    tmp_path: Path, tiny: Recipe, trained: list[str]
) -> None:
    sweep(Study(tmp_path), tiny, sizes=[30], seeds=1)
    other = tiny.model_copy(update={"burgers": tiny.burgers.model_copy(update={"lbfgs_steps": 9})})
    with pytest.raises(StudyError, match="other settings"):
        sweep(Study(tmp_path), other, seeds=1)
    assert len(trained) == 3


def test_a_file_that_is_cut_short_is_named(tmp_path: Path, tiny: Recipe) -> None:
    sweep(Study(tmp_path), tiny, sizes=[30], seeds=1)
    path = tmp_path / "burgers" / "burgers-nn-quick-n30-s0.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(StudyError, match="burgers-nn-quick-n30-s0"):
        sweep(Study(tmp_path), tiny, sizes=[30], seeds=1)


def test_points_of_another_machine_or_meter_are_not_compared(tmp_path: Path, tiny: Recipe) -> None:
    study = Study(tmp_path)
    sweep(study, tiny, sizes=[30], seeds=1)
    with pytest.raises(StudyError, match="cannot be compared"):
        sweep(study, tiny, sizes=[30], seeds=2, watts_per_core=9.0)
    path = tmp_path / "burgers" / "burgers-nn-quick-n30-s0.json"
    document = json.loads(path.read_text())
    document["environment"]["cpu"] = "another CPU"
    path.write_text(PinnPoint.model_validate(document).model_dump_json())
    with pytest.raises(StudyError, match="several machines"):
        sweep(study, tiny, sizes=[30], seeds=1)


def test_a_new_point_that_is_metered_otherwise_ends_the_sweep_at_once(
    tmp_path: Path, tiny: Recipe, trained: list[str]
) -> None:
    sweep(Study(tmp_path), tiny, sizes=[30], seeds=1)
    with pytest.raises(StudyError, match="cannot be compared"):
        sweep(Study(tmp_path), tiny, sizes=[30], seeds=9, watts_per_core=9.0)
    assert len(trained) == 4

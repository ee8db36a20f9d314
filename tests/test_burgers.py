"""The PINNs from the command line: training, the sweep with its figure and JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ptprof import cli, workflows
from ptprof.errors import UsageError
from ptprof.progress import progress_bar
from ptprof.records import Execution, PinnRecord
from ptprof.study import Study
from ptprof.train.recipe import load_recipe


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every recipe with 40 points and a handful of steps."""

    def brief(name: str) -> object:
        recipe = load_recipe(name)
        changes = {"points": 40, "adam_steps": 4, "lbfgs_steps": 4, "nn_lbfgs_steps": 8, "stage_steps": 4}
        settings = recipe.burgers.model_copy(update=changes)
        return recipe.model_copy(update={"burgers": settings})

    monkeypatch.setattr("ptprof.workflows.training.load_recipe", brief)


def test_train_takes_pinns_beside_what_else_is_named(tmp_path: Path) -> None:
    options = ["--study", str(tmp_path), "-q", "--device", "cpu"]
    done = CliRunner().invoke(cli.app, ["train", "burgers-nn", "burgers-u-pinn", "--json", *options])
    assert done.exit_code == 0, done.output
    runs = [PinnRecord.model_validate(run) for run in json.loads(done.stdout)]
    assert [(run.model, run.steps) for run in runs] == [("burgers-nn", 12), ("burgers-u-pinn", 8)]
    again = CliRunner().invoke(cli.app, ["train", "burgers-nn", *options])
    assert "burgers-nn" in again.stdout
    assert "Burgers" in again.stdout


def test_the_sweep_is_one_command(tmp_path: Path) -> None:
    figure = tmp_path / "sweep.png"
    command = ["burgers", "--sizes", "30,50", "--seeds", "2", "--study", str(tmp_path), "-q", "--json"]
    done = CliRunner().invoke(cli.app, [*command, "--figure", str(figure)])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["environment"]["cpu"]
    assert made["settings"]["adam_steps"] == 4
    assert made["intensity_g_per_kwh"] == 445.0
    assert len(made["trainings"]) == 3 * 2 * 2
    energies = [training["energy"]["cpu"] for training in made["trainings"]]
    assert all(0 < energy["low"] < energy["joules"] < energy["high"] for energy in energies)
    assert sum(stop["on_front"] for stop in made["stops"]) >= 1
    assert [comparison["pinn"] for comparison in made["comparisons"]] == [
        "best PINN",
        "burgers-u-pinn",
        "burgers-s-pinn",
    ]
    assert figure.stat().st_size > 10_000
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "burgers").iterdir()}
    again = CliRunner().invoke(cli.app, command)
    assert json.loads(again.stdout) == made
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "burgers").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["burgers", "--sizes", "1000,many"], "many"),
        (["burgers", "--sizes", "0"], "from 1 to"),
        (["burgers", "--sizes", "25601"], "25,600"),
        (["burgers", "--sizes", ","], "at least one size"),
        (["burgers", "--figure", "sweep.txt"], "sweep.txt"),
        (["amortise", "burgers-u-pinn"], "is a PINN"),
        (["train", "burgers-pinn"], "did you mean 'burgers-u-pinn'"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(cli.app, [*arguments, "--study", str(tmp_path / "study")])
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)
    assert not (tmp_path / "study").exists()


def test_a_pinn_is_trained_in_one_way_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one way only"):
        workflows.train(
            Study(tmp_path),
            ["burgers-nn"],
            recipe="quick",
            seed=0,
            device="cpu",
            watts_per_core=None,
            progress=progress_bar(False),
            execution=Execution(precision="bf16"),
        )

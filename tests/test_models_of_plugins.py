"""A study with models of plugins that are not here: every command means them too, after ptprof's own."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof import choices, workflows
from ptprof.errors import UsageError
from ptprof.records import EnergyBreakdown, PluginSource
from ptprof.serve.loading import find_models
from ptprof.study import Study, write_record

Make = Callable[..., Any]

ORDER = ["unet", "fno", "ape", "vit"]

pytestmark = pytest.mark.usefixtures("no_plugins")


@pytest.fixture
def study(tmp_path: Path, make_run: Make, make_measurement: Make, make_energy: Make) -> Study:
    """Trained and measured in another order than the models are listed."""
    study = Study(tmp_path / "study")
    spent = EnergyBreakdown(cpu=make_energy(100.0, source="modelled", gain_id="cpu-model"))
    for day, model in enumerate(("vit", "fno", "ape", "unet"), start=1):
        plugin = PluginSource(name=f"{model}.py", sha256="0" * 64) if model in ("vit", "ape") else None
        run = make_run(model, spent, plugin=plugin, created=f"2026-01-0{day}T00:00:00+00:00")
        write_record(study.run_folder(run.run) / "run.json", run)
        study.add_measurement(make_measurement(model, spent, created="2026-02-01T00:00:00+00:00"))
    return study


def test_trained_models_are_chosen_in_order(study: Study) -> None:
    for named in (None, ["all"]):
        assert [run.model for run in choices.trained(study, named, None)] == ORDER
        assert [run.model for run in choices.with_weights(study, named, None, None, None)] == ORDER
    assert [run.model for run in choices.trained(study, ["vit", "unet"], None)] == ["vit", "unet"]


def test_a_sweep_of_spectral_layers_means_ptprofs_own(study: Study) -> None:
    chosen = choices.with_weights(study, None, None, None, None, spectral="fft")
    assert [run.model for run in chosen] == ["fno"]


def test_none_named_to_be_trained_are_ptprofs_seven(study: Study) -> None:
    assert choices.known(None) == choices.known(["all"])[:7]
    assert not {"ape", "vit"} & set(choices.known(["all"]))


def test_they_are_amortised_and_served_in_order(study: Study) -> None:
    found = workflows.amortise(study, queries=["1e6"])
    assert [m.model for m in found.models] == ORDER
    assert [m.model for m in workflows.amortise(study, queries=["1e6"], models=["vit"]).models] == ["vit"]
    assert list(find_models(study, runtime="eager")) == ORDER


@pytest.mark.parametrize(("measured", "table"), [(True, "training"), (False, "training-time")])
def test_the_report_lists_them_in_order(study: Study, measured: bool, table: str) -> None:
    if not measured:
        shutil.rmtree(study.root / "measurements")
    workflows.report(study, queries=["1e6"])
    with (study.report / "data" / f"{table}.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ORDER


def test_a_model_that_neither_the_study_nor_a_plugin_knows_is_refused(study: Study) -> None:
    for ask in (lambda: workflows.amortise(study, queries=["1e6"], models=["vti"]),
                lambda: workflows.report(study, queries=["1e6"], models=["vti"]),
                lambda: find_models(study, ["vti"], runtime="eager")):  # fmt: skip
        with pytest.raises(UsageError, match=r"unknown model 'vti'.*`ptprof --plugin FILE …`"):
            ask()

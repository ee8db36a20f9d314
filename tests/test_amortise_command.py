"""`ptprof amortise` as a user runs it: every form of its answer, and one line for what cannot be answered."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof.cli import main
from ptprof.profile.paper import TABLE2
from ptprof.records import EnergyBreakdown
from ptprof.study import Study, write_record

Make = Callable[..., Any]
COLUMNS = "model,train_co2eq_kg,inference_co2eq_g_mean,inference_queries"


@pytest.fixture
def amortise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run the command on a study of the test; gives the exit status, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        words = ["ptprof", "--study", str(tmp_path / "study"), "amortise", *arguments]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def study(tmp_path: Path, make_run: Make, make_measurement: Make, make_energy: Make) -> Study:
    """Two models, modelled energy: dear to train and cheap to ask, and the other way round."""
    study = Study(tmp_path / "study")
    for model, training, query in (("unet", 1000.0, 1.0), ("fno", 100.0, 3.0)):
        joules = [
            EnergyBreakdown(cpu=make_energy(j, source="modelled", gain_id="cpu-model", systematic=0.5))
            for j in (training, query)
        ]
        run = make_run(model, joules[0])
        write_record(study.run_folder(run.run) / "run.json", run)
        study.add_measurement(make_measurement(model, joules[1]))
    return study


def test_the_paper_answers_without_a_study(amortise: Callable[..., Any]) -> None:
    status, out, _ = amortise("--paper", "--queries", "1e6", "--json")
    report = json.loads(out)
    assert status == 0
    assert (report["cheapest"][0]["model"], report["cheapest"][0]["tied_with"]) == ("fno", ["tfno", "ufno"])
    assert report["notes"] == ["Figures: arXiv:2509.24517v2, Table 2, one A40."]
    assert report["assumptions"] is None
    assert amortise("--table", str(TABLE2), "--queries", "1e6", "--json")[1] == out.replace(
        json.dumps(report["notes"], indent=1).replace("\n", "\n "), "[]"
    )


@pytest.mark.usefixtures("study")
def test_json_shows_all_that_was_stated(amortise: Callable[..., Any]) -> None:
    stated = ["--train-intensity", "FR", "--serve-pue", "1.4", "--tuning", "2", "--retrain-every", "1e5"]
    status, out, _ = amortise(*stated, "--embodied-kg", "100", "--pareto", "vrmse", "--json")
    report = json.loads(out)
    assert status == 0
    assumptions = report["assumptions"]
    assert assumptions["training"]["grid"]["code"] == "FR"
    assert (assumptions["serving"]["pue"], assumptions["training"]["pue"]) == (1.4, 1.0)
    assert (assumptions["tuning"], assumptions["retrain_every"]) == (2.0, 1e5)
    assert assumptions["embodied"] == {"kg": 100.0, "lifetime_years": 5.0, "utilisation": 0.5}
    assert report["pareto"]["metric"] == "vrmse"
    assert (report["envelope"][0]["from_queries"], report["envelope"][-1]["to_queries"]) == (1.0, 1e12)
    assert {i["what"] for m in report["models"] for i in m["items"]} == {
        "tuning",
        "training",
        "query",
        "embodied",
    }


def test_csv_goes_to_stdout_or_into_a_file(amortise: Callable[..., Any], tmp_path: Path) -> None:
    status, out, _ = amortise("--paper", "--csv", "-")
    assert status == 0
    assert len(list(csv.DictReader(io.StringIO(out)))) == 7 * 4
    status, shown, _ = amortise("--paper", "--csv", str(tmp_path / "totals.csv"))
    assert (status, (tmp_path / "totals.csv").read_text()) == (0, out)
    assert "has the smallest total" in shown


def test_markdown(amortise: Callable[..., Any]) -> None:
    status, out, _ = amortise("--paper", "--queries", "1e6", "--markdown")
    assert status == 0
    assert out.startswith("**At 10⁶ queries fno has the smallest total, 2.47 kg")


def test_bootstrap_needs_raw_windows_and_says_nothing_without(amortise: Callable[..., Any]) -> None:
    report = json.loads(amortise("--paper", "--bootstrap", "--json")[1])
    assert {pair["bootstrap_low"] for pair in report["break_even"]} == {None}


def refused(answer: tuple[int, str, str], status: int) -> str:
    """The one line of a refusal."""
    code, out, err = answer
    assert (code, out) == (status, "")
    (line,) = err.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--intensity", "XX"], "known: WORLD"),
        (["--intensity", "DKK"], "did you mean"),
        (["--intensity", "nan"], "above zero"),
        (["--serve-intensity", "-1"], "above zero"),
        (["--tuning", "many"], "'many'"),
        (["--retrain-every", "0"], "retrain-every"),
        (["--lifetime-years", "5"], "--embodied-kg"),
        (["--pareto", "vrsme"], "did you mean 'vrmse'"),
        (["--max-error", "vrmse"], "vrmse=0.2"),
        (["--max-error", "pearson_r=0.5"], "vrmse or nrmse"),
        (["--scenario", "cold-start"], "one-step, rollout"),
        (["--json", "--markdown"], "one form at a time"),
        (["--json", "--csv", "-"], "one form at a time"),
        (["--paper", "--table", "x.csv"], "--paper is a table of its own"),
        (["--paper", "--intensity", "DK"], "grams already"),
        (["--paper", "--data-generation"], "grams already"),
        (["--paper", "--solver"], "only a study"),
        (["--paper", "--unit", "simulated-second"], "only a study"),
        (["--paper", "--queries", "served"], "give a number"),
        (["--unit", "simulated-second", "--queries", "served"], "one-step queries"),
    ],
)
@pytest.mark.usefixtures("study")
def test_what_cannot_be_asked_is_one_line(
    arguments: list[str], says: str, amortise: Callable[..., Any]
) -> None:
    assert says in refused(amortise(*arguments), 2)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (f"{COLUMNS}\nfno,nan,7.87,4704\n", "'nan' is not a finite number"),
        (f"{COLUMNS}\nfno,-0.8,7.87,4704\n", "must be zero or more"),
        (f"{COLUMNS}\nfno,,7.87,4704\n", "'train_co2eq_kg': is empty"),
        (f"{COLUMNS}\nfno,0.8,7.87,0\n", "must be above zero"),
        (f"{COLUMNS}\n", "holds no model"),
        ("model,inference_co2eq_g_mean,inference_queries\nfno,7.87,4704\n", "no column 'train_co2eq_kg'"),
        (
            f"{COLUMNS},unit\nfno,0.8,7.87,4704,one-step\nunet,2.7,3.68,4704,rollout of 50 steps\n",
            "'rollout of 50 steps' where another line has 'one-step'",
        ),
        ("", "no column"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    rows: str, says: str, amortise: Callable[..., Any], tmp_path: Path
) -> None:
    table = tmp_path / "costs.csv"
    table.write_text(rows)
    line = refused(amortise("--table", str(table)), 1)
    assert says in line
    assert str(table) in line


def test_a_table_may_be_of_another_unit_and_be_trained_anew(
    amortise: Callable[..., Any], tmp_path: Path
) -> None:
    table = tmp_path / "costs.csv"
    table.write_text(f"{COLUMNS},unit\nfno,0.8,7.87,4704,rollout of 50 steps\n")
    stated = ["--tuning", "1.5", "--retrain-every", "1000"]
    report = json.loads(amortise("--table", str(table), "--queries", "3000", *stated, "--json")[1])
    assert report["unit"] == "rollout of 50 steps"
    total = report["models"][0]["totals"][0]["total_g"]
    assert total == pytest.approx(1.5 * 800 + 3 * 800 + 3000 * 7.87 / 4704)


def test_nothing_measured_and_nothing_trained_are_one_line(
    amortise: Callable[..., Any], study: Study
) -> None:
    for path in study.root.glob("measurements/*.json"):
        path.unlink()
    assert "ptprof profile" in refused(amortise(), 1)
    for path in study.root.glob("runs/*/run.json"):
        path.unlink()
    assert "ptprof train" in refused(amortise(), 1)


@pytest.mark.parametrize("pattern", ["runs/*/run.json", "measurements/*.json"])
def test_a_record_of_another_schema_version_is_named(
    pattern: str, amortise: Callable[..., Any], study: Study
) -> None:
    path = sorted(study.root.glob(pattern))[0]
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    line = refused(amortise(), 1)
    assert path.name in line
    assert "schema_version" in line


@pytest.mark.usefixtures("study")
def test_what_the_study_does_not_know_is_asked_for(amortise: Callable[..., Any]) -> None:
    assert "ptprof data generate --force" in refused(amortise("--solver"), 1)
    assert "--scenario cold-start" in refused(amortise("--cold-starts", "3"), 1)
    assert "no model is accurate enough" in refused(amortise("--max-error", "vrmse=0.001"), 1)
    assert "no model has vrmse@99" in refused(amortise("--pareto", "vrmse@99"), 1)


@pytest.mark.usefixtures("study")
def test_nothing_that_trains_is_loaded(tmp_path: Path) -> None:
    """Over thousands of measurements the answer takes seconds, and torch alone takes one."""
    script = (
        "import sys\n"
        f"sys.argv = ['ptprof', '--study', {str(tmp_path / 'study')!r}, 'amortise', '--json']\n"
        "from ptprof.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "loaded = {'torch', 'onnxruntime', 'onnx', 'matplotlib', 'h5py'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["queries"] == [1e4, 1e5, 1e6, 1e7]

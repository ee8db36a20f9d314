"""Every figure of docs/reproduction.md follows from the paper's tables and from results/*.json."""

from __future__ import annotations

import csv
import re
import shlex
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
import typer

from ptprof.cli import app
from ptprof.profile.paper import TABLE2, TABLE3
from ptprof.records import Interval
from ptprof.train.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/tables, which is no module by its name."""
    loader = SourceFileLoader("tables", str(ROOT / "scripts" / "tables"))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    code = compile(Path(loader.path).read_text(encoding="utf-8"), loader.path, "exec")
    exec(code, module.__dict__)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_figures_now(script: ModuleType, page: str) -> None:
    """Where this fails, figures were taken anew: run scripts/tables, and read the page."""
    assert {found["name"] for found in script.BLOCK.finditer(page)} == set(script.TABLES) - {"fleet"}
    assert script.filled(page) == page


def test_a_table_whose_figures_were_not_taken_says_so(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "results", script.results.__wrapped__)
    assert script.block("fleet") == "<!-- table: fleet -->\nNot measured yet.\n<!-- end -->"


def test_no_figure_stands_outside_of_the_tables(script: ModuleType, page: str) -> None:
    prose = re.sub(
        r"```.*?```|`[^`]*`|\]\([^)]*\)|arXiv:\S+", " ", script.BLOCK.sub("", page), flags=re.DOTALL
    )
    prose = re.sub(
        r"(?:Tables?|Figures?) \d+[a-c]?(?:(?:,| and| to) \d+[a-c]?)*(?: and \d+[a-c]?)?", " ", prose
    )
    prose = prose.replace("A40", "").replace("Tables 2 and 3", "")
    assert re.findall(r".{0,20}\d.{0,20}", prose) == []


def test_the_commands_on_the_page_are_commands(page: str) -> None:
    root = typer.main.get_command(app)
    lines = [
        line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    assert len(lines) > 8
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "ptprof"
        command = root
        while (inner := getattr(command, "commands", None)) is not None:
            command = inner[arguments.pop(0)]
        command.make_context("ptprof", arguments)  # an unknown option, or a value that cannot be, raises


def test_what_the_paper_itself_says_follows_from_its_table(script: ModuleType) -> None:
    """Its sentences: 2.4 to 7.4 times, nearly twice, more expensive on average, UFNO by far the least."""
    said = {row[0]: row[1] for row in script.claims()}
    training = next(value for claim, value in said.items() if "several times less to train" in claim)
    assert training == "2.4 to 7.4 times"
    with TABLE2.open(encoding="utf-8", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    grams = {name: float(row["inference_co2eq_g_mean"]) for name, row in rows.items()}
    twice = next(value for claim, value in said.items() if "nearly twice" in claim)
    assert twice == f"{grams['ufno'] / grams['unet-cn-cp']:.2f} times" == "1.85 times"
    amortised = next(value for claim, value in said.items() if "trains cheaply" in claim)
    assert amortised.startswith("ufno below 1.415×10⁶ queries")


def test_the_recipe_is_the_papers_table_3() -> None:
    recipe = load_recipe("paper")
    with TABLE3.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    for row in rows:
        own = recipe.models[row["model"]]
        assert own.learning_rate == float(row["learning_rate"])
        width = own.settings.get("init_features", own.settings.get("hidden_channels"))
        assert width == int(row["init_dim"])
        modes = own.settings.get("modes")
        if modes is not None:
            asked = sorted(int(part) for part in row["filter_or_modes"].split(","))
            assert sorted({modes} if isinstance(modes, int) else set(modes)) == asked


@pytest.mark.parametrize(
    ("low", "value", "high", "above", "said"),
    [
        (1.1, 1.2, 1.3, True, "agrees"),
        (0.9, 1.2, 1.3, True, "undecided"),
        (0.7, 0.8, 0.9, True, "**disagrees**"),
        (0.7, 0.8, 0.9, False, "agrees"),
        (None, 1.2, None, False, "**disagrees**"),
    ],
)
def test_a_verdict_goes_by_the_interval(
    script: ModuleType, low: float | None, value: float, high: float | None, above: bool, said: str
) -> None:
    assert script.verdict(Interval(value=value, low=low, high=high), 1.0, above=above) == said


def test_a_ratio_of_means_takes_independent_errors_in_quadrature(script: ModuleType) -> None:
    over = [Interval(value=3.0, low=2.7, high=3.3), Interval(value=5.0, low=4.6, high=5.4)]
    under = [Interval(value=2.0, low=2.0, high=2.0)]
    found = script.ratio(over, under)
    assert found.value == pytest.approx(2.0)
    # 0.3 and 0.4 are 0.5 of a sum of 8: a sixteenth.
    assert (found.low, found.high) == pytest.approx((2.0 * (1 - 1 / 16), 2.0 * (1 + 1 / 16)))

"""What docs/fleet.md shows is what the command says, as far as the study's figures in results/ reach."""

from __future__ import annotations

import json
import re
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click import Command
from typer.main import get_command

from ptprof.amortise import queueing
from ptprof.cli import app
from ptprof.profile.percentiles import samples_needed

ROOT = Path(__file__).resolve().parents[2]
QUERIES_PER_DAY, PEAK = 1e9, 2.0
ROW = (
    r"^ (\S+) +onnxruntime +(\d+) \S+ +\d+% +([\d.]+) ms"
    r" +([\d.]+) ± [\d.]+ MWh +\S+ mg +([\d.]+) ± [\d.]+ t$"
)


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def command() -> Command:
    commands: dict[str, Command] = get_command(app).commands  # type: ignore[attr-defined]
    return commands["fleet"]


def test_the_example_follows_from_the_studys_figures(page: str) -> None:
    """Workers between the least and some more, energy and grams to the digits that are shown."""
    results = json.loads((ROOT / "results" / "quickstart-cpu.json").read_text(encoding="utf-8"))
    cheapest: dict[str, Any] = {}
    for m in results["measurements"]:
        if (m["scenario"], m["runtime"], m["batch"]) == ("one-step", "onnxruntime", 1):
            joules = m["energy_per_query"]["cpu"]["joules"]
            if (
                m["model"] not in cheapest
                or joules < cheapest[m["model"]]["energy_per_query"]["cpu"]["joules"]
            ):
                cheapest[m["model"]] = m
    rows = re.findall(ROW, page, re.MULTILINE)
    assert {row[0] for row in rows} == set(cheapest)
    assert [float(row[4]) for row in rows] == sorted(float(row[4]) for row in rows)
    for model, workers, p99_ms, megawatt_hours, tonnes in rows:
        m = cheapest[model]
        kwh = QUERIES_PER_DAY * 365.25 * m["energy_per_query"]["cpu"]["joules"] / 3.6e6
        assert float(megawatt_hours) == pytest.approx(kwh / 1e3, rel=2e-3)
        assert float(tonnes) == pytest.approx(kwh * 445 / 1e6, rel=5e-3)
        least = QUERIES_PER_DAY * PEAK / 86400 / m["throughput_per_s"]["value"]
        assert least < int(workers) < 1.1 * least
        assert m["latency_s"]["value"] * 1e3 < float(p99_ms) <= 20
    assert f"{rows[0][0]} on onnxruntime has the least total: {rows[0][4]} ±" in page


def test_the_table_of_options_has_their_defaults(page: str, command: Command) -> None:
    options = {option: p for p in command.params for option in p.opts}
    options_table = page.partition("## How many workers")[0]
    rows = re.findall(r"^\| (`--[^|]+) \| ([^|]+) \|", options_table, re.MULTILINE)
    assert len(rows) >= 9
    for names, defaults in rows:
        for name, default in zip(re.findall(r"--[a-z-]+", names), defaults.split(", "), strict=False):
            shown = getattr(options[name], "show_default", None)
            stated = shown if isinstance(shown, str) else options[name].default
            if default.strip() == "none":
                assert stated in (None, False)
            elif name == "--intensity":
                assert str(stated).endswith(default)
            else:
                number = float if re.fullmatch(r"[\d.e]+", default.strip()) else str
                assert number(str(stated)) == number(default.strip())


def test_numbers_of_the_method_are_the_codes(page: str) -> None:
    assert f"a lattice of {queueing.POINTS} points per mean time of service" in page
    longest = queueing.LONGEST // queueing.POINTS
    assert f"A bound longer than {longest} mean times of service is taken as {longest}" in page
    assert f"({samples_needed(99)} for p99)" in page


def test_the_measured_table_is_that_of_the_results(page: str) -> None:
    loader = SourceFileLoader("tables", str(ROOT / "scripts" / "tables"))
    script = ModuleType(loader.name)
    script.__file__ = loader.path
    exec(compile(Path(loader.path).read_text(encoding="utf-8"), loader.path, "exec"), script.__dict__)
    assert script.BLOCK.search(page)["name"] == "fleet"
    assert script.filled(page) == page

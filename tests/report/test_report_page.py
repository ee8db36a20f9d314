"""The report's page: what is in it, how it is built, and that names from files stay text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from ptprof import workflows
from ptprof.cli import app
from ptprof.errors import StudyError, UsageError
from ptprof.profile.paper import TABLE2
from ptprof.records import Energy, EnergyBreakdown, EstimateRecord, Measurement, PinnPoint, Work
from ptprof.report.page import SECTIONS
from ptprof.study import Study, write_record

QUERIES = ("1e3", "1e4", "1e5")
VOID = {"meta", "link", "input", "img", "br"}


class Tree(HTMLParser):
    """Every element with its attributes, its text and its parents' names."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str], tuple[str, ...]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        text: list[str] = []
        self.elements.append((tag, dict(attributes), text, tuple(name for name, _ in self._open)))
        if tag not in VOID:
            self._open.append((tag, text))

    def handle_endtag(self, tag: str) -> None:
        name, _ = self._open.pop()
        assert name == tag, f"</{tag}> closes <{name}>"

    def handle_data(self, data: str) -> None:
        for _, text in self._open:
            text.append(data)

    def named(self, *tags: str) -> list[tuple[dict[str, str | None], str, tuple[str, ...]]]:
        return [(a, "".join(text), parents) for tag, a, text, parents in self.elements if tag in tags]


def table_of(tree: Tree, caption: str) -> dict[str, list[str]]:
    """The rows of a table by their first cells, the last of each name."""
    rows: dict[str, list[str]] = {}
    current, cells = "", None
    for tag, attributes, text, _ in tree.elements:
        words = "".join(text)
        if tag == "caption":
            current = words
        elif current == caption and tag == "th" and attributes["scope"] == "row":
            cells = rows[words] = []
        elif current == caption and tag == "td" and cells is not None:
            cells.append(words)
    return rows


def page_of(made: Any) -> str:
    return Path(made.page).read_text(encoding="utf-8")


@pytest.fixture
def text(study: Study) -> str:
    return page_of(workflows.report(study, queries=QUERIES))


def test_every_section_is_there_and_reached_from_the_top(text: str) -> None:
    tree = Tree(text)
    sections = [attributes["id"] for attributes, _, _ in tree.named("section")]
    assert sections == [name for name, _ in SECTIONS]
    links = [a["href"] for a, _, parents in tree.named("a") if "nav" in parents]
    assert links == [f"#{name}" for name in sections]
    for landmark in ("header", "nav", "main", "footer"):
        assert len(tree.named(landmark)) == 1


def test_headings_go_down_by_one_and_ids_are_used_once(text: str) -> None:
    tree = Tree(text)
    levels = [int(tag[1]) for tag, *_ in tree.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [a["id"] for _, a, _, _ in tree.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes, _, _ in tree.elements:
        for name in ("for", "aria-labelledby", "aria-describedby"):
            assert set((attributes.get(name) or "").split()) <= set(ids)


def test_tables_and_figures_can_be_read_by_a_screen_reader(text: str) -> None:
    tree = Tree(text)
    tables = tree.named("table")
    captions = [words for _, words, parents in tree.named("caption") if parents[-1] == "table"]
    assert len(captions) == len(tables) > 8
    assert all(captions)
    assert all(attributes.get("scope") in {"col", "row"} for attributes, _, _ in tree.named("th"))
    charts = tree.named("svg")
    assert len(charts) >= 8
    for attributes, _, parents in charts:
        assert attributes["role"] == "img"
        assert "figure" in parents
    texts = {a["id"]: words for a, words, _ in tree.named("figcaption") if a.get("id")}
    assert all(len(texts[str(attributes["aria-describedby"])]) > 15 for attributes, _, _ in charts)
    assert all(attributes["alt"] for attributes, _, _ in tree.named("img"))
    labelled = {a["for"] for a, _, _ in tree.named("label")}
    for attributes, _, _ in tree.named("input"):
        assert attributes["id"] in labelled or attributes.get("aria-label")
    assert [a["aria-live"] for a, _, _ in tree.named("p") if "aria-live" in a] == ["polite"]


def test_nothing_is_loaded_from_elsewhere_and_only_the_pages_own_script_may_run(text: str) -> None:
    tree = Tree(text)
    for _, attributes, _, _ in tree.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in {"src", "href"}:
                assert str(value).startswith(("#", "data:"))
    (policy,) = (str(a["content"]) for a, _, _ in tree.named("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    (style,) = (words for _, words, _ in tree.named("style"))
    (script,) = (words for a, words, _ in tree.named("script") if "type" not in a)
    for rule, content in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy
    assert "@import" not in style
    assert "url(" not in style


def test_hostile_names_stay_text(text: str, study: Study) -> None:
    (hostile,) = (run.model for run in study.runs() if "<" in run.model)
    tree = Tree(text)
    assert len(tree.named("script")) == 2
    assert tree.named("img") == []
    heads = {words for a, words, _ in tree.named("th") if a["scope"] == "row"}
    assert hostile in heads
    (data,) = (words for a, words, _ in tree.named("script") if "type" in a)
    assert hostile in [model["name"] for model in json.loads(data)["models"]]
    for character in "<>&":
        assert character not in data


def test_the_figures_of_the_raw_windows_are_not_in_it(text: str) -> None:
    (data,) = (words for a, words, _ in Tree(text).named("script") if "type" in a)
    assert "latencies" not in data
    assert len(text) < 300_000


def test_what_a_figure_rests_on_is_told(text: str) -> None:
    words = " ".join(" ".join(part) for _, _, part, parents in Tree(text).elements if parents)
    for fact in ("445 gCO2eq/kWh", "PUE 1", "cpu measured by RAPL", "onnxruntime", "a CPU", "2509.24517"):
        assert fact in words


def test_sections_without_data_name_the_command_that_makes_them(study: Study) -> None:
    for measurement in (study.root / "measurements").iterdir():
        measurement.unlink()
    tree = Tree(page_of(workflows.report(study, queries=QUERIES)))
    lacking = [words for a, words, _ in tree.named("p") if a.get("class") == "lacking"]
    for command in ("profile", "export", "evaluate", "burgers"):
        assert any(f"ptprof {command}" in words for words in lacking), command
    assert [a["id"] for a, _, _ in tree.named("section")] == [name for name, _ in SECTIONS]
    assert any("Accuracy on the test split" in words for _, words, _ in tree.named("caption"))
    assert tree.named("input") == []


def test_a_projected_training_is_told_as_such_and_has_no_accuracy(
    study: Study, make_estimate: Callable[..., EstimateRecord]
) -> None:
    run = study.run("tfno")
    (study.run_folder(run.run) / "run.json").unlink()
    estimate = make_estimate("tfno", run.energy, run=run.run)
    write_record(study.run_folder(run.run) / "estimate.json", estimate)
    made = workflows.report(study, queries=QUERIES)
    tree = Tree(page_of(made))
    trained = table_of(tree, "Trained models")
    assert trained["tfno"][0] == "projected"
    assert trained["fno"][0] == "quick"
    scored = table_of(tree, "Accuracy on the test split, mean over fields")
    assert "tfno" not in scored
    assert "fno" in scored
    assert run.run not in {Path(path).stem for path in made.cards}


def test_the_pinns_sweep_is_a_chart(study: Study, make_energy: Callable[..., Energy]) -> None:
    run = study.run("fno")
    for seed in (0, 1):
        point = PinnPoint(
            run=f"burgers-nn-quick-n1000-s{seed}",
            model="burgers-nn",
            recipe="quick",
            recipe_sha256="e",
            seed=seed,
            points=1000,
            parameters=7901,
            steps=100,
            evaluations=200,
            stopped="planned",
            loss=1e-4,
            test_mse=1e-3 * (1 + seed),
            duration_s=3.0,
            energy=EnergyBreakdown(cpu=make_energy(3.6e6 / 445, half=10.0)),
            device="cpu",
            environment=run.environment,
            created=run.created,
            stages=(),
        )
        write_record(study.root / "burgers" / f"{point.run}.json", point)
    found = Tree(page_of(workflows.report(study, queries=QUERIES)))
    (data,) = (words for a, words, _ in found.named("script") if "type" in a)
    (series,) = json.loads(data)["charts"]["burgers"]["series"]
    assert series["name"] == "burgers-nn"
    assert [point["y"][0] for point in series["points"]] == [0.001, 0.002]
    assert [point["x"][0] for point in series["points"]] == [1.0, 1.0]
    assert [point["note"] for point in series["points"]] == ["1,000 points, seed 0", "1,000 points, seed 1"]


def test_rollouts_that_were_drawn_are_in_the_page_as_pictures(study: Study) -> None:
    study.report.mkdir(parents=True)
    Image.new("RGB", (2400, 1200), "navy").save(study.report / "rollout-tracer.png")
    ((attributes, _, _),) = Tree(page_of(workflows.report(study, queries=QUERIES))).named("img")
    assert (attributes["width"], attributes["height"]) == ("1200", "600")
    assert "field tracer" in str(attributes["alt"])
    content = base64.b64decode(str(attributes["src"]).removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(content)) as picture:
        red, _, blue = picture.convert("RGB").getpixel((600, 300))
    assert red < 20
    assert 110 < blue < 145


def test_the_command_tells_what_it_wrote(study: Study) -> None:
    done = CliRunner().invoke(app, ["report", "--study", str(study.root), "--json", "--intensity", "100"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["page"] == str(study.report / "index.html")
    assert made["answer"]["intensity_g_per_kwh"] == 100.0
    assert "costs" not in made["answer"]
    assert "100 gCO2eq/kWh" in Path(made["page"]).read_text("utf-8")
    done = CliRunner().invoke(app, ["report", "--study", str(study.root)])
    assert "smallest total" in done.stdout
    assert "index.html" in done.stdout.replace("\n", "")


def test_where_a_step_stands_is_told_once_it_is_known(
    study: Study, make_measurement: Callable[..., Measurement]
) -> None:
    run = study.run("fno")
    # 8 ms at the least, of the 12.3 that it takes.
    work = Work(flops=8e6, bytes=1e6, peak_flops_per_s=1e9, peak_bytes_per_s=1e9)
    study.add_measurement(
        make_measurement("fno", run.energy, run=run.run, scenario="rollout", batch=2, work=work)
    )
    found = table_of(Tree(page_of(workflows.report(study, queries=QUERIES))), "Measurements")
    assert found["fno"][-1] == "65%, computing"
    assert found["unet"][-1] == "–"


def test_a_damaged_measurement_is_one_line_and_nothing_is_written(study: Study) -> None:
    path = next((study.root / "measurements").iterdir())
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(StudyError, match="schema_version"):
        workflows.report(study, queries=QUERIES)
    assert not study.report.exists()


def test_a_table_of_costs_has_a_page_too(tmp_path: Path) -> None:
    made = workflows.report(Study(tmp_path), queries=["1e6"], table=TABLE2, out=tmp_path / "out")
    tree = Tree(page_of(made))
    (answer,) = (words for a, words, _ in tree.named("p") if a.get("id") == "answer-now")
    assert answer.startswith("At 10⁶ queries fno has the smallest total, 2.47 kg, but ")
    assert made.cards == ()
    assert made.emissions is None
    assert not (tmp_path / "out" / "emissions.csv").exists()


def test_nothing_trained_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="ptprof train"):
        workflows.report(Study(tmp_path / "none"), queries=["1e6"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(study: Study, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        workflows.report(study, queries=["1e6"], out=tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_what_others_left_in_the_folder_stays(study: Study) -> None:
    theirs = study.report / "data" / "mine.csv"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("a")
    workflows.report(study, queries=["1e6"])
    assert theirs.read_text() == "a"
    assert not list(study.report.rglob(".*"))

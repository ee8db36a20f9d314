"""The volume that was served, from the running totals of a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptprof.amortise.volume import SERVED, queries, served_queries
from ptprof.errors import StudyError, UsageError
from ptprof.records import ServedModelTotal, ServedRecord
from ptprof.study import Study, write_record


def add(study: Study, name: str, *steps: int) -> None:
    totals = tuple(
        ServedModelTotal(
            model=f"m{i}", run="r", requests=1, steps=n, energy_j=0.0, co2eq_g=0.0, unmetered_requests=1
        )
        for i, n in enumerate(steps)
    )
    record = ServedRecord(
        started="2026-01-01T00:00:00+00:00", updated="2026-01-01T00:00:01+00:00", models=totals
    )
    write_record(study.root / SERVED / f"{name}.json", record)


def test_all_models_of_all_servers_add_up(tmp_path: Path) -> None:
    study = Study(tmp_path)
    add(study, "a", 100, 20)
    add(study, "b", 30)
    (tmp_path / SERVED / ".a.json.part.json").write_text("{")
    assert served_queries(study) == 150
    assert served_queries(study, steps=50) == 3


def test_nothing_served_is_no_number(tmp_path: Path) -> None:
    study = Study(tmp_path)
    with pytest.raises(StudyError, match="has served no query yet: begin with `ptprof serve`"):
        served_queries(study)
    add(study, "a", 9)
    with pytest.raises(StudyError, match="no query yet"):
        served_queries(study, steps=10)


def test_a_damaged_total_is_named(tmp_path: Path) -> None:
    study = Study(tmp_path)
    add(study, "a", 9)
    (tmp_path / SERVED / "b.json").write_text('{"schema_version": 1}')
    with pytest.raises(StudyError, match=r"b\.json is not a valid ServedRecord"):
        served_queries(study)


def test_the_word_for_it(tmp_path: Path) -> None:
    study = Study(tmp_path)
    add(study, "a", 1234)
    assert queries("served", study, "one-step") == 1234
    assert queries("1e6", study, "one-step") == 1e6
    with pytest.raises(UsageError, match="give a number with --table"):
        queries("served", None, "one-step")
    with pytest.raises(UsageError, match="give a number for rollout"):
        queries("served", study, "rollout")
    with pytest.raises(UsageError, match="a number from 1 to"):
        queries("serve", study, "one-step")

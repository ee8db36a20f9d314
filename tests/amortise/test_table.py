"""Tables of costs measured elsewhere: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptprof.amortise.table import from_table
from ptprof.errors import TableError

HEADER = "model,train_co2eq_kg,inference_co2eq_g_mean,inference_queries"
FULL = f"{HEADER},inference_co2eq_g_std,repetitions"
T_2 = 4.302652729749464


def write(folder: Path, *lines: str) -> Path:
    path = folder / "costs.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_per_query_is_the_mean_over_the_queries(tmp_path: Path) -> None:
    costs = from_table(write(tmp_path, FULL, "one,2.72,3.68,4704,0.03,3", "two,0,9,4704,0.88,3"))
    one, two = costs.candidates
    assert one.lifetime.training.grams == pytest.approx(2720)
    assert one.lifetime.per_query.grams == 3.68 / 4704
    assert one.lifetime.per_query.random == pytest.approx(T_2 * 0.03 / 3**0.5 / 4704)
    assert one.lifetime.training.random is None
    assert two.lifetime.training.grams == 0
    assert (one.source, one.training_source, one.runtime, one.components) == ("given", "given", None, None)
    assert (costs.intensity_g_per_kwh, costs.pue, costs.notes) == (None, None, ())


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    header = "hours,inference_queries,model,inference_co2eq_g_mean,train_co2eq_kg"
    (only,) = from_table(write(tmp_path, f"\ufeff{header}", "12, 4704 , unet ,3.68,2.72", "")).candidates
    assert (only.model, only.lifetime.per_query.grams) == ("unet", 3.68 / 4704)


def test_without_deviation_or_repetitions_there_is_no_interval(tmp_path: Path) -> None:
    costs = from_table(write(tmp_path, HEADER, "unet,2.72,3.68,4704"))
    assert costs.candidates[0].lifetime.per_query.random is None
    assert "repetitions" in costs.notes[0]
    half = from_table(write(tmp_path, f"{HEADER},inference_co2eq_g_std", "unet,2.72,3.68,4704,0.03"))
    assert half.candidates[0].lifetime.per_query.random is None


def test_one_repetition_or_neither_figure_has_no_interval(tmp_path: Path) -> None:
    costs = from_table(write(tmp_path, FULL, "one,2.72,3.68,4704,0.03,1", "none,2.72,3.68,4704,,"))
    assert [c.lifetime.per_query.random for c in costs.candidates] == [None, None]


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    names = [name for name in HEADER.split(",") if name != column]
    with pytest.raises(TableError, match=f"no column '{column}'") as refused:
        from_table(write(tmp_path, ",".join(names), "1,2,3"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "text", "1e999", "--"])
@pytest.mark.parametrize("column", FULL.split(",")[1:])
def test_a_cell_that_is_no_number_is_named_by_line_and_column(tmp_path: Path, column: str, text: str) -> None:
    cells = dict(zip(FULL.split(","), ["fno", "0.8", "7.87", "4704", "0.94", "3"], strict=True)) | {
        column: text
    }
    with pytest.raises(TableError) as refused:
        from_table(write(tmp_path, FULL, "unet,2.72,3.68,4704,0.03,3", ",".join(cells.values())))
    message = str(refused.value)
    assert "line 3 (fno)" in message
    assert repr(column) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([FULL, "unet,2.72,0,4704,0.03,3"], "above zero"),
        ([FULL, "unet,2.72,3.68,0,0.03,3"], "above zero"),
        ([FULL, "unet,2.72,3.68,4704,0.03,2.5"], "whole"),
        ([FULL, ",2.72,3.68,4704,0.03,3"], "column 'model'"),
        ([FULL, "unet,2.72"], "column 'inference_queries'"),
        ([FULL, "unet,2,72,3,68,4704,0,03,3"], "cells"),
        ([FULL, "unet,2.72,3.68,4704,0.03,3", "unet,2.72,3.68,4704,0.03,3"], "twice"),
        ([f"{HEADER},model", "unet,2.72,3.68,4704,unet"], "more than once"),
        ([FULL], "no model"),
        ([""], "no column"),
        ([FULL, '"unet,2.72,3.68,4704,0.03,3'], "CSV"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(TableError, match=says):
        from_table(write(tmp_path, *lines))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        from_table(tmp_path / "absent.csv")
    with pytest.raises(TableError, match="cannot be read"):
        from_table(tmp_path)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"model\xff\xfe\x00")
    with pytest.raises(TableError, match="UTF-8"):
        from_table(binary)

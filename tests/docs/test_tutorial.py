"""The tutorial, done word by word: it leads to an answer, a server and a report."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np


def test_the_tutorial_leads_where_it_says(pages: ModuleType, tmp_path: Path) -> None:
    names = pages.follow(pages.DOCS / "tutorial.md", tmp_path)
    assert [model["model"] for model in names["answer"]["models"]] == ["fno", "unet"]
    assert {row["runtime"] for row in names["rows"]} == {"onnxruntime"}
    assert np.isfinite(np.load(tmp_path / "states.npy")).all()
    assert "<svg" in (tmp_path / "study" / "report" / "index.html").read_text(encoding="utf-8")

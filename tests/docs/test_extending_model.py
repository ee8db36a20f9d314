"""The page on a forecaster of one's own: all of it, word for word, on small data."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

from ptprof.study import Study, sha256
from ptprof.train.data import generate
from ptprof.train.recipe import load_recipe


def test_a_stranger_adds_a_forecaster_from_the_page_alone(pages: ModuleType, tmp_path: Path) -> None:
    page = pages.DOCS / "extending" / "model.md"
    study = Study(tmp_path / "study")
    quick = load_recipe("quick")
    # The page takes what data there is: four short flows here, so that an epoch has few steps.
    few = {"settings": ((500.0, 1.0),), "n_shear": (2,), "n_blobs": (2, 4), "width": (2.0, 4.0), "steps": 8}
    generate(study.data, quick.model_copy(update={"data": quick.data.model_copy(update=few)}))

    (code,) = [block.text for block in pages.blocks(page) if block.title == "vit.py"]
    assert len(code.splitlines()) < 60
    pages.follow(page, tmp_path, limit_s=600)

    run = study.run("vit")
    assert run.plugin is not None
    assert (run.plugin.name, run.plugin.sha256) == ("vit.py", sha256(tmp_path / "vit.py"))
    first, *_, last = (study.run_folder(run.run) / "epochs.jsonl").read_text().splitlines()
    # That it learns: in units of a change, saying that nothing changes has an error of 1.
    assert json.loads(last)["valid_loss"] < 0.8 * json.loads(first)["valid_loss"]
    assert {(m.model, m.runtime) for m in study.measurements()} == {("vit", "eager"), ("vit", "onnxruntime")}
    assert "vit" in (study.report / "index.html").read_text(encoding="utf-8")

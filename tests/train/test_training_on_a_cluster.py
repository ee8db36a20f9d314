"""Models that are trained on the nodes of a real cluster, each on one."""

from __future__ import annotations

import json

import pytest

from ptprof.cluster import Executor
from ptprof.errors import StudyError
from ptprof.progress import progress_bar
from ptprof.workflows.trainings import Training

pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture
def how(new_study, small_recipe, monkeypatch):
    """A training that takes seconds."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    recipe = small_recipe(max_epochs=2, patience=2, steps_per_epoch=2)
    return Training(study=new_study.root.resolve(), recipe=recipe, seed=0, watts_per_core=6.0)


def test_two_models_on_two_nodes_end_with_the_weights_of_one_machine(
    how, new_study, ray_nodes, capsys, tmp_path
):
    with progress_bar() as bar, Executor(new_study.root, address=ray_nodes.address, on="cpu") as cluster:
        fno, unet = how.spread(["fno", "unet"], cluster, bar)
        # What one model cannot do keeps no other from being trained, and what is trained is left as it is.
        (new_study.run_folder("unet-quick-s0") / "run.json").write_text("{}", encoding="utf-8")
        with pytest.raises(StudyError, match=r"unet-quick-s0/run\.json is not a valid"):
            how.spread(["unet", "fno"], cluster, bar)
    assert (fno.model, unet.model) == ("fno", "unet")
    assert [run.environment.cpu_cores for run in (fno, unet)] == [1, 1]
    assert {"fno epoch 2", "unet epoch 2"} <= {
        line[: len("fno epoch 2") + line.startswith("unet")] for line in capsys.readouterr().err.splitlines()
    }
    assert json.loads((new_study.run_folder("fno-quick-s0") / "run.json").read_text())["run"] == fno.run
    alone = Training(study=tmp_path / "alone", recipe=how.recipe, seed=0, watts_per_core=6.0)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "data").symlink_to(new_study.root / "data")
    with progress_bar(False) as bar:
        (here,) = alone.several(["fno"], "cpu", bar)
    assert here.checkpoint_sha256 == fno.checkpoint_sha256

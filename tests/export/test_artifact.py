"""From a run in a study to files in the study: gate, resuming, and what is refused on the way back."""

import json
import shutil

import onnx
import pytest
import torch
from rich.progress import Progress

from ptprof.environment import environment
from ptprof.errors import DataError, ParityError, StudyError, UsageError
from ptprof.export import deployable, export, open_model
from ptprof.export import exporter as exporter_module
from ptprof.export.artifact import windows
from ptprof.export.onnx import write_onnx
from ptprof.export.torchscript import write_torchscript
from ptprof.export.variant import Variant
from ptprof.records import Accuracy, EnergyBreakdown, RunRecord, Scores
from ptprof.study import Study, now, sha256, write_record
from ptprof.train.checkpoint import save_weights, weights_of
from ptprof.train.data import generate, trajectories
from ptprof.train.models import build
from ptprof.train.recipe import load_recipe

RUNTIMES = {"onnx": "onnxruntime", "torchscript": "torchscript"}
NO_SCORES = Accuracy(one_step=Scores(pearson_r={}, vrmse={}))


def add_run(study, model, statistics, seed=0, weights=None):
    """A run as training leaves it, with random weights."""
    run = f"{model}-quick-s{seed}"
    folder = study.run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    digest = save_weights(folder / "checkpoint.pt", model, weights or weights_of(build(model, "quick")))
    record = RunRecord(
        run=run,
        model=model,
        recipe="quick",
        seed=seed,
        recipe_sha256="0" * 64,
        parameters=1,
        grid=(48, 96),
        history=4,
        statistics=statistics,
        data_sha256="0" * 64,
        checkpoint_sha256=digest,
        epochs=1,
        steps=1,
        duration_s=1.0,
        best_epoch=1,
        best_valid_loss=1.0,
        energy=EnergyBreakdown(),
        accuracy=NO_SCORES,
        persistence=NO_SCORES,
        device="cpu",
        environment=environment(),
        created=now(),
    )
    write_record(folder / "run.json", record)
    return record


@pytest.fixture(scope="module")
def made(tmp_path_factory, exported):
    """A study with real data and an FNO that is exported to both formats."""
    study = Study(tmp_path_factory.mktemp("study"))
    recipe = load_recipe("quick")
    few = {"settings": ((500.0, 1.0),), "n_shear": (2, 4), "n_blobs": (2,), "width": (2.0, 4.0), "steps": 8}
    small = recipe.data.model_copy(update=few | {"split": (0.5, 0.25, 0.25)})
    statistics = generate(study.data, recipe.model_copy(update={"data": small})).statistics
    run = add_run(study, "fno", statistics, weights=weights_of(exported("fno").lowered))
    export(study, run)
    return study, run


@pytest.fixture
def study(made, tmp_path):
    """A copy of it to spoil."""
    shutil.copytree(made[0].root, tmp_path / "study")
    return Study(tmp_path / "study")


@pytest.fixture
def run(made):
    return made[1]


def contents(study, run):
    """Every file of an artifact by name, and when it was written."""
    folder = study.artifact_folder(run.run)
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*")}


def test_the_record_lists_both_files_with_their_parity(study, run):
    record = study.artifact(run.run)
    assert [(f.format, f.name, f.opset) for f in record.files] == [
        ("onnx", "model.onnx", 20),
        ("torchscript", "model.pt", None),
    ]
    assert sorted(contents(study, run)) == ["artifact.json", "model.onnx", "model.pt"]
    assert (record.checkpoint_sha256, record.grid, record.statistics) == (
        run.checkpoint_sha256,
        run.grid,
        run.statistics,
    )
    for file in record.files:
        path = study.artifact_folder(run.run) / file.name
        assert (file.sha256, file.size_bytes) == (sha256(path), path.stat().st_size)
        assert file.parity.one_step_float64 <= file.parity.gate
        assert 0 < file.parity.one_step < 1e-5
        assert (file.parity.windows, file.parity.rollout_steps) == (2, 3)
        assert (file.parity.device, file.parity.device_difference) == ("cpu", None)
        assert set(file.parity.by_field) == set(run.statistics.fields)


def test_the_deployable_step_and_both_files_give_the_same_on_real_windows(study, run):
    state = windows(study.data, run, 3)
    with torch.inference_mode():
        expected = deployable(study, run)(state)[0]
    std = torch.tensor(run.statistics.std).reshape(-1, 1, 1)
    for format in ("onnx", "torchscript"):
        with open_model(study, run, RUNTIMES[format]) as runner:
            torch.testing.assert_close(runner.step(state)[0] / std, expected / std, rtol=1e-4, atol=1e-4)


def test_windows_are_the_test_split_s_in_physical_units(study, run):
    state = windows(study.data, run, 100)
    truth = trajectories(study.data, "test")
    assert len(state) == truth.shape[0] * (truth.shape[1] - 4)
    for start in range(truth.shape[1] - 4):
        assert torch.equal(state[start], truth[0, start : start + 4])


def test_windows_are_spread_over_the_split(study, run):
    every = windows(study.data, run, 100)
    assert torch.equal(windows(study.data, run, 2), every[[0, len(every) // 2]])


def test_what_is_exported_is_left_as_it_is(study, run, monkeypatch):
    before = contents(study, run)
    monkeypatch.setattr(exporter_module, "WRITERS", {})
    assert export(study, run) == study.artifact(run.run)
    assert contents(study, run) == before


def test_a_stopped_export_goes_on_where_it_was(study, run, monkeypatch, tmp_path):
    shutil.move(study.artifact_folder(run.run) / "model.onnx", tmp_path / "model.onnx")
    shutil.rmtree(study.artifact_folder(run.run))
    export(study, run, ["torchscript"])
    assert sorted(contents(study, run)) == ["artifact.json", "model.pt"]
    first = contents(study, run)["model.pt"]
    monkeypatch.setattr(exporter_module, "WRITERS", {"onnx": copying(tmp_path / "model.onnx")})
    record = export(study, run, ["torchscript", "onnx"])
    assert [f.format for f in record.files] == ["onnx", "torchscript"]
    assert study.artifact(run.run) == record
    assert contents(study, run)["model.pt"] == first


def test_force_exports_again_even_over_a_damaged_record(study, run):
    before = contents(study, run)
    (study.artifact_folder(run.run) / "artifact.json").write_text("{")
    with pytest.raises(StudyError, match=r"artifact\.json"):
        export(study, run, ["torchscript"])
    record = export(study, run, ["torchscript"], force=True)
    assert [f.format for f in record.files] == ["torchscript"]
    assert contents(study, run)["model.pt"][1] > before["model.pt"][1]


def test_a_damaged_file_is_exported_again(study, run):
    (study.artifact_folder(run.run) / "model.pt").write_bytes(b"cut")
    export(study, run)
    with open_model(study, run, "torchscript") as runner:
        assert runner.metadata.run == run.run


def test_another_checkpoint_makes_all_files_stale(study, run):
    again = add_run(study, "fno", run.statistics, seed=0, weights=weights_of(build("fno", "quick")))
    with pytest.raises(StudyError, match="trained again"):
        open_model(study, again, "onnxruntime")
    record = export(study, again, ["torchscript"])
    assert record.checkpoint_sha256 == again.checkpoint_sha256 != run.checkpoint_sha256
    assert sorted(contents(study, again)) == ["artifact.json", "model.pt"]


def copying(source):
    """A writer that gives a file which is there already: exporting takes seconds."""
    return lambda step, metadata, path: shutil.copyfile(source, path)


@pytest.mark.parametrize(("format", "write"), [("onnx", write_onnx), ("torchscript", write_torchscript)])
def test_an_export_that_computes_something_else_is_not_kept(format, write, study, run, monkeypatch, tmp_path):
    step = deployable(study, run)
    step.std.mul_(1 + 1e-5)
    write(step, exporter_module.metadata(run, step, Variant()), tmp_path / "perturbed")
    monkeypatch.setitem(exporter_module.WRITERS, format, copying(tmp_path / "perturbed"))
    before = contents(study, run)
    with pytest.raises(ParityError, match=f"fno-quick-s0 as {format}: its error against float64"):
        export(study, run, [format], force=True)
    assert contents(study, run) == before

    shutil.rmtree(study.artifact_folder(run.run))
    with pytest.raises(ParityError):
        export(study, run, [format])
    assert not study.artifact_folder(run.run).exists()


def test_an_export_that_is_killed_leaves_what_was_there(study, run, monkeypatch):
    def killed(step, metadata, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(exporter_module.WRITERS, "onnx", killed)
    before = contents(study, run)
    with pytest.raises(KeyboardInterrupt):
        export(study, run, force=True)
    assert contents(study, run) == before


def test_without_data_there_is_nothing_to_compare_on(study, run):
    shutil.rmtree(study.data)
    before = contents(study, run)
    with pytest.raises(DataError):
        export(study, run, force=True)
    assert contents(study, run) == before


def test_the_test_windows_may_lie_elsewhere(study, run, tmp_path):
    shutil.move(study.data, tmp_path / "elsewhere")
    record = export(study, run, ["torchscript"], data=tmp_path / "elsewhere", force=True)
    assert [f.parity.windows for f in record.files if f.format == "torchscript"] == [2]


@pytest.mark.gpu
@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_on_a_gpu_it_is_the_gpu_that_proves(format, study, run):
    record = export(study, run, [format], device="cuda:0")
    (file,) = (f for f in record.files if f.format == format)
    assert file.parity.device == "cuda:0"
    assert "cuda" in file.parity.provider.lower()
    assert file.parity.device_difference > 0


def test_data_of_another_grid_are_refused(study, run):
    with pytest.raises(DataError, match=r"48×96.* trained on .*64×128"):
        windows(study.data, run.model_copy(update={"grid": (64, 128)}), 1)


def test_progress_counts_formats(study, run):
    progress = Progress(disable=True)
    export(study, run, progress=progress)
    (task,) = progress.tasks
    assert (task.completed, task.total) == (2, 2)


def test_a_file_that_was_proven_elsewhere_is_exported_again(study, run, monkeypatch):
    path = study.artifact_folder(run.run) / "artifact.json"
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "cuda:0"'))
    before = contents(study, run)["model.pt"]
    record = export(study, run, ["torchscript"])
    assert contents(study, run)["model.pt"][1] > before[1]
    assert [f.parity.device for f in record.files] == ["cuda:0", "cpu"]


def test_a_file_says_how_much_it_computes_and_what_a_step_is(study, run):
    with open_model(study, run, "torchscript") as runner:
        said = runner.metadata
    assert (said.time_step, said.parameters, said.spectral, said.precision) == (0.1, 1, "gemm", "fp32")
    # A product of 24 channels with 16 at each point alone, counted twice for a sum.
    assert said.flops > 2 * 16 * 24 * 48 * 96


def test_an_unknown_format_gets_a_suggestion(study, run):
    with pytest.raises(UsageError, match="did you mean 'onnx'"):
        export(study, run, ["onyx"])
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        open_model(study, run, "onnxruntim")


def refused(study, run, format="onnx"):
    with pytest.raises(StudyError) as caught:
        open_model(study, run, RUNTIMES[format])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def listed_as_it_is(study, run, name):
    """Have artifact.json describe the file as it lies there, as a forger would."""
    path = study.artifact_folder(run.run) / "artifact.json"
    record = json.loads(path.read_text())
    for file in record["files"]:
        if file["name"] == name:
            file["sha256"] = sha256(path.with_name(name))
            file["size_bytes"] = path.with_name(name).stat().st_size
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
class TestOpening:
    def name(self, format):
        return {"onnx": "model.onnx", "torchscript": "model.pt"}[format]

    def test_a_run_that_is_not_exported(self, format, study, run):
        shutil.rmtree(study.artifact_folder(run.run))
        assert f"`ptprof export fno --format {format}`" in refused(study, run, format)

    def test_a_file_that_is_gone(self, format, study, run):
        (study.artifact_folder(run.run) / self.name(format)).unlink()
        assert "is not there" in refused(study, run, format)

    def test_a_file_that_is_cut(self, format, study, run):
        path = study.artifact_folder(run.run) / self.name(format)
        path.write_bytes(path.read_bytes()[:1000])
        assert "is cut: 1000 of" in refused(study, run, format)

    def test_a_file_with_one_byte_changed(self, format, study, run):
        path = study.artifact_folder(run.run) / self.name(format)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert "not the file that artifact.json describes" in refused(study, run, format)

    def test_a_file_of_another_run(self, format, study, run, exported):
        other = exported("tfno").folder / self.name(format)
        shutil.copy(other, study.artifact_folder(run.run) / self.name(format))
        listed_as_it_is(study, run, self.name(format))
        assert "another checkpoint, of tfno-quick-s0" in refused(study, run, format)


def test_a_file_that_is_not_ptprof_s(study, run):
    path = study.artifact_folder(run.run) / "model.onnx"
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    listed_as_it_is(study, run, "model.onnx")
    assert "not ptprof's" in refused(study, run)


def test_a_file_for_another_grid(study, run):
    elsewhere = run.model_copy(update={"grid": (64, 128)})
    assert "for a grid of 48×96, not 64×128" in refused(study, elsewhere)

"""A plugin's model from its training to its files: what a run keeps of the code, and what needs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ptprof import plugins
from ptprof.errors import StudyError, UsageError
from ptprof.export import export
from ptprof.export.artifact import deployable, open_model
from ptprof.profile.roofline import work
from ptprof.records import ModelRecord, PluginSource, RunRecord, Work
from ptprof.study import Study, read_record, sha256, write_record
from ptprof.train import load, train
from ptprof.train.estimate import estimate
from ptprof.train.recipe import Recipe

MakeRecipe = Callable[..., Recipe]

CODE = '''"""An FNO of one's own, of neuraloperator's layers, with the coordinates of its one grid."""
import ptprof
import torch
from neuralop.models import FNO
from torch import nn

class Placed(nn.Module):
    def __init__(self, i, o, grid):
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, *grid))
        self.fno = FNO(n_modes=(6, 6), in_channels=i + 1, out_channels=o, hidden_channels=8, n_layers=2)

    def forward(self, x):
        return self.fno(torch.cat((x, self.place.expand(x.shape[0], -1, -1, -1)), dim=1))

@ptprof.model("placed", learning_rate=3e-3)
def placed(in_channels, out_channels, grid):
    return Placed(in_channels, out_channels, grid)
'''


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "placed.py"
    path.write_text(CODE)
    return path


@pytest.fixture(scope="module")
def trained(
    code: Path, flows: Path, tmp_path_factory: pytest.TempPathFactory, small_recipe: MakeRecipe
) -> Study:
    """A study with the model trained and exported, and the study that its epochs were stopped in."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").symlink_to(flows)
    study = Study(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_registry", plugins._Registry())
        patch.setenv(plugins.VARIABLE, str(code))
        run = train(study, "placed", small_recipe())
        export(study, run, ["onnx", "torchscript"])
        export(study, run, ["torchscript"], spectral="fft")
    return study


@pytest.fixture
def study(trained: Study, tmp_path: Path) -> Study:
    shutil.copytree(trained.root, tmp_path / "study", symlinks=True)
    return Study(tmp_path / "study")


@pytest.fixture
def here(no_plugins: None, code: Path) -> None:
    plugins.announce([str(code)])


@pytest.fixture
def changed(no_plugins: None, tmp_path: Path) -> None:
    """The plugin with another learning rate: the same modules, and not the same code."""
    path = tmp_path / "placed.py"
    path.write_text(CODE.replace("3e-3", "1e-3"))
    plugins.announce([str(path)])


def valid_losses(study: Study, run: RunRecord) -> list[float]:
    lines = (study.run_folder(run.run) / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["valid_loss"] for line in lines]


@pytest.mark.usefixtures("here")
def test_a_run_keeps_the_code_that_made_it(trained: Study, code: Path, small_recipe: MakeRecipe) -> None:
    run = trained.run("placed")
    assert run.plugin == PluginSource(name="placed.py", sha256=sha256(code))
    assert run.best_valid_loss < valid_losses(trained, run)[0]
    assert train(trained, "placed", small_recipe()) == run
    assert load(trained, run).network.place.shape == (1, 48, 96)


@pytest.mark.usefixtures("here")
def test_its_weights_do_not_depend_on_the_sitting(
    trained: Study, study: Study, small_recipe: MakeRecipe
) -> None:
    again = train(study, "placed", small_recipe(), force=True)
    assert again.checkpoint_sha256 == trained.run("placed").checkpoint_sha256


@pytest.mark.usefixtures("changed")
def test_code_that_changed_is_refused_where_weights_meet_it(study: Study, small_recipe: MakeRecipe) -> None:
    run = study.run("placed")
    for ask in (load, deployable):
        with pytest.raises(
            StudyError, match=r"placed\.py is not the code that placed-quick-s0 was trained with"
        ) as e:
            ask(study, run)
        assert "restore the file, or train placed again with --force" in str(e.value)
    with pytest.raises(
        StudyError, match=r"differs in .*the plugin's code: keep it .* or train again with --force"
    ):
        train(study, "placed", small_recipe())
    assert train(study, "placed", small_recipe(), force=True).plugin != run.plugin


def test_a_training_does_not_go_on_with_other_code(
    here: None,
    code: Path,
    study: Study,
    tmp_path: Path,
    small_recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped = small_recipe(max_epochs=4)
    monkeypatch.setattr("ptprof.train.training._record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(study, "placed", stopped, seed=1)
    monkeypatch.undo()
    monkeypatch.setattr(plugins, "_registry", plugins._Registry())
    other = tmp_path / "placed.py"
    other.write_text(CODE + "# another\n")
    monkeypatch.setenv(plugins.VARIABLE, str(other))
    with pytest.raises(StudyError, match="left by a training that differs in the plugin's code"):
        train(study, "placed", stopped, seed=1)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("no_plugins")
def test_without_the_code_one_line_says_which_it_is(study: Study, small_recipe: MakeRecipe) -> None:
    run = study.run("placed")
    for ask in (load, deployable, lambda *of: open_model(*of, "eager")):
        with pytest.raises(
            StudyError, match=r"model of the plugin placed\.py, .*`ptprof --plugin placed\.py …`"
        ):
            ask(study, run)
    with pytest.raises(UsageError, match="unknown model 'placed'"):
        train(study, "placed", small_recipe())


@pytest.mark.parametrize("runtime", ["onnxruntime", "torchscript"])
def test_its_files_need_no_code_and_compute_what_was_trained(
    trained: Study, code: Path, runtime: str, no_plugins: None
) -> None:
    run = trained.run("placed")
    state = torch.randn(2, run.history, 4, *run.grid, generator=torch.Generator().manual_seed(0))
    with open_model(trained, run, runtime) as runner:
        found, _ = runner.step(state)
    plugins.announce([str(code)])
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (run.statistics.mean, run.statistics.std))
    with torch.inference_mode():
        expected = load(trained, run)(((state - mean) / std).flatten(1, 2)) * std + mean
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_its_work_is_counted_where_the_code_is(trained: Study, code: Path, no_plugins: None) -> None:
    def counted() -> Work | None:
        return work(trained, trained.run("placed"), batch=1, nfe=None, precision="fp32", peaks=None)

    assert counted() is None
    plugins.announce([str(code)])
    there = counted()
    assert there is not None
    assert there.flops is not None
    # At least the channel products of two layers of 8 × 8, 2 for each, on every point.
    assert there.flops > 2 * 2 * 8 * 8 * 48 * 96


@pytest.mark.usefixtures("no_plugins")
def test_its_artifact_has_both_kinds_of_spectral_layers(trained: Study) -> None:
    record = trained.artifact("placed-quick-s0")
    assert record is not None
    assert [(f.format, f.variant) for f in record.files] == [
        ("onnx", ""), ("torchscript", "fft"), ("torchscript", ""),
    ]  # fmt: skip


@pytest.mark.usefixtures("here")
def test_its_training_is_projected(study: Study, small_recipe: MakeRecipe) -> None:
    record = estimate(study, "placed", small_recipe(), limit_s=0.2)
    assert record.plugin == study.run("placed").plugin
    assert (
        estimate(study, "placed", small_recipe(), limit_s=0.2).checkpoint_sha256 == record.checkpoint_sha256
    )


def test_fourier_transforms_are_not_asked_of_a_model_without(
    written: Callable[..., Path], study: Study, small_recipe: MakeRecipe
) -> None:
    body = "from torch import nn\n@ptprof.model('plain', learning_rate=1e-3)\ndef plain(i, o, grid):\n"
    plugins.announce([str(written(f"{body}    return nn.Conv2d(i, o, 3, padding=1)\n"))])
    record = estimate(study, "plain", small_recipe(), limit_s=0.1)
    assert deployable(study, record).state_shape == (4, 4, 48, 96)
    with pytest.raises(UsageError, match="plain has no spectral layers: leave out --spectral fft"):
        deployable(study, record, spectral="fft")


@pytest.mark.usefixtures("no_plugins")
def test_runs_from_before_plugins_are_read(study: Study, tmp_path: Path) -> None:
    run = study.run("placed")
    write_record(tmp_path / "old.json", run)
    text = run.model_dump_json(exclude={"plugin"})
    (tmp_path / "old.json").write_text(text)
    old: ModelRecord = read_record(tmp_path / "old.json", RunRecord)
    assert old.plugin is None
    assert old.plugin_sha256 is None

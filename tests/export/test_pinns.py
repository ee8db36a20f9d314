"""PINNs as files: points to u, one step only."""

import pytest
import torch

from ptprof.environment import environment
from ptprof.errors import ParityError, StudyError, UsageError
from ptprof.export import export, exporter, open_model
from ptprof.export.artifact import inputs, source_sha256
from ptprof.export.torchscript import write_torchscript
from ptprof.records import EnergyBreakdown, PinnRecord
from ptprof.study import Study, now, write_record
from ptprof.train.burgers.network import Network
from ptprof.train.checkpoint import save_weights, weights_of

RUN = "burgers-nn-quick-s0"


@pytest.fixture(params=[torch.float32, torch.float64], scope="module")
def made(request, tmp_path_factory):
    """A study with a network of either precision, as training leaves it, exported to both formats."""
    study = Study(tmp_path_factory.mktemp("study"))
    network = Network(seed=4, dtype=request.param)
    folder = study.run_folder(RUN)
    folder.mkdir(parents=True)
    record = PinnRecord(
        run=RUN,
        model="burgers-nn",
        recipe="quick",
        recipe_sha256="0" * 64,
        seed=4,
        points=10,
        parameters=7851,
        steps=1,
        evaluations=1,
        stopped="planned",
        loss=1.0,
        test_mse=1.0,
        duration_s=1.0,
        energy=EnergyBreakdown(),
        device="cpu",
        environment=environment(),
        created=now(),
        checkpoint_sha256=save_weights(folder / "checkpoint.pt", "burgers-nn", weights_of(network)),
    )
    write_record(folder / "run.json", record)
    return study, record, network, export(study, record)


def test_both_files_pass_the_gate_on_all_of_the_grid(made):
    study, record, _, artifact = made
    assert [file.name for file in artifact.files] == ["model.onnx", "model.pt"]
    assert (artifact.grid, artifact.history, artifact.statistics) == (None, None, None)
    for file in artifact.files:
        assert file.parity.windows == 256 * 100
        assert file.parity.one_step_float64 <= file.parity.gate
        assert file.parity.reference_float64 > 0
        assert (file.parity.rollout, list(file.parity.by_field)) == (None, ["u"])
    assert study.artifact(record.run) == artifact


@pytest.mark.parametrize("runtime", ["eager", "torchscript", "onnxruntime"])
@pytest.mark.parametrize("count", [1, 7])
def test_any_number_of_points_gives_u(runtime, count, made):
    study, record, network, _ = made
    points = inputs(study.data, record, count)
    assert points.shape == (count, 2)
    with torch.inference_mode():
        expected = network(points.to(next(network.parameters()).dtype)).float()
    with open_model(study, record, runtime) as runner:
        query = runner.bind(points)
        query()
        assert query.result.shape == (count, 1)
        torch.testing.assert_close(query.result, expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(runner.step(points)[0], query.result)


@pytest.mark.parametrize("runtime", ["eager", "torchscript", "onnxruntime"])
def test_what_a_pinn_cannot_do_is_refused_in_words(runtime, made):
    study, record, _, _ = made
    points = inputs(study.data, record, 3)
    with open_model(study, record, runtime) as runner:
        with pytest.raises(UsageError, match="takes points and gives u, one step only"):
            runner.rollout(points, 2)
        with pytest.raises(
            UsageError, match=r"points of shape \(3, 3\) does not fit: the model takes \(B, 2\)"
        ):
            runner.bind(torch.zeros(3, 3))
        with pytest.raises(UsageError, match="takes no noise"):
            runner.bind(points, noise=points)


def test_the_points_are_spread_over_the_grid(made):
    study, record, _, _ = made
    every = inputs(study.data, record, 10**6)
    assert len(every) == 256 * 100
    assert (every.min(0).values.tolist(), every.max(0).values.tolist()) == ([-1, 0], [1, 1])
    assert torch.equal(inputs(study.data, record, 4), every[[0, 6400, 12800, 19200]])


def test_a_file_that_computes_something_else_is_not_kept(made, monkeypatch):
    study, record, _, artifact = made

    def other(step, metadata, path):
        with torch.no_grad():
            step.model.layers[0].weight.mul_(1.01)
        write_torchscript(step, metadata, path)

    monkeypatch.setitem(exporter.WRITERS, "torchscript", other)
    with pytest.raises(ParityError, match="burgers-nn-quick-s0 as torchscript: its error against float64"):
        export(study, record, ["torchscript"], force=True)
    assert source_sha256(study, record, "torchscript") == artifact.files[1].sha256


def test_a_pinn_does_not_sample_and_has_no_transforms(made):
    study, record, _, _ = made
    with pytest.raises(UsageError, match="only flow-matching evaluates"):
        export(study, record, ["torchscript"], nfe=2)
    with pytest.raises(UsageError, match="burgers-nn has no spectral layers"):
        export(study, record, ["torchscript"], spectral="fft")


def test_what_is_not_exported_names_the_command(made):
    study, record, _, _ = made
    with pytest.raises(StudyError, match="`ptprof export burgers-nn --format pt2`"):
        open_model(study, record, "pt2")

"""A plugin's runtime behind the server: the study's newest run, by what the runtime reads."""

from __future__ import annotations

import pytest
import torch
from onnx.reference import ReferenceEvaluator

import ptprof
from ptprof import plugins
from ptprof.errors import RuntimeUnavailable, UsageError
from ptprof.runtimes import StepRunner
from ptprof.serve import find_models
from ptprof.study import Study


@pytest.fixture
def reference(monkeypatch):
    """A runtime that evaluates ONNX files as their specification says."""
    monkeypatch.setattr(plugins, "_registry", plugins._Registry())
    monkeypatch.setenv(plugins.VARIABLE, "")

    @ptprof.runtime("reference", reads="onnx")
    class Reference(StepRunner):
        def load(self, path):
            evaluator = ReferenceEvaluator(str(path))
            return lambda state: evaluator.run(None, {"state": state.numpy()})


@pytest.mark.usefixtures("reference")
def test_what_it_reads_is_found_and_computes_the_same(tmp_path, studies) -> None:
    study = Study(tmp_path)
    run = studies.add_run(study, "unet", "2026-01-01", (8, 12), "0" * 64)
    studies.add_artifact(study, run, studies.step(0))
    source = find_models(study, runtime="reference")["unet"]
    assert source.size_bytes == (study.artifact_folder(run.run) / "model.onnx").stat().st_size
    model = source.open()
    state = torch.randn(2, 4, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    with model.runner as runner, torch.inference_mode():
        torch.testing.assert_close(runner.step(state)[0], studies.step(0)(state)[0], rtol=1e-4, atol=1e-5)
    assert (model.details["runtime"], model.platform) == ("reference", "ptprof_reference")
    with pytest.raises(RuntimeUnavailable, match=r"compile cannot be served: .*openvino, pt2, reference"):
        find_models(study, runtime="compile")
    with pytest.raises(UsageError, match=r"unknown runtime 'referense' \(did you mean 'reference'\?\)"):
        find_models(study, runtime="referense")

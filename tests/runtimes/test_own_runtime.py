"""Runtimes of plugins: a small class computes what the others do, and what it does wrong is one line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import ptprof
from ptprof import plugins
from ptprof.errors import RuntimeUnavailable, StudyError, UsageError
from ptprof.export.onnx import write_onnx
from ptprof.runtimes import StepRunner, format_of, open_runner, runner_class, runtimes
from ptprof.runtimes.availability import provider
from ptprof.runtimes.base import Runner

CLOSE = {"rtol": 1e-5, "atol": 2e-6}


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """No plugins but those of the test."""
    monkeypatch.setattr(plugins, "_registry", plugins._Registry())
    monkeypatch.setenv(plugins.VARIABLE, "")


def registered(load, *, name="mine", reads="onnx", base=StepRunner, **attributes):
    """Register a runtime with this ``load``."""
    kind = type("Mine", (base,), {"load": load, "__module__": __name__, **attributes})
    return ptprof.runtime(name, reads=reads)(kind)


@pytest.fixture
def through_onnxruntime(files):
    """A step by ONNX Runtime, that gives arrays."""
    import onnxruntime as ort

    ort.set_default_logger_severity(4)

    def load(self, path):
        session = ort.InferenceSession(path)
        names = [tensor.name for tensor in session.get_inputs()]
        return lambda *tensors: session.run(
            None, {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        )

    return load


def test_a_step_and_a_rollout_are_those_of_a_runtime_that_is_known(
    through_onnxruntime, files, open_small, states
):
    registered(through_onnxruntime)
    with open_runner("mine", files["onnxruntime"]) as mine, open_small("onnxruntime") as known:
        for own, expected in zip(mine.step(states(2)), known.step(states(2)), strict=True):
            torch.testing.assert_close(own, expected, **CLOSE)
        torch.testing.assert_close(mine.rollout(states(3), 4), known.rollout(states(3), 4), **CLOSE)
        assert (mine.metadata, mine.state_shape) == (known.metadata, known.state_shape)
        assert (mine.runtime, mine.provider, mine.threads > 0) == ("mine", "mine cpu", True)
        with pytest.raises(UsageError, match=r"takes \(B, 2, 3, 8, 12\)"):
            mine.step(states(1)[..., :-1])
    with pytest.raises(RuntimeUnavailable, match="closed"):
        mine.step(states(1))


def test_next_alone_moves_the_window_on(step, states):
    registered(lambda self, module: lambda state: module(state)[0], reads=None)
    with open_runner("mine", step) as mine, open_runner("eager", step) as known:
        torch.testing.assert_close(mine.step(states(2)), known.step(states(2)))
        torch.testing.assert_close(mine.rollout(states(2), 5), known.rollout(states(2), 5))


@pytest.mark.parametrize(
    "kind",
    [
        lambda value: value.double(),
        lambda value: value.numpy()[..., ::-1][..., ::-1],
        lambda value: np.asfortranarray(value.numpy().astype(np.float64)),
        lambda value: np.frombuffer(value.numpy().tobytes(), np.float32).reshape(value.shape),
        lambda value: value.tolist(),
    ],
)
def test_answers_may_be_whatever_numpy_takes_for_an_array(kind, step, states):
    def load(self, module):
        return lambda state: [kind(value) for value in module(state)]

    registered(load, reads=None)
    with open_runner("mine", step) as mine, open_runner("eager", step) as known:
        torch.testing.assert_close(mine.rollout(states(2), 3), known.rollout(states(2), 3))


class Noisy(nn.Module):
    """A step that samples: its forecast is the latest state and the noise."""

    takes_noise = True

    def forward(self, state, noise):
        following = state[:, -1] + noise
        return following, torch.cat((state[:, 1:], following.unsqueeze(1)), 1)


def test_a_step_that_samples_is_given_noise(states):
    registered(lambda self, module: module, reads=None)
    with open_runner("mine", Noisy()) as mine, open_runner("eager", Noisy()) as known:
        assert mine.takes_noise
        assert torch.equal(mine.rollout(states(2), 3), known.rollout(states(2), 3))


def test_a_model_that_is_no_step_gives_its_output(tmp_path):
    from ptprof.export.step import DeployableMap
    from ptprof.runtimes.metadata import Metadata, Signature

    signature = Signature(input="points", takes=(2,), output="u", gives=(1,))
    module = DeployableMap(nn.Linear(2, 1), signature).eval()
    said = Metadata(model="m", run="m", signature=signature, fields=("u",), units={}, versions={})
    write_onnx(module, said, tmp_path / "m.onnx")

    def load(self, path):
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(str(path))
        return lambda points: evaluator.run(None, {"points": points.numpy()})

    registered(load)
    points = torch.rand(7, 2, generator=torch.Generator().manual_seed(0))
    with open_runner("mine", tmp_path / "m.onnx") as mine, open_runner("eager", module) as known:
        torch.testing.assert_close(mine.step(points)[0], known.step(points)[0], **CLOSE)
        with pytest.raises(UsageError, match="one step only"):
            mine.rollout(points, 2)


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda state: state[:, 0, :, :-1], r"mine gives \(1, 3, 7, 12\), where \(1, 3, 8, 12\) is due"),
        (
            lambda state: (state[:, 0], state[:, 0]),
            r"and \(1, 3, 8, 12\), where .* \(1, 2, 3, 8, 12\) is due",
        ),
        (lambda state: (), "mine gives nothing"),
        (lambda state: (state[:, 0],) * 3, "is due"),
        (lambda state: None, r"mine gives \(\), where"),
        (lambda state: "text", "mine has failed: ValueError"),
        (lambda state: state.nothing, "mine has failed: AttributeError: .* 'nothing'"),
        (lambda state: (state[:, 0], state), "mine gives the state that it was given"),
    ],
)
def test_a_step_that_does_it_wrong_is_one_line(gives, said, step, states):
    registered(lambda self, module: gives, reads=None)
    with open_runner("mine", step) as mine:
        for ask in (lambda: mine.step(states(1)), lambda: mine.rollout(states(1), 2)):
            with pytest.raises(RuntimeUnavailable, match=said) as caught:
                ask()
            assert "\n" not in str(caught.value)


def test_what_cannot_be_opened_is_one_line_that_names_the_plugin(step):
    def load(self, module):
        raise OSError("libmine.so is not there\nand more")

    registered(load, reads=None)
    with pytest.raises(RuntimeUnavailable) as caught:
        open_runner("mine", step)
    name = plugins.runtimes()["mine"].source.name
    assert str(caught.value) == (
        f"the runtime mine of {name} cannot be opened: OSError: libmine.so is not there"
    )


def test_a_runtime_that_lacks_a_method_is_one_line(step):
    kind = type("Lacking", (Runner,), {"__module__": __name__, "close": lambda self: None})
    ptprof.runtime("lacking", reads=None)(kind)
    with pytest.raises(RuntimeUnavailable, match=r"abstract method.*bind"):
        open_runner("lacking", step)


def test_what_is_no_runner_is_refused(step):
    ptprof.runtime("function", reads=None)(registered)
    with pytest.raises(RuntimeUnavailable, match=r"the runtime function of .* is no class of ptprof"):
        open_runner("function", step)


def test_devices_and_precisions_are_its_own_to_name(files, step, through_onnxruntime, monkeypatch):
    registered(through_onnxruntime)
    with pytest.raises(RuntimeUnavailable, match="mine does not compute in bf16, but in fp32"):
        open_runner("mine", files["onnxruntime"], precision="bf16")
    registered(lambda self, module: module, name="wide", reads=None, precisions=("fp32", "bf16"))
    with open_runner("wide", step, precision="bf16", threads=3) as wide:
        assert (wide.provider, wide.precision, wide.threads) == ("wide cpu bf16", "bf16", 3)
    assert provider("wide", "cpu", "bf16") == "wide cpu bf16"
    # A GPU that torch sees and the runtime does not take.
    assert runner_class("wide").available("cpu") == "wide cpu"
    with pytest.raises(RuntimeUnavailable, match="wide does not run on cuda:0: take cpu"):
        runner_class("wide").available("cuda:0")


def test_names_are_known_beside_ptprofs_own(through_onnxruntime):
    registered(through_onnxruntime)
    assert runtimes() == ("eager", "compile", "torchscript", "onnxruntime", "openvino", "pt2", "mine")
    assert (format_of("mine"), format_of("openvino"), format_of("eager")) == ("onnx", "onnx", None)
    with pytest.raises(UsageError, match=r"unknown runtime 'mein'.*pt2, mine$"):
        format_of("mein")
    with pytest.raises(UsageError, match="runs an exported file, not a module"):
        open_runner("mine", nn.Identity())


def test_a_file_that_is_not_there_cut_or_of_another_format_is_a_line(tmp_path, files, through_onnxruntime):
    registered(through_onnxruntime)
    registered(lambda self, path: print, name="script", reads="torchscript")
    whole = files["onnxruntime"].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.pt").write_bytes(files["torchscript"].read_bytes()[:1000])
    for runtime, path, says in [
        ("mine", tmp_path / "no.onnx", "is not there"),
        ("mine", tmp_path / "cut.onnx", "is cut or not a file of onnx"),
        ("script", tmp_path / "cut.pt", "is cut or not a file of torchscript"),
        ("script", files["onnxruntime"], "is cut or not a file of torchscript"),
    ]:
        with pytest.raises(StudyError, match=says):
            open_runner(runtime, path)


def test_a_name_of_ptprofs_own_is_refused(through_onnxruntime):
    registered(through_onnxruntime, name="eager")
    with pytest.raises(UsageError, match="registers a runtime 'eager', which is ptprof's own"):
        runtimes()


def test_naming_runtimes_loads_no_torch():
    script = (
        "import sys, ptprof.runtimes as r; r.runtimes(); r.format_of('pt2'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

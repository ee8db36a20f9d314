"""What is OpenVINO's own: what it computes in, its batches, its telemetry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptprof import runtimes
from ptprof.errors import RuntimeUnavailable
from ptprof.runtimes import Runner, open_runner
from ptprof.runtimes.availability import provider


@pytest.fixture(autouse=True)
def _installed(require_runtime: Callable[[str], None]) -> None:
    require_runtime("openvino")


@pytest.fixture
def no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without bfloat16."""
    from ptprof.runtimes import openvino

    class Core(openvino.ov.Core):  # type: ignore[misc]
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino.ov, "Core", Core)


def has_bf16() -> bool:
    from ptprof.runtimes import openvino

    return "BF16" in openvino.ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.usefixtures("no_bf16")
def test_bf16_is_refused_where_the_processor_would_imitate_it(open_small: Callable[..., Runner]) -> None:
    with pytest.raises(RuntimeUnavailable, match="no bfloat16 arithmetic"):
        open_small("openvino", precision="bf16")
    with pytest.raises(RuntimeUnavailable, match="no bfloat16 arithmetic"):
        provider("openvino", "cpu", "bf16")
    assert provider("openvino", "cpu") == "OpenVINO CPU"


def test_bf16_rounds_and_says_so(
    open_small: Callable[..., Runner], step: nn.Module, states: Callable[..., Tensor]
) -> None:
    if not has_bf16():
        pytest.skip("this processor has no bfloat16 arithmetic")
    state = states(2)
    with torch.inference_mode():
        exact = step(state)[0]
    errors = {}
    for precision in ("fp32", "bf16"):
        with open_small("openvino", precision=precision) as runner:
            assert runner.provider == provider("openvino", "cpu", precision)
            given = runner.step(state)[0]
            errors[precision] = float((given - exact).norm() / exact.norm())
    assert errors["fp32"] < 1e-6
    assert 1e-5 < errors["bf16"] < 3e-2


def test_it_runs_on_the_cpu_only(monkeypatch: pytest.MonkeyPatch, open_small: Callable[..., Runner]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RuntimeUnavailable, match="on the CPU only"):
        open_small("openvino", device="cuda:0")


def test_sizes_of_a_batch_take_turns(
    open_small: Callable[..., Runner], step: nn.Module, states: Callable[..., Tensor]
) -> None:
    """More than are kept compiled, and one of the first again, while a query on it is still held."""
    with open_small("openvino") as runner, torch.inference_mode():
        held = runner.bind(states(1), 3)
        for batch in (1, 2, 3, 4, 5, 6, 1):
            torch.testing.assert_close(
                runner.step(states(batch))[0], step(states(batch))[0], rtol=1e-5, atol=2e-6
            )
        held()
        assert torch.equal(held.result, runner.rollout(states(1), 3))


def test_states_are_read_where_they_are(
    open_small: Callable[..., Runner], states: Callable[..., Tensor]
) -> None:
    state = states(1)
    with open_small("openvino") as runner:
        query = runner.bind(state)
        query()
        first = query.result.clone()
        state += 1
        query()
        assert not torch.allclose(query.result, first)


def test_threads_are_those_asked_for(files: dict[str, Path]) -> None:
    from ptprof.runtimes.openvino import OpenVinoRunner

    with OpenVinoRunner(files["openvino"], threads=1) as runner:
        assert runner.compiled(1).get_property("INFERENCE_NUM_THREADS") == 1
        assert runner.compiled(1).get_property("NUM_STREAMS") == 1


def test_where_it_is_not_installed_one_line_says_how(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "ptprof.runtimes.openvino", raising=False)
    monkeypatch.delattr(runtimes, "openvino", raising=False)
    with pytest.raises(RuntimeUnavailable) as caught:
        open_runner("openvino", files["openvino"])
    assert str(caught.value) == "OpenVINO is not installed: pip install 'ptprof[openvino]'"
    with pytest.raises(RuntimeUnavailable, match="not installed"):
        provider("openvino", "cpu")


def test_nothing_is_reported_to_anyone(files: dict[str, Path], tmp_path: Path) -> None:
    """OpenVINO's own import counts itself in the user's home and opens a connection."""
    code = f"""
import socket, sys
class Refused(socket.socket):
    def connect(self, address):
        print("connects to", address)
socket.socket = Refused
socket.create_connection = lambda *a, **k: print("connects to", a)
import torch
from pathlib import Path
from ptprof.runtimes import open_runner
with open_runner("openvino", Path({str(files["openvino"])!r})) as runner:
    runner.step(torch.zeros(1, *runner.state_shape))
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin", "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []

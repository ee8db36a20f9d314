"""What the doctor shows: every sensor and runtime, what is missing and why."""

from __future__ import annotations

from rich.console import Console

from ptprof.energy import Probe, SecondOpinion
from ptprof.records import Environment
from ptprof.report.diagnosis import Diagnosis, Provision, diagnosis


def _shown(found: Diagnosis) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(diagnosis(found))
    return " ".join(capture.get().split())


def test_sensors_second_opinions_and_runtimes_are_all_said() -> None:
    found = Diagnosis(
        environment=Environment(platform="Linux", python="3", cpu="a CPU", cpu_cores=2, memory_bytes=8 << 30),
        sensors=(
            Probe(
                component="gpu",
                device_id="GPU-a",
                device="H200",
                sensor="NVML energy counter",
                source="measured",
                tick_s=0.1,
                detail="the whole board",
            ),
            Probe(
                component="dram", device_id="", device="memory", sensor="", source=None, detail="no RAPL here"
            ),
        ),
        second_opinions=(
            SecondOpinion(name="Carbontracker 2.4.7", device="GPU", here=False, detail="not installed"),
        ),
        runtimes=(
            Provision(runtime="eager", device="cpu", provider="torch cpu"),
            Provision(runtime="eager", device="cuda:0", provider=None, detail="no CUDA"),
            Provision(runtime="torchscript", device="cpu", provider="torch cpu"),
            Provision(runtime="openvino", device="cpu", provider=None, detail="pip install"),
        ),
    )
    shown = _shown(found)
    assert "gpu H200 measured NVML energy counter 100 ms the whole board" in shown
    assert "dram memory missing – – no RAPL here" in shown
    assert "Carbontracker 2.4.7 GPU no not installed" in shown
    assert "eager, torchscript cpu torch cpu" in shown
    assert "openvino cpu not here pip install eager cuda:0 not here no CUDA" in shown

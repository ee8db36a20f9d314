"""What is here: sensors, GPUs, runtimes."""

from __future__ import annotations

from collections.abc import Iterator

from ptprof import energy, plugins
from ptprof.environment import environment
from ptprof.errors import RuntimeUnavailable
from ptprof.report.diagnosis import Addition, Diagnosis, Provision
from ptprof.runtimes import runtimes
from ptprof.runtimes.availability import provider
from ptprof.train.recipe import own_models


def doctor() -> Diagnosis:
    """Look for sensors, GPUs and runtimes; what is missing is said, and is no error."""
    sensors = energy.probe()
    return Diagnosis(
        environment=environment(
            gpus=tuple(probe.device for probe in sensors if probe.component == "gpu" and probe.source),
            driver=energy.driver(),
        ),
        sensors=tuple(sensors),
        second_opinions=tuple(energy.second_opinions()),
        runtimes=tuple(_provision(runtime, device) for runtime in runtimes() for device in ("cpu", "cuda:0")),
        plugins=tuple(_additions()),
    )


def _additions() -> Iterator[Addition]:
    own_models()  # raises: a name that is taken
    for one in plugins.registered():
        yield Addition(kind=one.kind, name=one.name, plugin=one.source.name, sha256=one.source.sha256)


def _provision(runtime: str, device: str) -> Provision:
    try:
        runs = provider(runtime, device)
    except RuntimeUnavailable as error:
        return Provision(runtime=runtime, device=device, provider=None, detail=str(error))
    detail = _bf16(device) if runtime == "openvino" else ""
    return Provision(runtime=runtime, device=device, provider=runs, detail=detail)


def _bf16(device: str) -> str:
    """Whether OpenVINO has bf16 too, which depends on the processor."""
    try:
        return f"and {provider('openvino', device, 'bf16')}"
    except RuntimeUnavailable as error:
        return str(error)

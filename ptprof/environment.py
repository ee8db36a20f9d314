"""What a figure was obtained on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from ptprof.records import BoardFacts, Environment

LIBRARIES = (
    "ptprof",
    "torch",
    "lightning-fabric",
    "neuraloperator",
    "onnx",
    "onnxscript",
    "onnxruntime-gpu",
    "onnxruntime",
    "openvino",
    "carbontracker",
    "nvidia-ml-py",
    "numpy",
    "h5py",
)


def environment(
    gpus: tuple[str, ...] = (), driver: str | None = None, boards: tuple[BoardFacts, ...] = ()
) -> Environment:
    """Describe this machine: no host name, no path, no network; ``boards`` are those that are metered."""
    return Environment(
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cpu=cpu_name(),
        cpu_cores=cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=gpus,
        boards=boards,
        driver=driver,
        libraries=_versions(),
        container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
    )


def cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

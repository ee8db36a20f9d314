"""What a figure was obtained on."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

from ptprof.records import BoardFacts, Environment

ROOT = Path("/")
BOOT_ID = Path("proc/sys/kernel/random/boot_id")
"""Changes when the machine starts, and is the same in its containers, which a machine-id need not be."""
MACHINE_ID = Path("etc/machine-id")

SHARED_VARIABLE = "PTPROF_SHARED_HOST"
"""Says why what a machine's sensors count is not this process's: others work there at the same time."""

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
        libraries=versions(),
        container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
    )


def host_id(root: Path = ROOT) -> str:
    """A word for this machine, the same in all its processes and containers, that does not name it.

    It comes from the kernel's id of this start; where there is none, from the machine's own id or its name.

    Parameters
    ----------
    root : the folder under which those are
    """
    for path in (root / BOOT_ID, root / MACHINE_ID):
        try:
            told = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if told:
            break
    else:
        told = platform.node()
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(allowed_cores())


def allowed_cores() -> tuple[int, ...]:
    """The CPU cores that this process may use, by number."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def threads(there: int | None = None) -> int:
    """CPU threads of one thing at work: OMP_NUM_THREADS, or as many as cores are ``there``, or allowed."""
    return int(os.environ.get("OMP_NUM_THREADS") or there or cores())


def own_cores() -> tuple[int, ...]:
    """The cores that this process is held to, where those are not all of the machine's; () where they are."""
    allowed = allowed_cores()
    return allowed if len(allowed) < (os.cpu_count() or 1) else ()


def cpu_name() -> str:
    """The processor's name as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def versions() -> dict[str, str]:
    """The versions of what is here of ptprof and the libraries that a figure may depend on."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

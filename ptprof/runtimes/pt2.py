"""A package of native code, compiled from a model by AOTInductor, by torch.

It runs on the processor and the torch that it was compiled for and nowhere else; its metadata say which, and
are read before anything of it is loaded.
"""

from __future__ import annotations

import json
import platform
import zipfile
from pathlib import Path
from typing import ClassVar

import torch

from ptprof.environment import cpu_name
from ptprof.errors import RuntimeUnavailable, StudyError
from ptprof.runtimes.eager import TorchRunner
from ptprof.runtimes.metadata import NOISE, Metadata

METADATA_FILE = "extra/ptprof.json"
"""In the archive, behind the name of its only folder."""


class Pt2Runner(TorchRunner):
    """A model that was compiled into a ``.pt2``."""

    runtime: ClassVar[str] = "pt2"

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        tf32: bool = False,
    ) -> None:
        super().__init__(device=device, threads=threads, precision=precision, tf32=tf32)
        metadata = read_metadata(path)
        self.describe(metadata, precision)
        _refuse_elsewhere(path, metadata, self.device)
        # Loading takes seconds to import.
        from torch._inductor import aoti_load_package

        index = -1 if self.device == "cpu" else torch.device(self.device).index
        try:
            self._step = aoti_load_package(str(path), device_index=index)
        except (OSError, RuntimeError) as error:
            raise StudyError(f"{path} cannot be loaded: export it again with --force") from error
        self.takes_noise = NOISE in metadata.inputs


def target(device: str) -> dict[str, str]:
    """What native code compiled here for ``device`` runs on: it takes every instruction that it finds."""
    here = {
        "torch": torch.__version__,
        "device": torch.device(device).type,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": cpu_name(),
    }
    if device != "cpu":
        here["GPU"] = torch.cuda.get_device_name(device)
    return here


def read_metadata(path: Path) -> Metadata:
    """What the package at ``path`` says about itself; nothing of it is loaded.

    Raises
    ------
    StudyError : a file that is not there, is cut, or is not ptprof's: it would run unknown native code
    """
    if not path.is_file():
        raise StudyError(f"{path} is not there")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.partition("/")[2] == METADATA_FILE]
            properties = json.loads(archive.read(names[0])) if names else {}
        metadata = Metadata.from_properties(properties)
    except (zipfile.BadZipFile, AttributeError, ValueError) as error:
        raise StudyError(f"{path} is cut or not a .pt2 package: export it again with --force") from error
    if metadata is None:
        raise StudyError(f"{path} is not ptprof's: native code of unknown origin is not run")
    return metadata


def _refuse_elsewhere(path: Path, metadata: Metadata, device: str) -> None:
    here, built = target(device), metadata.target or {}
    for name, value in here.items():
        if built.get(name) != value:
            raise RuntimeUnavailable(
                f"{path} was compiled for {name} {built.get(name, 'of another kind')}, and here is {value}: "
                f"export it again here, with --device {device} --force"
            )

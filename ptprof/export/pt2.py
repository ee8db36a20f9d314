"""The model as a package of native code for this machine, compiled by AOTInductor."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import torch

from ptprof.errors import ExportError, RuntimeUnavailable
from ptprof.export.capture import FAILURES, captured, first_line, quiet
from ptprof.export.step import Deployable
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.pt2 import METADATA_FILE

SOURCES = ".cpp"

OPTIONS = {
    # As many threads as there are where it runs, not where it was compiled.
    "cpp.dynamic_threads": True,
    # They would name folders of this machine.
    "aot_inductor.enable_line_tables": False,
    # Compiled once and kept outside of the cache, for programs that are compiled again and again.
    "aot_inductor.precompile_headers": False,
}


def write_pt2(step: Deployable, metadata: Metadata, path: Path) -> None:
    """Compile ``step`` for the device in the metadata's target, and package it at ``path``.

    Everything on the way lies in a temporary folder.

    Raises
    ------
    RuntimeUnavailable : no C++ compiler
    ExportError : a step that cannot be captured or compiled
    """
    require_compiler()
    # Importing the compiler takes seconds.
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.utils import fresh_cache

    device = (metadata.target or {}).get("device", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "model.pt2"
        try:
            with torch.no_grad(), quiet(), fresh_cache(dir=folder):
                program = captured(step, metadata.batch, device)
                aoti_compile_and_package(program, package_path=str(package), inductor_configs=dict(OPTIONS))
        except FAILURES as error:
            raise ExportError(f"it cannot be compiled: {first_line(error)}") from error
        _write_without_sources(package, metadata, path)


def require_compiler() -> None:
    """Raise RuntimeUnavailable where there is no C++ compiler that torch would find."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise RuntimeUnavailable(
            f"a .pt2 needs a C++ compiler, and {compiler} is not here: install g++, or name another in CXX"
        )


def _write_without_sources(package: Path, metadata: Metadata, path: Path) -> None:
    """Write the package with its metadata, and without the sources, which name folders of this machine."""
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith(SOURCES):
                target.writestr(entry, source.read(entry))
        target.writestr(f"{package.stem}/{METADATA_FILE}", json.dumps(metadata.properties()))

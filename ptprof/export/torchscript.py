"""The step as a TorchScript file: traced, frozen, with its metadata inside."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path

import torch
from torch.jit._trace import TracerWarning

from ptprof.errors import ExportError
from ptprof.export.capture import FAILURES, first_line, plain_attention
from ptprof.export.step import SOME, Deployable
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.said import METADATA_FILE
from ptprof.runtimes.torchscript import without_deprecation

SOURCES = ".debug_pkl"


def write_torchscript(step: Deployable, metadata: Metadata, path: Path) -> None:
    """Trace ``step``, freeze it with its weights as constants, and save it at ``path``.

    Nothing in the step depends on the number of states in a batch, so that the trace holds for any.

    Raises
    ------
    ExportError : a step that cannot be traced
    """
    archive = io.BytesIO()
    try:
        with without_deprecation(), plain_attention(), warnings.catch_warnings(), torch.inference_mode():
            # neuraloperator's own layers ask for the grid as they compute, and that is the only one here.
            warnings.simplefilter("ignore", TracerWarning)
            traced = torch.jit.trace(step, step.example(metadata.batch or SOME), check_trace=False)  # type: ignore[no-untyped-call]
            frozen = torch.jit.freeze(traced.eval())
            extra = {METADATA_FILE: json.dumps(metadata.properties())}
            torch.jit.save(frozen, archive, _extra_files=extra)
    except FAILURES as error:
        raise ExportError(f"the step cannot be traced: {first_line(error)}") from error
    _write_without_sources(archive, path)


def _write_without_sources(archive: io.BytesIO, path: Path) -> None:
    """Write the archive but for its notes on which line of which file each operation comes from.

    They name folders of the machine that exported it, and are only read to word errors.
    """
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith(SOURCES):
                target.writestr(entry, source.read(entry))

"""What an exported file says about itself, read without running any of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from ptprof.errors import StudyError
from ptprof.runtimes.graph import metadata_of
from ptprof.runtimes.metadata import Metadata

METADATA_FILE = "ptprof.json"
"""In an archive of torch's: a TorchScript file, or a ``.pt2``."""


def said_by(path: Path, format: str | None) -> Metadata | None:
    """What the file at ``path`` says about itself; None where it is not ptprof's.

    Raises
    ------
    StudyError : a file that is cut or of another format, or one whose metadata are damaged
    """
    # They take a while to be imported, and most runtimes read their files themselves.
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        properties = of_graph(path) if format == "onnx" else of_archive(path)
    except (DecodeError, zipfile.BadZipFile, ValueError) as error:
        raise StudyError(f"{path} is cut or not a file of {format}: export it again with --force") from error
    return metadata_of(path, properties)


def of_archive(path: Path) -> dict[str, str]:
    """The properties in an archive of torch's, if any; BadZipFile or ValueError for another file."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.rpartition("/")[2] == METADATA_FILE:
                found = json.loads(archive.read(name))
                return found if isinstance(found, dict) else {}
    return {}


def of_graph(path: Path) -> dict[str, str]:
    """The properties in an ONNX file; google.protobuf's DecodeError where it is none."""
    import onnx

    return {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}

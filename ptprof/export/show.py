"""What an exported file says about itself and what is in it, read without running any of it.

An ONNX file is a graph: its operations, and what they compute, are counted. A TorchScript file is an archive:
its metadata is read, its operations are counted in its code, which is text, and its weights by their size. A
``.pt2`` holds machine code: its metadata is read. What TorchScript and ``.pt2`` compute is what was counted
when they were exported.
"""

from __future__ import annotations

import ast
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ptprof.errors import ExportError
from ptprof.export.flops import flops_of_onnx
from ptprof.records import Value
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.said import of_archive

KINDS = {".onnx": "onnx", ".pt": "torchscript", ".pt2": "pt2"}


class Work(Value):
    """Floating-point operations by kind; the transforms of spectral layers are products."""

    products: int
    convolutions: int
    transforms: int
    elementwise: int


class Contents(Value):
    """What is in one exported file.

    ``operations`` counts the operations by kind, None where there is only machine code. ``flops`` is of one
    call with one sample, transforms included; ``flops_by_kind`` where they could be counted. ``weight_bytes``
    is the size of all constants, weights and matrices of transforms; None where they cannot be told apart.
    """

    file: str
    format: str
    file_bytes: int
    metadata: Metadata
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    operations: dict[str, int] | None
    parameters: int | None
    flops: int | None
    flops_by_kind: Work | None
    weight_bytes: int | None


def contents(path: Path) -> Contents:
    """What is in the exported file at ``path``.

    Raises
    ------
    ExportError : a file that is not there, was cut, or is not ptprof's
    """
    kind = _kind(path)
    if kind == "onnx":
        return _of_graph(path)
    metadata = metadata_of(path)
    operations, weight_bytes = None, None
    if kind == "torchscript":
        operations, weight_bytes = _operations(path), _constants(path)
    return _contents(path, metadata, operations, None, weight_bytes)


def metadata_of(path: Path) -> Metadata:
    """What the exported file at ``path`` says about itself; errors as for `contents`."""
    kind = _kind(path)
    try:
        properties = _of_onnx(_graph(path)) if kind == "onnx" else _of_archive(path)
        metadata = Metadata.from_properties(properties)
    except ValueError as error:
        raise ExportError(f"{path} is damaged: its metadata cannot be read") from error
    if metadata is None:
        raise ExportError(f"{path} is not ptprof's: it says nothing of where it comes from")
    return metadata


def _kind(path: Path) -> str:
    if path.suffix not in KINDS:
        raise ExportError(f"{path} is no exported file: they end in {', '.join(KINDS)}")
    if not path.is_file():
        raise ExportError(f"{path} is not there")
    return KINDS[path.suffix]


def _contents(
    path: Path,
    metadata: Metadata,
    operations: Counter[str] | None,
    work: Work | None,
    weight_bytes: int | None,
) -> Contents:
    return Contents(
        file=path.name,
        format=KINDS[path.suffix],
        file_bytes=path.stat().st_size,
        metadata=metadata,
        inputs=metadata.inputs,
        outputs=metadata.outputs,
        operations=None if operations is None else dict(operations.most_common()),
        parameters=metadata.parameters,
        flops=metadata.flops if work is None else sum(work.model_dump().values()),
        flops_by_kind=work,
        weight_bytes=weight_bytes,
    )


def _of_graph(path: Path) -> Contents:
    proto = _graph(path)
    metadata = metadata_of(path)
    counted = flops_of_onnx(proto)
    work = Work(**{name: getattr(counted, name) for name in Work.model_fields})
    operations = Counter(node.op_type for node in proto.graph.node)
    return _contents(path, metadata, operations, work, counted.weight_bytes)


def _graph(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ExportError(f"{path} is cut or not an ONNX file") from error


def _of_onnx(proto: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.metadata_props}


def _of_archive(path: Path) -> dict[str, str]:
    """The properties in the archive at ``path``; none where it holds none."""
    try:
        return of_archive(path)
    except zipfile.BadZipFile as error:
        raise ExportError(f"{path} is cut or not a file of torch's") from error


def _operations(path: Path) -> Counter[str]:
    """How often each operation stands in the code of a TorchScript file."""
    found: Counter[str] = Counter()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if "/code/" in name and name.endswith(".py"):
                found.update(_calls(archive.read(name).decode("utf-8")))
    return found


def _calls(code: str) -> Iterator[str]:
    """The names of torch's functions that ``code`` calls, in TorchScript, which reads as Python."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr


def _constants(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        folders = {entry.filename: entry.filename.split("/")[1:2] for entry in archive.infolist()}
        return sum(archive.getinfo(name).file_size for name, at in folders.items() if at == ["constants"])

"""Exported files as a model repository that NVIDIA's Triton Inference Server reads.

One folder for each model, ``<name>/config.pbtxt`` and ``<name>/1/model.onnx`` or ``model.pt``; the text is a
ModelConfig of Triton's ``model_config.proto``. ONNX keeps the names of its tensors. TorchScript has none for
its outputs, so that Triton's PyTorch backend goes by position: ``INPUT__0``, ``OUTPUT__0``, ``OUTPUT__1``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ptprof.errors import UsageError, unknown
from ptprof.export.show import metadata_of
from ptprof.runtimes.metadata import Metadata, Shapes

MAX_BATCH = 8
VERSION = "1"
SAID = ("model", "run", "grid", "history", "time_step", "fields", "units", "statistics", "checkpoint_sha256")
"""What of a file's metadata its clients need, as parameters of the configuration."""


class Backend(NamedTuple):
    """How Triton reads one format."""

    backend: str
    platform: str
    file: str
    positional: bool


BACKENDS = {
    "onnx": Backend("onnxruntime", "onnxruntime_onnx", "model.onnx", positional=False),
    "torchscript": Backend("pytorch", "pytorch_libtorch", "model.pt", positional=True),
}


def write_model(
    repository: Path, name: str, format: str, file: Path, *, max_batch: int = MAX_BATCH, force: bool = False
) -> Path:
    """Write the model ``name`` into ``repository``, whole or not at all; its folder is returned.

    Parameters
    ----------
    format : of ``file``, one of `BACKENDS`
    file : what ptprof exported; it is copied
    max_batch : the most samples that Triton may put into one call, where the file takes any number
    force : replace a model that is there already

    Raises
    ------
    UsageError : a format that Triton has no backend for here, a model that is there already
    ExportError : a file that is cut or not ptprof's
    """
    if format not in BACKENDS:
        raise unknown("format for Triton", format, BACKENDS)
    backend, target = BACKENDS[format], repository / name
    if target.exists() and not force:
        raise UsageError(f"{target} is there already: --force replaces it")
    text = configuration(name, backend, metadata_of(file), max_batch)
    with _whole(target) as folder:
        (folder / VERSION).mkdir()
        shutil.copyfile(file, folder / VERSION / backend.file)
        (folder / "config.pbtxt").write_text(text, encoding="utf-8")
    return target


def configuration(name: str, backend: Backend, metadata: Metadata, max_batch: int = MAX_BATCH) -> str:
    """The ``config.pbtxt`` of one model, in the text format of protocol buffers.

    A file for any batch leaves the batch out of its shapes, and Triton may gather requests into one call; a
    file for one batch size has it in them, and every request is a call.
    """
    fixed = metadata.batch
    lines = [
        f"name: {_quoted(name)}",
        f"backend: {_quoted(backend.backend)}",
        f"platform: {_quoted(backend.platform)}",
        f"default_model_filename: {_quoted(backend.file)}",
        f"max_batch_size: {0 if fixed else max_batch}",
        *_tensors("input", metadata.inputs, backend, fixed),
        *_tensors("output", metadata.outputs, backend, fixed),
    ]
    if not fixed:
        lines.append("dynamic_batching { }")
    properties = metadata.properties()
    for key in SAID:
        if key in properties:
            name, value = _quoted(f"ptprof.{key}"), _quoted(properties[key])
            lines.append(f"parameters {{ key: {name} value {{ string_value: {value} }} }}")
    return "\n".join(lines) + "\n"


def _tensors(kind: str, shapes: Shapes, backend: Backend, batch: int | None) -> Iterator[str]:
    for index, (name, shape) in enumerate(shapes.items()):
        named = f"{kind.upper()}__{index}" if backend.positional else name
        dims = ", ".join(map(str, (batch, *shape) if batch else shape))
        yield f"{kind} {{ name: {_quoted(named)} data_type: TYPE_FP32 dims: [ {dims} ] }}"


def _quoted(text: str) -> str:
    """A string of the text format: what JSON escapes in ASCII is escaped alike, but for its \\u."""
    return json.dumps(text, ensure_ascii=False)


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target``; when the block ends well, it takes that name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        yield new
        if target.exists():
            os.rename(target, old)
        os.rename(new, target)
    finally:
        shutil.rmtree(temporary)


def names(formats: Mapping[str, object] | tuple[str, ...], model: str, variant: str = "") -> dict[str, str]:
    """The model's name in the repository for each format: its own for ONNX, or where it is the only one."""
    whole = f"{model}-{variant}" if variant else model
    alone = len(tuple(formats)) == 1
    return {known: whole if alone or known == "onnx" else f"{whole}-{known}" for known in formats}

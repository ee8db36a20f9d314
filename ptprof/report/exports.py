"""What `ptprof export` prints of a user's own module, of one file, and of a repository for Triton."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from ptprof.export.show import Contents
from ptprof.records import ModuleArtifact
from ptprof.report.format import NONE, prefixed, size, tiny
from ptprof.report.style import paragraph, row, table

ELSEWHERE = ("format", "signature", "parameters", "flops")
"""What of the metadata stands below it."""


def module(artifact: ModuleArtifact) -> RenderableType:
    """How far each file of a user's own module is from the module."""
    made = table(
        f"{artifact.model}, {_times(artifact.takes)} to {_times(artifact.gives)}; relative L2 distance",
        ("file", "provider"),
        ("size", "to the module", "to float64", "module to float64", "gate"),
    )
    for file in artifact.files:
        p = file.parity
        errors = map(tiny, (p.one_step, p.one_step_float64, p.reference_float64, p.gate))
        row(made, file.name, p.provider, size(file.size_bytes), *errors)
    if any(file.parity.synthetic for file in artifact.files):
        made.caption = "Inputs drawn at random, standard normal: --inputs takes samples of your data.\n"
    return made


def contents(found: Contents) -> RenderableType:
    """What is in one exported file."""
    said = found.metadata
    facts = table(f"{found.file}, {found.format}, {size(found.file_bytes)}", ("", "what it says"))
    for name, value in said.model_dump(mode="json", exclude_none=True).items():
        if name not in ELSEWHERE and value:
            row(facts, name, _plain(value))
    for kind, shapes in (("input", found.inputs), ("output", found.outputs)):
        for name, shape in shapes.items():
            row(facts, kind, f"{name} ({', '.join(map(str, (said.batch or 'B', *shape)))})")
    counted = [
        f"Parameters: {NONE if found.parameters is None else f'{found.parameters:,}'}; "
        f"constants in the file: {size(found.weight_bytes)}.",
        f"Of one call with one sample: {prefixed(found.flops, 'FLOP')}, transforms included.",
    ]
    if found.flops_by_kind is not None:
        kinds = (
            f"{prefixed(n, 'FLOP')} in {kind}" for kind, n in found.flops_by_kind.model_dump().items() if n
        )
        counted.append(f"{', '.join(kinds)}.")
    if found.operations is None:
        counted.append("Operations: machine code, which is not read.")
    else:
        operations = (f"{count} {kind}" for kind, count in found.operations.items())
        counted.append(f"Operations: {', '.join(operations)}.")
    return Group(facts, paragraph(counted))


def repository(folders: Sequence[Path]) -> RenderableType:
    """Where the models for Triton are."""
    return paragraph([f"For Triton: {folder}" for folder in folders])


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _plain(value: object) -> str:
    """A value of the metadata as people read it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)

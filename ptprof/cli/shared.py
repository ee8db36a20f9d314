"""What every command does around its one call: find the study, read a list, show the result."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ptprof.errors import UsageError
from ptprof.progress import console
from ptprof.study import Study

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import RenderableType


def study_of(ctx: typer.Context, after: Path | None) -> Study:
    """The study named after the command, or before it, or by the environment."""
    folder: Path = after or ctx.find_root().obj
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a study folder")
    return Study(folder)


def listed(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def show(
    value: BaseModel | Iterable[BaseModel], as_json: bool, renderables: Iterable[RenderableType]
) -> None:
    """Print a result: JSON, or what a person reads."""
    if as_json:
        sys.stdout.write(jsonlib.dumps(_plain(value), indent=1, allow_nan=False) + "\n")
        return
    printer = console()
    for renderable in renderables:
        printer.print(renderable, crop=False)


def _plain(value: BaseModel | Iterable[BaseModel]) -> Any:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [item.model_dump(mode="json") for item in value]

"""What every command does around its one call: find the study, read a list, show the result."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ptprof.errors import UsageError
from ptprof.progress import console
from ptprof.study import Study, write_text

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


@dataclass(frozen=True)
class Form:
    """How an answer is given: as JSON, CSV (``-`` for stdout) or Markdown, or as a person reads it.

    Raises
    ------
    UsageError : several of them for stdout
    """

    json: bool
    csv: Path | None
    markdown: bool

    def __post_init__(self) -> None:
        if self.json + self.markdown + self._csv_to_stdout > 1:
            raise UsageError("one form at a time goes to stdout: --json, --markdown or --csv -")

    @property
    def _csv_to_stdout(self) -> bool:
        return self.csv == Path("-")

    def show(
        self,
        value: BaseModel,
        renderables: Iterable[RenderableType],
        *,
        as_csv: Callable[[], str],
        as_markdown: Callable[[], str],
    ) -> None:
        """Write the file that is asked for, and print the rest."""
        if self.csv is not None and not self._csv_to_stdout:
            write_text(self.csv, as_csv())
        if self._csv_to_stdout or self.markdown:
            sys.stdout.write(as_csv() if self._csv_to_stdout else as_markdown())
        else:
            show(value, self.json, renderables)


def _plain(value: BaseModel | Iterable[BaseModel]) -> Any:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [item.model_dump(mode="json") for item in value]

"""Where text goes: results on stdout, progress on stderr, as wide as a table needs where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

WIDTH_WITHOUT_TERMINAL = 110


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, of the terminal's width, or of a table's where there is no terminal."""
    plain = Console(stderr=stderr)
    return plain if plain.is_terminal else Console(stderr=stderr, width=WIDTH_WITHOUT_TERMINAL)


def progress_bar(enabled: bool = True) -> Progress:
    """A progress display on stderr; a disabled one draws nothing and costs nothing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        disable=not enabled,
    )


class Stages:
    """Headings of the whole way on the progress display's console, each with the time it took."""

    def __init__(self, progress: Progress, of: int) -> None:
        self._progress = progress
        self._of = of
        self._count = 0

    @contextmanager
    def __call__(self, title: str) -> Iterator[None]:
        self._count += 1
        console = self._progress.console
        console.print(f"[bold]{self._count}/{self._of} {title}[/bold]")
        begun = time.perf_counter()
        yield
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        console.print(f"[dim]took {time.perf_counter() - begun:.0f} s[/dim]\n")

    def show(self, renderable: RenderableType) -> None:
        """Print a result above the progress bars."""
        self._progress.console.print(renderable)

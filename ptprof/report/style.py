"""How every table of the terminal looks: readable without colour, and at 100 columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_LOOK: Any = {
    "title_justify": "left",
    "caption_justify": "left",
    "box": box.SIMPLE_HEAD,
    "pad_edge": False,
    "collapse_padding": True,
}


def table(title: str, text: Iterable[str], numbers: Iterable[str] = ()) -> Table:
    """An empty table: columns of text to the left, columns of numbers to the right."""
    made = Table(title=Text(title, "bold"), **_LOOK)
    for name in text:
        made.add_column(name, overflow="fold")
    for name in numbers:
        made.add_column(name, justify="right", overflow="fold")
    return made


def row(made: Table, *cells: str | Text) -> None:
    """Add a row; what stands in a cell is text, never rich's markup."""
    made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def paragraph(sentences: Iterable[str], style: str = "") -> Padding:
    """Sentences, each on a line of its own, and an empty line after."""
    return Padding(Text("\n".join(sentences), style=style), (0, 0, 1, 0))

"""How every figure looks, and how it is saved. matplotlib is loaded when a figure is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptprof.errors import UsageError
from ptprof.study import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE_TYPES = (".png", ".svg", ".pdf")
DPI = 160
#: Okabe and Ito's colours (2008), told apart by most colour-blind readers, and a violet instead of their
#: yellow, which is faint on white; dashes tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", "#6A3D9A")
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1, 1, 1, 1, 1)),
    (0, (8, 2)),
    (0, (2, 1)),
    (0, (9, 1, 2, 1)),
)
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "ptprof",
}


@contextmanager
def styled() -> Iterator[None]:
    """Every figure's look, for what is drawn in the block."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float, **grid: Any) -> tuple[Figure, Any]:
    """An empty figure (inches) and its axes; ``grid`` is what matplotlib's ``Figure.subplots`` takes."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(**grid)


def line_styles() -> Iterator[dict[str, Any]]:
    """A colour and a dash for each line in turn, without end."""
    for colour, dash in cycle(zip(COLOURS, DASHES, strict=True)):
        yield {"color": colour, "linestyle": dash}


def literal(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def check_type(path: Path) -> None:
    """Raise UsageError where the ending of ``path`` is none of ``FILE_TYPES``."""
    if path.suffix.lower() not in FILE_TYPES:
        raise UsageError(f"a figure is saved as {', '.join(FILE_TYPES)}, not {path.name!r}")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, whole or not at all; the name's ending says as what.

    Raises
    ------
    UsageError : an ending that is none of ``FILE_TYPES``
    """
    check_type(path)
    kind = path.suffix.lower().removeprefix(".")
    # No date in the file: the same figures give the same bytes.
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with styled(), atomic(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=DPI, metadata=metadata)
    return path

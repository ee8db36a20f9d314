"""This project's docstrings as numpydoc has them, for the pages of the Python interface: see mkdocs.yml.

Here a parameter is one line, ``name : what it is``; its type stands in the signature. numpydoc reads a type
there, so what it is goes to a line of its own.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"^(Parameters|Attributes|Raises|Returns|Yields)\n-+\n((?:.+\n?)*)", re.MULTILINE)


class OneLine(griffe.Extension):
    """Rewrite the sections of every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = SECTION.sub(_section, obj.docstring.value)


def _section(found: re.Match[str]) -> str:
    title, lines = found[1], []
    for line in found[2].splitlines():
        entry = re.match(r"(\*{0,2}\w+(?:, \w+)*) : (.*)", line)
        if entry and title != "Returns":
            lines += [entry[1], f"    {entry[2]}"]
        elif title in {"Returns", "Yields"}:
            lines += [":"] * (not lines) + [f"    {line.strip()}"]
        else:
            lines.append(line)
    return "\n".join([title, "-" * len(title), *lines, ""])

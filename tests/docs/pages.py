"""Pages of the documentation, followed as a reader would: their files written, their commands and Python run.

A fenced block is by its first line

- a file of that name, where it has a title: ```` ```python title="vit.py" ````;
- a session, where its language is ``console``: lines from ``$ `` on are commands (a backslash at the end goes
  on to the next line), what stands below a command is what it prints on stdout;
- a script, where it is ``sh``; Python in one namespace for the whole page, where it is ``python``;
- something to read otherwise.

Commands go to one shell per page, so that variables and servers in the background live on. Each must end
well. What it prints must be what the page shows but for numbers, the prefixes of their units, the widths of
columns, and which model is the cheapest; ``…`` on the page stands for anything, and where it shows nothing,
anything may be printed.

``python tests/docs/pages.py docs/tutorial.md`` puts what the commands print now into a page, but where ``…``
stands.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE
)
TITLE = re.compile(r'title="([^"]+)"')
END = "=== the command ended with"

NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d+(?:[,_]\d+)*(?:\.\d+)?(?:e[-+]?\d+)?(?:×10[⁻⁰¹²³⁴-⁹]+)?[⁻⁰¹²³⁴-⁹]*|∞)"
    r"(?:\s?(?:[pnµmkMGTP]?(?P<unit>Wh|J|s|gCO2eq|g|W|Hz|FLOP|B)"
    r"|[KMGT]i(?P<bytes>B)|(?P<time>min|h)|[kMGT])(?![\w²]))?"
)
OUTCOMES = (
    (r"[◀≈]", ""),
    (r"[─━═]+", "─"),
    (r"0 s(?: 0 s)+", "0 s"),
    (r"^0: [^\n]*\n", ""),
    (r"(modelled|measured)(?: +0)+$", r"\1"),
    (r" +note$", ""),
    (r"(?:At [^.]* has the smallest total,[^.]*\.\s*)+", "ANSWER. "),
    (r"By point values [^.]*\.", "ENVELOPE."),
    (
        r"(?:0|–)\s+(?:0 – 0|–)\s+(?:\S+ always cheaper|\S+ below, \S+ above"
        r"|not resolved(?:; \S+ surely (?:below|above) 0)?)",
        "VERDICT",
    ),
)
"""What differs from run to run beside numbers: which model wins and where, and how well figures are known."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, title and text, and the line where that begins."""

    language: str
    title: str | None
    text: str
    line: int


def blocks(page: Path) -> tuple[Block, ...]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        title = TITLE.search(match["info"])
        line = text.count("\n", 0, match.start("text")) + 1
        found.append(Block(match["language"], title and title[1], match["text"], line))
    return tuple(found)


def commands(session: str) -> Iterator[tuple[str, str]]:
    """Each command of a console session with what it prints, empty where nothing is shown."""
    for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        last = next(i for i, line in enumerate(lines) if not line.endswith("\\\n"))
        yield "".join(lines[: last + 1]).rstrip("\n"), "".join(lines[last + 1 :])


def shape(output: str) -> str:
    """Output without what differs from run to run: numbers are 0, units have no prefix, rules no length."""
    text = NUMBER.sub(_zero, "\n".join(line.rstrip() for line in output.splitlines()) + "\n")
    for pattern, instead in OUTCOMES:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


def _zero(number: re.Match[str]) -> str:
    unit = number["unit"] or number["bytes"] or ("s" if number["time"] else "")
    return f"0 {unit}" if unit else "0"


def differences(shown: str, printed: str) -> str | None:
    """Where what is printed differs from what a page shows; None where it does not."""
    rules = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.DONT_ACCEPT_BLANKLINE
    checker, want, got = doctest.OutputChecker(), shape(shown).replace("…", "..."), shape(printed)
    if checker.check_output(want, got, rules):
        return None
    return checker.output_difference(doctest.Example("", want), got, rules | doctest.REPORT_NDIFF)


class Shell:
    """One bash in a folder for many commands; on leaving, it ends with all that it started."""

    def __init__(self, folder: Path, limit_s: float) -> None:
        self.limit_s = limit_s
        self.errors = folder.parent / f"{folder.name}.stderr"
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": programs, "NO_COLOR": "1", "COLUMNS": "110"}
        environment["CUDA_VISIBLE_DEVICES"] = ""  # a page says the same where there is a GPU
        for name in ("PTPROF_STUDY", "PTPROF_PLUGINS"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.communicate(timeout=20)  # until all that hold its output have ended
                return

    def run(self, command: str) -> str:
        """What commands print on stdout; AssertionError where one fails, or past the limit."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(
            f"failed=0; trap 'failed=$?' ERR\n{{ {command}\n}} </dev/null 2>'{self.errors}'\n"
            f"trap - ERR; printf '\\n{END} %d\\n' $failed\n"
        )
        self.process.stdin.flush()
        timer = threading.Timer(self.limit_s, os.killpg, (self.process.pid, signal.SIGKILL))
        timer.start()
        printed, status = "", "no status: it was ended, or ended the shell"
        for line in self.process.stdout:
            if line.startswith(END):
                status = line.removeprefix(END).strip()
                break
            printed += line
        timer.cancel()
        if status != "0":
            raise AssertionError(
                f"$ {command}\nended with {status}\n{printed}\n{self.errors.read_text(encoding='utf-8')}"
            )
        return printed.strip("\n")


def follow(
    page: Path, folder: Path, *, limit_s: float = 600.0, printed: list[tuple[str, str]] | None = None
) -> dict[str, Any]:
    """Do what a page says, in order, in ``folder``; give the names that its Python has defined.

    With a list for what is ``printed``, that is kept beside what is shown, and not held against it.

    Raises AssertionError where a command fails, takes longer than ``limit_s``, or prints something else.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    with Shell(folder, limit_s) as shell, contextlib.chdir(folder):
        for block in blocks(page):
            place = f"{page.name}:{block.line}"
            if block.title is not None:
                path = folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.language == "console":
                for command, shown in commands(block.text):
                    now = shell.run(command)
                    if printed is not None:
                        printed.append((shown, now))
                    elif shown.strip() and (differs := differences(shown, now)):
                        raise AssertionError(f"{place}: $ {command}\n{differs}\n\nit printed\n{now}")
            elif block.language == "sh":
                shell.run(block.text)
            elif block.language == "python":
                # With the page's own line numbers, so that a traceback points at the page.
                exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    return names


def refresh(page: Path) -> None:
    """Put what a page's commands print now in place of what it shows, but where anything may be printed."""
    printed: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        (within := Path(folder) / page.stem).mkdir()
        follow(page, within, printed=printed)
    text = page.read_text(encoding="utf-8")
    for shown, now in printed:
        if shown.strip() and "…" not in shown:
            lines = "\n".join(line.rstrip() for line in now.splitlines()).strip("\n")
            text = text.replace(shown, f"{lines}\n", 1)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        refresh(Path(name).resolve())

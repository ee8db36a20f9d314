"""What follows a page notices where the page is no longer true."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGE = """# A page
```python title="code/greet.py"
print("hello", 3)
```
```sh
export NAME=world
cd code
```
```console
$ python greet.py
hello 4
$ echo "$NAME" \\
    cost 12.5 ± 0.3 mJ
world cost 7 ± 1 µJ
$ echo nothing shown, anything goes
```
```python
numbers = [1]
```
```python
numbers.append(2)
```
```text
$ exit 1
```
"""


Follow = Callable[..., dict[str, Any]]


@pytest.fixture
def follow(pages: ModuleType, tmp_path: Path) -> Follow:
    """Follow a page of this text in the folder ``folder``."""

    def follow(text: str, **options: Any) -> dict[str, Any]:
        page, folder = tmp_path / "page.md", tmp_path / "folder"
        page.write_text(text, encoding="utf-8")
        folder.mkdir()
        return pages.follow(page, folder, **options)

    return follow


def test_a_page_is_done_in_order(follow: Follow) -> None:
    assert follow(PAGE)["numbers"] == [1, 2]


@pytest.mark.parametrize(
    ("instead", "says"),
    [
        (("print(", "printed("), "NameError"),
        (("hello 4", "good day 4"), "page.md:10: \\$ python greet.py"),
        (("12.5 ± 0.3 mJ", "12.5 mJ"), "world cost"),
        (("mJ\n", "W\n"), "world cost"),
        (("cd code", "cd nowhere\ntrue"), "No such file"),
        (("export", "exit 3; export"), "ended the shell"),
        (("echo nothing", "false; echo nothing"), "ended with 1"),
    ],
)
def test_what_is_no_longer_so_fails(follow: Follow, instead: tuple[str, str], says: str) -> None:
    assert instead[0] in PAGE
    with pytest.raises(AssertionError, match=says):
        follow(PAGE.replace(*instead))


def test_python_that_fails_points_at_the_page(follow: Follow) -> None:
    with pytest.raises(ZeroDivisionError) as failed:
        follow("one\n\n```python\nx = 1\nx / 0\n```\n")
    last = failed.traceback[-1]
    assert (Path(last.path).name, last.lineno + 1) == ("page.md", 5)


def test_what_takes_too_long_is_ended(follow: Follow) -> None:
    with pytest.raises(AssertionError, match="it was ended"):
        follow("```sh\nsleep 60\n```\n", limit_s=0.5)


def test_what_runs_in_the_background_ends_with_the_page(follow: Follow, tmp_path: Path) -> None:
    follow(
        "```sh\nsleep 61 &\necho $! > pid\n```\n```console\n$ kill -0 $(cat pid) && echo there\nthere\n```\n"
    )
    state = Path(f"/proc/{(tmp_path / 'folder' / 'pid').read_text().strip()}/stat")
    for _ in range(500):  # whoever inherits it reaps it
        if not state.exists() or state.read_text().split(")")[1].split()[0] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("it lives on")


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        ("fno  1.26×10⁵ – ∞", "fno     3.824×10⁴ – 7", True),
        ("unet 82.3 ± 41.2 mg ◀", "unet   1.02 ± 0.09 g", True),
        ("61.5 s", "2 min 3 s", True),
        (
            "unet / fno  3.8×10⁴  2×10⁴ – ∞  unet below, fno above",
            "unet / fno  –  –  fno always cheaper",
            True,
        ),
        ("unet / fno  –  –  fno always cheaper", "unet / tfno  –  –  tfno always cheaper", False),
        (
            "At 10⁴ queries fno has the smallest total, 1 g.\nx",
            "At 7 queries u has the smallest total, 2.5 mg, but fno cannot be told\napart from it.\nx",
            True,
        ),
        ("At 7 queries fno has the smallest total, 1 g.\nx", "x", False),
        ("unet at 2,269, fno at 1,609.", "unet at 3.8×10⁴, fno at 12.", True),
        ("2.36 J, 292 µgCO2eq: modelled", "0.1 J, 3 mgCO2eq: modelled", True),
        ("372 MiB, 125/s, 5 W", "1.2 GiB, 9.5/s, 12 W", True),
        ("372 MiB", "372 J", False),
        ("a\n───\nb", "a\n──────\n  b", True),
        ("sha256 …, done", "sha256 3f9a, done", True),
        ("unet measured", "unet modelled", False),
        ("model-b1.onnx", "model-b3.onnx", False),
        (
            "energy  source  note\n3 J  measured  1\n1: foreign load in 1 of 5 windows\n",
            "energy  source\n2 J  measured",
            True,
        ),
        ("one\n…\nfour", "one\ntwo\nthree\nfour", True),
        ("one", "one\ntwo", False),
    ],
)
def test_numbers_may_differ_and_words_may_not(
    pages: ModuleType, shown: str, printed: str, alike: bool
) -> None:
    assert (pages.differences(shown, printed) is None) == alike

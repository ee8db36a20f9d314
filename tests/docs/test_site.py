"""The documentation as a site: it builds strictly, holds every page, fetches nothing, and fits on a phone."""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md"))
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a broken link or anchor, or a page in no menu, ends the build."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served: on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """A browser with nothing on its record; at the end it has asked this machine only, and had no error."""
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get_log("browser")
    yield browser
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [
        url for url in asked if not url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:"))
    ] == []
    assert browser.get_log("browser") == []


def test_every_page_is_there(site: Path) -> None:
    assert [page for page in PAGES if not (site / page).is_file()] == []
    assert (site / "project" / "changelog.html").is_file()
    assert json.loads((site / "results" / "quickstart-cpu.json").read_text(encoding="utf-8"))


def test_every_page_fits_on_a_phone_with_its_images_and_fetches_nothing(
    opened: Any, address: str, site: Path
) -> None:
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    look = """
        const broken = [...document.images].filter((image) => !image.naturalWidth).map((image) => image.src);
        return [document.documentElement.scrollWidth, broken];
    """
    try:
        for page in sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html")):
            opened.get(f"{address}/{page}")
            assert opened.execute_script(look) == [360, []], page
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_opens_from_a_folder(opened: Any, site: Path) -> None:
    """All but the search, whose index a browser reads from a server only."""
    for page in ("index.html", "maths.html", "api.html"):
        opened.get((site / page).as_uri())
        assert opened.execute_script("return document.querySelectorAll('nav a[href]').length") > 20
    assert [e["message"] for e in opened.get_log("browser") if "search_index.js" not in e["message"]] == []


def test_formulas_are_set(opened: Any, address: str) -> None:
    opened.get(f"{address}/maths.html")
    written = re.findall(r"\$\$.+?\$\$", (DOCS / "maths.md").read_text(encoding="utf-8"), re.DOTALL)
    shown = opened.execute_script("""
        const formulas = [...document.querySelectorAll("math[display=block]")];
        return formulas.map((formula) => formula.getBoundingClientRect().height);
    """)
    assert len(shown) == len(written)
    assert min(shown) > 15
    assert "$" not in opened.execute_script("return document.querySelector('article').innerText")


def test_what_is_copied_of_a_session_is_its_commands(opened: Any, address: str, pages: ModuleType) -> None:
    opened.get(f"{address}/tutorial.html")
    copied = opened.execute_script("""
        return [...document.querySelectorAll(".language-console code")].map((code) => {
          code.setAttribute("data-md-copying", "");
          return code.innerText.split("\\n").filter((line) => line.trim());
        });
    """)
    blocks = [b for b in pages.blocks(DOCS / "tutorial.md") if b.language == "console"]
    assert copied == [[command for command, _ in pages.commands(block.text)] for block in blocks]


def test_a_search_finds_the_page(opened: Any, address: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    opened.get(f"{address}/index.html")
    opened.execute_script("""
        const box = document.querySelector("[data-md-component=search-query]");
        box.focus();
        box.value = "carbontracker second opinion";
        box.dispatchEvent(new Event("keyup"));
        box.dispatchEvent(new Event("input"));
    """)
    hit = "a.md-search-result__link[href*='energy.html']"
    WebDriverWait(opened, 60).until(lambda browser: browser.find_elements(By.CSS_SELECTOR, hit))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "api.html"])
def test_a_page_is_the_same_on_github(site: Path, page: str) -> None:
    """Lists, tables and code as GitHub's Markdown has them: Python's takes some of them for paragraphs."""
    text = (DOCS / page).with_suffix(".md").read_text(encoding="utf-8")
    text = re.sub(r"\$\$.+?\$\$|\$[^$\n]+\$", "x", text, flags=re.DOTALL)
    there = MarkdownIt("commonmark").enable("table").render(text)
    article = (site / page).read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]
    for tag in ("h1", "h2", "h3", "li", "tr", "td", "img", "blockquote"):
        there_count, here_count = (len(re.findall(rf"<{tag}[ >]", html)) for html in (there, article))
        assert here_count == there_count, tag
    assert len(re.findall(r"<pre>", there)) == len(re.findall(r"<pre>", article))


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_what_a_page_names_is_there(path: Path) -> None:
    """Names such as ``ptprof.stats.fieller``, and paths such as ``ptprof/energy/rapl.py``."""
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"(?:`|::: )(ptprof(?:\.\w+)+)", text)):
        assert resolved(name) is not None, name
    for name in set(re.findall(r"\b((?:ptprof|benchmarks|scripts|tests)/[\w./-]*\w)", text)):
        assert (ROOT / name).exists(), name


def resolved(name: str) -> object | None:
    """The module, or the member of one, that is called so."""
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            with warnings.catch_warnings(action="ignore"):  # those of other packages
                found: Any = importlib.import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for part in parts[depth:]:
            found = getattr(found, part, None)
        return found
    return None


def test_the_commands_are_those_of_the_program() -> None:
    """``scripts/commands > docs/commands.md`` makes it so."""
    told = subprocess.run(
        [sys.executable, ROOT / "scripts" / "commands"], capture_output=True, text=True, check=True
    )
    assert told.stdout == (DOCS / "commands.md").read_text(encoding="utf-8")


def test_blocks_that_are_run_are_in_known_languages(pages: ModuleType) -> None:
    known = {"", "console", "python", "sh", "text", "yaml", "toml", "json", "cpp", "dockerfile", "csv"}
    found = {block.language for path in DOCS.rglob("*.md") for block in pages.blocks(path)}
    assert found <= known

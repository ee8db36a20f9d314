"""What mkdocs does for this project beside its own: hooks, named in mkdocs.yml.

Pages link to files outside of docs/ as GitHub has them. Here Markdown of the repository's root becomes a page
below project/, other files are copied to where they lie in the repository, a folder becomes a list of its
files, and links follow. Formulas, ``$…$`` in a line and ``$$…$$`` apart, become MathML, with no script.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages, and what stands outside of docs/ and a page links to."""
    for page in (
        *sorted(ROOT.glob("*.md")),
        *(Path(str(f.abs_src_path)) for f in files.documentation_pages()),
    ):
        linked = {
            (page.parent / link).resolve() for _, link, _ in LINK.findall(page.read_text(encoding="utf-8"))
        }
        for path in (page, *sorted(linked)):
            add(path, files, config)
    return files


def add(path: Path, files: Files, config: MkDocsConfig) -> None:
    """Make what stands outside of docs/ part of the site; a folder with all that is in it."""
    uri = site_uri(path) if path.is_relative_to(ROOT) else None
    if uri is None or path.is_relative_to(ROOT / "docs") or uri in files.src_uris:
        return
    if path.is_file():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    elif path.is_dir():
        within = sorted(child for child in path.iterdir() if child.is_file())
        lines = [f"# {path.name}\n", *(f"- [{child.name}]({child.name})" for child in within)]
        files.append(File.generated(config, uri, content="\n".join(lines)))
        for child in within:
            add(child, files, config)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between files of the repository, as links between those of the site."""
    if page.file.abs_src_path is None:  # the list of a folder
        return markdown
    path, here = Path(page.file.abs_src_path), posixpath.dirname(page.file.src_uri)

    def follow(link: re.Match[str]) -> str:
        target = (path.parent / link[2]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return link[0]  # mkdocs says so
        return f"{link[1]}{posixpath.relpath(site_uri(target), here)}{link[3]}"

    return LINK.sub(follow, markdown)


def site_uri(path: Path) -> str:
    """Where a file of the repository stands among the site's sources."""
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "docs":
        return relative.relative_to("docs").as_posix()
    if len(relative.parts) == 1 and path.suffix == ".md":
        return f"project/{path.name.lower()}"
    return (relative / "index.md" if path.is_dir() else relative).as_posix()


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML."""

    def mathml(found: re.Match[str]) -> str:
        display = "block" if found[1] == "div" else "inline"
        try:
            return str(convert(html.unescape(found[2]).strip(), display=display))
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: no formula: {found[2]}") from error

    return FORMULA.sub(mathml, html_text)

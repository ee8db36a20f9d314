"""What a release says of itself: versions, citation, licences, pins."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib.machinery import SourceFileLoader
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import ptprof

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def third_party() -> ModuleType:
    loader = SourceFileLoader("third_party", str(ROOT / "scripts" / "third-party"))
    spec = importlib.util.spec_from_loader("third_party", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_citation_agrees_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == ptprof.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert [reference["url"] for reference in citation["references"]] == [PROJECT["urls"]["Paper"]]


def test_changelog_has_the_version() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased" or ptprof.__version__ in headings[0]


def test_python_versions_are_told_alike() -> None:
    told = {text.rsplit(" :: ")[-1] for text in PROJECT["classifiers"] if ":: Python :: 3." in text}
    wanted = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert told == {f"3.{minor}" for minor in range(30) if Version(f"3.{minor}") in wanted}


def test_every_library_is_listed_with_its_licence(third_party: ModuleType) -> None:
    page = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8").splitlines()
    rows = [row for table in third_party.tables().values() for row in table]
    assert len(rows) > 80
    # Other machines and Pythons bring a few less, and their own versions may have moved.
    assert [row for row in rows if row not in page] == []


def test_libraries_of_other_platforms_are_named(third_party: ModuleType) -> None:
    page = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    texts = [*PROJECT["dependencies"]]
    texts += [text for extra in third_party.EXTRAS for text in PROJECT["optional-dependencies"][extra]]
    assert [text for text in texts if not re.search(rf"\b{Requirement(text).name}\b", page)] == []


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Apache-2.0 WITH LLVM-exception AND BSD-2-Clause", True),
        ("GPL-3.0-or-later", False),
        ("MIT AND LGPL-2.1-only", False),
        ("LicenseRef-NVIDIA-Proprietary", False),
        ("", False),
    ],
)
def test_licences_that_go_with_ours(third_party: ModuleType, expression: str, fits: bool) -> None:
    assert third_party.fits(expression) is fits


def test_continuous_integration_pins_all_that_it_installs(third_party: ModuleType) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    texts = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    asked = (requirement for requirement in map(Requirement, texts) if requirement.name != "ptprof")
    installed = third_party.brought(third_party.needed(asked)) - {"setuptools"}
    assert sorted(name for name in installed - pinned if not third_party.CUDA.match(name)) == []

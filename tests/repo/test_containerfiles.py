# SPDX-License-Identifier: Apache-2.0
"""The images have what a container certification asks for: labels of their own, and their licences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for path in ROOT.glob("files/*/Containerfile*") if path.is_file())
OWN = [path for path in FILES if path.parent.name != "driver_container"]
# Else those of the base image would be read, and its maker's name.
LABELS = {"name", "vendor", "maintainer", "version", "release", "summary", "description"}


def labels(file: Path) -> dict[str, str]:
    """Those of the last stage."""
    last = re.split(r"^FROM .*\n", file.read_text(), flags=re.M)[-1]
    found = re.search(r"^LABEL ((?:.*\\\n)*.*)", last, re.M)
    assert found, f"{file}: no LABEL in its last stage"
    return dict(re.findall(r'(\S+)="([^"]+)"', found[1]))


def test_there_are_containerfiles() -> None:
    assert len(FILES) == 5
    assert len(OWN) == 3


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_image_says_what_it_is(file: Path) -> None:
    assert LABELS - labels(file).keys() == set()


@pytest.mark.parametrize("file", OWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_image_of_ours_has_the_collections_version_and_licence(file: Path) -> None:
    assert labels(file)["version"] == yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert "\nCOPY licenses /licenses\n" in file.read_text()
    assert "\n!licenses\n" in (file.parent / ".containerignore").read_text()
    assert (file.parent / "licenses").is_dir()


def test_licences_beside_the_containerfiles_are_the_collections() -> None:
    """Each folder builds alone, so each has the text."""
    copies = sorted(ROOT.glob("files/*/licenses/*"))
    assert len(copies) == 5
    assert [str(path) for path in copies if path.read_text() != (ROOT / "LICENSES" / path.name).read_text()] == []

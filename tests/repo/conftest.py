# SPDX-License-Identifier: Apache-2.0
"""The checkout, for the house rules: what git tracks or would track, not what happens to lie about."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """Every file that is or would be committed, relative to the checkout."""
    out = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    files = [Path(name) for name in out.split("\0") if name and (root / name).is_file()]
    assert files, "git lists no file: the house rules would check nothing"
    return files

# SPDX-License-Identifier: Apache-2.0
"""Gates that could be silently green prove that they can be red."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiers import TIERS, check


def test_sanity_finds_a_planted_error(root: Path, tmp_path: Path) -> None:
    plant = tmp_path / "planted.py"
    plant.write_text("#!/usr/bin/python\nx=1\n")
    result = subprocess.run(
        ["tests/sanity.sh", "--test", "shebang"],
        cwd=root,
        env={**os.environ, "SANITY_PLANT": str(plant)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "planted.py" in result.stdout


def test_every_project_in_files_is_checked(root: Path) -> None:
    """A new folder with a Makefile that has a check must be a phase of make check."""
    projects = {str(path.parent.relative_to(root)) for path in (root / "files").glob("*/Makefile")}
    assert projects
    checked = {phase.argv[3] for phase in check([]) if phase.argv[0] == "make"}
    assert {p for p in projects if "\ncheck:" in (root / p / "Makefile").read_text()} <= checked


def test_phases_stand_on_phases_that_exist() -> None:
    for name, tier in TIERS.items():
        phases = tier([])
        names = [phase.name for phase in phases]
        assert len(names) == len(set(names)), name
        assert all(after in names for phase in phases for after in phase.after), name

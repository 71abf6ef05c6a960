# SPDX-License-Identifier: Apache-2.0
"""What is written from the definition's schema is what was committed, and the guide's definition is a good one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_reference_and_argument_specs_follow_from_the_schema(root: Path) -> None:
    argv = [sys.executable, str(root / "docs" / "generate_reference.py"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Running a tool to its end: quietly if it succeeds, with its last lines if it does not. It never outlives us."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LabError

TAIL = 3000  # characters
TIED = ("setpriv", "--pdeathsig", "KILL")  # the kernel kills the tool when whoever waits for it is killed


def tool(argv: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """The standard output of a command that must succeed."""
    if not shutil.which(argv[0]):
        raise LabError(f"{argv[0]}: not found. Type: lab/lab up, which installs what is missing")
    done = subprocess.run(
        [*TIED, *argv], env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        said = (done.stderr or done.stdout)[-TAIL:].strip()
        raise LabError(f"{' '.join(map(str, argv))}\nended with {done.returncode} and said:\n{said}")
    return done.stdout

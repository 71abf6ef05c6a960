# SPDX-License-Identifier: Apache-2.0
"""The Debian packages that the lab stands on, from the list in lab/prerequisites.txt."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from . import cache
from .errors import LabError
from .progress import step
from .run import tool

LIST = cache.LAB / "prerequisites.txt"
# A user's PATH lacks these on Debian.
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


def needed(text: str) -> dict[str, str]:
    """Package by command."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {line[0]: line[1] for line in lines}


def missing(packages: dict[str, str], find: Callable[[str], str | None]) -> list[str]:
    return sorted({package for command, package in packages.items() if not find(command)})


def install() -> None:
    """Installs what is missing, as root or by sudo; else says what to type."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{SYSTEM_FOLDERS}"
    packages = missing(needed(LIST.read_text()), shutil.which)
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    prefix = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if not shutil.which("apt-get") or (prefix and not shutil.which("sudo")):
        raise LabError(f"these Debian packages are missing: {' '.join(packages)}. Type (as root): {' '.join(command)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing {', '.join(packages)}"):
        tool([*prefix, "apt-get", "update", "--quiet"], env=environment)
        # Debian starts what it installs; a registry on port 5000 for all to see is not wanted.
        tool([*prefix, *command], env=environment)
    if still := missing(needed(LIST.read_text()), shutil.which):
        raise LabError(f"still missing after the installation: {' '.join(still)}. Type: apt-cache policy {still[0]}")

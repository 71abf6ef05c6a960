# SPDX-License-Identifier: Apache-2.0
"""The Debian packages that the lab stands on, from the list in lab/prerequisites.txt."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable

from . import cache
from .errors import LabError
from .progress import say, step
from .run import tool

LIST = cache.LAB / "prerequisites.txt"
LOCK_HELD = re.compile(r"Could not get lock|Unable to (acquire|lock)")
LOCK_SECONDS, LOCK_PAUSE = 600, 5
# A user's PATH lacks these on Debian.
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


def needed(text: str) -> dict[str, str]:
    """Package by command."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {line[0]: line[1] for line in lines}


def missing(packages: dict[str, str], find: Callable[[str], str | None]) -> list[str]:
    return sorted({package for command, package in packages.items() if not find(command)})


def apt(command: list[str], environment: dict[str, str]) -> None:
    """Runs apt-get; while another program uses it, such as the machine's daily update, waits for that."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            tool(command, env=environment)
            return
        except LabError as error:
            if not LOCK_HELD.search(str(error)) or time.monotonic() > deadline:
                raise
            say("another program uses apt: waiting")
            time.sleep(LOCK_PAUSE)


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
        apt([*prefix, "apt-get", "update", "--quiet"], environment)
        apt([*prefix, *command], environment)
    if still := missing(needed(LIST.read_text()), shutil.which):
        raise LabError(f"still missing after the installation: {' '.join(still)}. Type: apt-cache policy {still[0]}")

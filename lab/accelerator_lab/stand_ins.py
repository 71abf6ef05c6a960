# SPDX-License-Identifier: Apache-2.0
"""Starting the stand-ins for NFD, KMM and OLM (lab/stand_ins) as a process of the lab."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from . import cache, cluster, images, processes, ssh
from .control_plane import ADMINS
from .errors import LabError
from .instance import Instance

USER = "lab-stand-ins"
NAME = "stand-ins"
FOLDER = cache.LAB / "stand_ins"
# The last that they write before they play: until then an API that a play looks for may not be there yet.
CATALOG = ("catalogsources.operators.coreos.com", "operatorhubio-catalog", "--namespace=olm")
STATE = "-ojsonpath={.status.connectionState.lastObservedState}"
READY_SECONDS = 300


def argv(kubeconfig: Path, *arguments: str) -> list[str]:
    # Python takes any -X. The code's key there makes another command line of other code, so that `up` starts it anew.
    code = cache.content_key(*sorted(path for path in FOLDER.rglob("*") if path.suffix in {".py", ".yaml"}))
    return [sys.executable, "-X", f"code={code}", "-m", "stand_ins", "--kubeconfig", str(kubeconfig), *arguments]


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(cache.LAB)}


def kubeconfig(lab: Instance) -> Path:
    return lab.plane.kubeconfig(USER, ADMINS)


def start(lab: Instance) -> None:
    command = shlex.join(ssh.argv(lab, "{node}"))
    image = f"{lab.registry}/{images.BASE}"
    options = ["run", "--node-command", command, "--worker-image", image, "--monitoring"]
    processes.ensure(lab.folder, NAME, argv(kubeconfig(lab), *options), env=environment())


def wait_ready(lab: Instance) -> None:
    """Waits until they play."""
    deadline, said = time.monotonic() + READY_SECONDS, "nothing yet"
    while said != "READY":
        if time.monotonic() > deadline or processes.ended(lab.folder, NAME):
            tail = processes.log_tail(lab.folder, NAME)
            raise LabError(f"stand-ins: catalog {CATALOG[1]} is not READY: {said}; their log says last:\n{tail}")
        try:
            said = cluster.kubectl(lab, "get", *CATALOG, "--request-timeout=30s", STATE) or "no status yet"
        except LabError as error:
            said = str(error)
        time.sleep(0.5)


def fault(lab: Instance, name: str, off: bool) -> int:
    options = ["fault", name, *(["--off"] if off else [])]
    return subprocess.run(argv(kubeconfig(lab), *options), env=environment()).returncode

# SPDX-License-Identifier: Apache-2.0
"""A running lab, as a user has it: through lab/lab and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "repo"))

from audit import AuditLog
from guide import blocks
from snapshot import snapshot

ROOT = Path(__file__).resolve().parents[3]
RECAP = re.compile(r"^localhost\s*:\s*(.*)$", re.M)


class Play:
    """One run of a playbook: its output, its recap and how long it took."""

    def __init__(self, done: subprocess.CompletedProcess[str], seconds: float) -> None:
        self.output, self.code, self.seconds = done.stdout, done.returncode, seconds

    @property
    def recap(self) -> dict[str, int]:
        found = RECAP.search(self.output)
        assert found, f"no recap in\n{self.output[-3000:]}"
        return {key: int(value) for key, value in (item.split("=") for item in found[1].split())}

    @property
    def complaint(self) -> str:
        """The one message that the play ended with, unwrapped."""
        assert self.code == 2, self.output[-3000:]
        assert self.recap["failed"] == 1, self.recap
        parts = re.split(r"^(?=\[ERROR\]|fatal:|failed:|TASK )", self.output, flags=re.M)
        fatal = [text for text in parts if text.startswith(("fatal:", "failed:"))]
        assert fatal, self.output[-3000:]
        return " ".join(fatal[-1].split())

    def ok(self) -> Play:
        assert self.code == 0, f"exit {self.code}, the last lines:\n{self.output[-6000:]}"
        return self


class Lab:
    def __init__(self) -> None:
        self.kubeconfig = Path(self.run("lab/lab", "kubeconfig").strip().splitlines()[-1])

    def run(self, *argv: str, timeout: int = 900, check: bool = True, text: str | None = None) -> str:
        done = subprocess.run(
            argv,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=text,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def play(self, playbook: str, *argv: str, kubeconfig: Path | None = None) -> Play:
        """Runs a playbook on the lab, perhaps with another kubeconfig than the lab's own."""
        command = ["lab/lab", "play", playbook, *argv]
        if kubeconfig:
            other = f"K8S_AUTH_KUBECONFIG={kubeconfig}"
            script = 'ansible-playbook "$@" -e "@$LAB_OVERRIDES"'
            command = ["lab/lab", "run", "env", other, "sh", "-c", script, "sh", playbook, *argv]
        start = time.monotonic()
        return Play(to_its_end(command, ROOT, 1800), time.monotonic() - start)

    def module(self, name: str, arguments: dict[str, Any], *argv: str) -> dict[str, Any]:
        """What one of our modules returns, called by itself."""
        python = f"ansible_python_interpreter={sys.executable}"
        call = ["-m", f"ecosystem_edge.accelerator.{name}", "-a", json.dumps(arguments)]
        plain = "ANSIBLE_CALLBACK_RESULT_FORMAT=json"
        said = self.run("lab/lab", "run", "env", plain, "ansible", "localhost", "-e", python, *call, *argv)
        return json.loads(said[said.index("{") :])

    def kubectl(self, *argv: str, timeout: int = 300, check: bool = True) -> str:
        return self.run("lab/lab", "kubectl", *argv, timeout=timeout, check=check)

    def get(self, *argv: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", *argv, "-o", "json"))

    def ssh(self, node: str, command: str, check: bool = True) -> str:
        return self.run("lab/lab", "ssh", node, command, check=check)

    @property
    def nodes(self) -> list[str]:
        return [node["metadata"]["name"] for node in self.get("nodes")["items"]]

    @property
    def overrides(self) -> dict[str, Any]:
        """What the lab says of its site: registry, base images, TLS."""
        path = self.run("lab/lab", "run", "sh", "-c", "echo $LAB_OVERRIDES").strip()
        return yaml.safe_load(Path(path).read_text())["accelerator_overrides"]

    def overridden(self, **changes: Any) -> tuple[str, str]:
        """Arguments of a play with other overrides than the site's; a mapping is merged with what is there."""
        merged = dict(self.overrides)
        for key, value in changes.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
        return "-e", json.dumps({"accelerator_overrides": merged})

    def allocatable(self, resource: str) -> int:
        items = self.get("nodes")["items"]
        return sum(int(node["status"].get("allocatable", {}).get(resource, "0")) for node in items)

    def capacity(self, resource: str) -> dict[str, str | None]:
        items = self.get("nodes")["items"]
        return {node["metadata"]["name"]: node["status"].get("capacity", {}).get(resource) for node in items}


def to_its_end(command: list[str], folder: Path, seconds: int, merged: bool = True) -> subprocess.CompletedProcess[str]:
    """What a command said. Over its time it ends with all its children, and the failure has its last words.

    Into files: a pipe would be waited for as long as any child holds it open. merged: errors in the output.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        errors = subprocess.STDOUT if merged else err
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True
        )
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for file in (out, err):
            file.seek(0)
        said = out.read(), err.read()
    assert code is not None, (
        f"{command}: not ended within {seconds} s, it said last:\n{said[0][-6000:]}\n{said[1][-2000:]}"
    )
    return subprocess.CompletedProcess(command, code, *said)


def wait_for(what: str, probe: Callable[[], object], seconds: int) -> float:
    """Seconds until the probe is true; fails with what was awaited."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        try:
            if probe():
                return time.monotonic() - start
        except (AssertionError, subprocess.TimeoutExpired):
            pass  # the API server or the node is away for a moment
        time.sleep(1)
    raise AssertionError(f"{what}: not within {seconds} s")


class UsersCheckout:
    """A folder as a reader of the guide has it: a checkout, and my.yml as told there, with this site's registry."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        lab.run("tests/copy_tree.sh", str(folder))
        collections = Path(".ansible") / "collections"  # not its neighbours, the caches of tools that may be running
        shutil.copytree(ROOT / collections, folder / collections, symlinks=True)
        (command,) = [block.text for block in blocks(ROOT) if block.marker.startswith("test: my.yml ")]
        subprocess.run(["bash", "-e", "-c", command], cwd=folder, check=True)
        mine = yaml.safe_load((folder / "my.yml").read_text())
        mine["accelerator_overrides"] = lab.overrides
        (folder / "my.yml").write_text(yaml.safe_dump(mine, sort_keys=False))

    def run(self, commands: str, silent: bool = False) -> Play:
        """Runs a block of commands, word for word. silent: it may print nothing."""
        as_a_user = ["env", "-u", "ANSIBLE_COLLECTIONS_PATH", "-u", "ANSIBLE_CONFIG"]
        start = time.monotonic()
        command = [str(ROOT / "lab/lab"), "run", *as_a_user, "bash", "-e", "-o", "pipefail", "-c", commands]
        done = to_its_end(command, self.folder, 1800, merged=False)
        assert done.returncode == 0, f"{commands}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert silent or done.stdout.strip(), f"{commands}: printed nothing"
        return Play(done, time.monotonic() - start)


@pytest.fixture(scope="session")
def lab() -> Lab:
    subprocess.run(["lab/lab", "up"], cwd=ROOT, check=True, timeout=2400)
    return Lab()


@pytest.fixture(scope="session")
def empty(lab: Lab) -> dict[str, Any]:
    """The cluster without us: as it was before the first test, or else after a teardown."""
    if lab.kubectl("get", "namespaces", "ptemplate", "widget", "--ignore-not-found", "-o", "name"):
        lab.play("playbooks/teardown.yml").ok()
        lab.play("playbooks/teardown.yml", "-e", "@tests/lab/site/widget/widget.yml").ok()
    return snapshot(lab)


@pytest.fixture(scope="module")
def users_checkout(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> UsersCheckout:
    return UsersCheckout(lab, tmp_path_factory.mktemp("desk") / "accelerator")


@pytest.fixture
def audit(lab: Lab) -> AuditLog:
    status = lab.run("lab/lab", "status")
    found = re.search(r"(\S+audit\.log)", status)
    assert found, f"lab/lab status names no audit log:\n{status}"
    log = AuditLog(Path(found[1]), "accelerator-admin")
    log.mark()
    return log

# SPDX-License-Identifier: Apache-2.0
"""Runs parts of roles as a play does, against an API server that has no controllers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cluster import ROOT
from stand_ins.kube import Kube, Object, Resource

COLLECTION = "ecosystem_edge.accelerator"


@dataclass
class Result:
    """What a play did, by the names of its tasks."""

    tasks: list[tuple[str, dict[str, Any]]]
    changed: int

    def of(self, name: str) -> dict[str, Any]:
        found = [result for task, result in self.tasks if task.endswith(name) and not result.get("skipped")]
        return found[-1] if found else {}

    def deleted(self) -> list[str]:
        """The kinds of the objects that were deleted, or would be in check mode."""
        kinds = []
        for task, result in self.tasks:
            if task.endswith("Delete the objects") and not result.get("skipped"):
                asked = result["invocation"]["module_args"]["resource_definition"]
                answers = result["result"].get("results", [result])
                kinds += [obj["kind"] for obj, answer in zip(asked, answers, strict=True) if answer["changed"]]
        return kinds


@dataclass
class Roles:
    """Plays of some task files of the roles."""

    kubeconfig: Path
    folder: Path
    user: str = ""  # whom the administrator of kubeconfig impersonates
    purpose: str = ""  # as of common_purpose; without it, removal where a part is a teardown

    def play(
        self, definition: Object, *parts: str, check: bool = False, permissions: bool = False, **variables: Any
    ) -> Result:
        """parts: ROLE/TASK_FILE. The definition is checked and the cluster is read first.

        permissions: also asks whether it may be changed.
        """
        done = self._run(definition, parts, check, permissions, variables)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        answer = json.loads(done.stdout)
        ran = [(t["task"]["name"], t["hosts"]["localhost"]) for play in answer["plays"] for t in play["tasks"]]
        return Result(ran, answer["stats"]["localhost"]["changed"])

    def complaint(self, definition: Object, *parts: str, **variables: Any) -> str:
        """The message with which a play ends that checks first whether it may do its work."""
        done = self._run(definition, parts, False, True, variables)
        assert done.returncode == 2, done.stdout[-6000:] + done.stderr[-2000:]
        return str(json.loads(done.stdout)["plays"][-1]["tasks"][-1]["hosts"]["localhost"]["msg"])

    def _run(
        self, definition: Object, parts: tuple[str, ...], check: bool, permissions: bool, variables: Object
    ) -> subprocess.CompletedProcess[str]:
        removal = any(part.endswith("/teardown") for part in parts)
        purpose = self.purpose or ("removal" if removal else "install")
        read: Object = {"common_check_permissions": permissions, "common_purpose": purpose}
        read["common_allow_no_nodes"] = True
        tasks: list[Object] = [self._role("common/main", **read)]
        tasks += [self._role(part) for part in parts]
        given = {"accelerator": definition, **variables}
        book = [{"hosts": "localhost", "gather_facts": False, "vars": given, "tasks": tasks}]
        file = self.folder / "play.yml"
        file.write_text(yaml.safe_dump(book))
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", str(file)]
        argv += ["-e", f"ansible_python_interpreter={sys.executable}", *(["--check"] if check else [])]
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("K8S_AUTH_", "KUBECONFIG"))},
            "K8S_AUTH_KUBECONFIG": str(self.kubeconfig),
            **({"K8S_AUTH_IMPERSONATE_USER": self.user} if self.user else {}),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            # As some sites have it: facts are kept from run to run, and are no variables by themselves.
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.folder / "facts"),
            "ANSIBLE_INJECT_FACT_VARS": "false",
        }
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=900, cwd=ROOT)

    def _role(self, part: str, **variables: Any) -> Object:
        role, _slash, file = part.partition("/")
        task: Object = {"ansible.builtin.import_role": {"name": f"{COLLECTION}.{role}", "tasks_from": f"{file}.yml"}}
        return {**task, "vars": variables} if variables else task


@contextmanager
def collector(kube: Kube, *resources: Resource) -> Iterator[None]:
    """Lets go what is deleted in the foreground, as the garbage collector does."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.2):
            for resource in resources:
                for item in kube.list(resource):
                    if "deletionTimestamp" in item["metadata"]:
                        kube.merge(resource, item, {"metadata": {"finalizers": None}})

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

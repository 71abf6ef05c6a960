# SPDX-License-Identifier: Apache-2.0
"""One accelerator on the API server: its operator as a process under the rights that are rendered for it, and hands
that play the rest of the cluster: KMM, kubelet and controllers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import yaml
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests, _names
from cluster import OWNED, Cluster, Obj, eventually, served
from lightkube.generic_resource import create_namespaced_resource


class Site:
    """One accelerator on the cluster: its operator's process, and the roles that others play."""

    def __init__(self, cluster: Cluster, definition: Obj, folder: Path) -> None:
        self.cluster, self.definition, self.folder = cluster, definition, folder
        self.name, self.namespace = definition["name"], definition["namespace"]
        api = definition["operator"]["api"]
        self.kind = api["kind"]
        cluster.resources[self.kind] = create_namespaced_resource(
            api["group"], api["version"], api["kind"], api["plural"]
        )
        self.images = _images(definition)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "operator.log"
        self.ports = [_free_port(), _free_port()]

    def install(self) -> None:
        """What the role `operator` applies, and the process in place of the Deployment's pod."""
        facts = {"platform": "kubernetes", "nodes": [], "apis": {}}
        objects = _manifests.render("namespace", self.definition, facts, self.images)
        objects += _manifests.render("operator", self.definition, facts, self.images)
        for obj in objects:
            if obj["kind"] in self.cluster.resources and obj["kind"] != self.kind:
                self.cluster.apply(obj)
        account = {"name": "default", "namespace": self.namespace}  # a controller makes it, and pods need it
        self.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        eventually(lambda: served(self.cluster, self.kind))
        stored = self.cluster.get("ConfigMap", f"{self.name}-operator", self.namespace)
        assert stored is not None
        (self.folder / "definition.json").write_text(stored["data"]["definition.json"])
        self.start()

    def start(self) -> None:
        """Under the service account that is rendered for it, so that a missing right fails a test."""
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        config["users"] = [
            {**user, "user": {"token": self.cluster.token(f"{self.name}-operator", self.namespace)}}
            for user in config["users"]
        ]
        kubeconfig = self.folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        command = [sys.executable, "-m", "accelerator_operator", "--definition", str(self.folder / "definition.json")]
        command += ["--metrics-port", str(self.ports[0]), "--health-port", str(self.ports[1])]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        # So that the bounds of the tests are those of its reactions: on a busy machine the imports alone take longer.
        eventually(self._is_alive, 180, lambda: f"the operator's start; log:\n{self.log.read_text()[-3000:]}")

    def _is_alive(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log.read_text()[-3000:]}"
        try:
            return self.http(1, "/healthz") == "{}"
        except httpx2.HTTPError:
            return False

    def stop(self, kill: bool = False) -> None:
        if self.process:
            try:
                self.process.kill() if kill else self.process.terminate()
                self.process.wait(60)
            finally:
                self.process.kill()  # one that did not end would go on beside the next test's

    def http(self, port: int, path: str) -> str:
        return httpx2.get(f"http://127.0.0.1:{self.ports[port]}{path}").raise_for_status().text

    def create(self, name: str | None = None, **spec: Any) -> Obj:
        resource = _manifests.custom_resource(self.definition, self.images)
        resource["metadata"]["name"] = name or self.name
        resource["spec"].update(spec)
        return self.cluster.apply(resource)

    def resource(self, name: str | None = None) -> Obj | None:
        return self.cluster.get(self.kind, name or self.name, self.namespace)

    def get(self, kind: str, suffix: str = "") -> Obj | None:
        return self.cluster.get(kind, self.name + suffix, self.namespace)

    def objects(self) -> dict[tuple[str, str], Obj]:
        """All that the operator wrote here."""
        found = {
            (kind, obj["metadata"]["name"]): obj for kind in OWNED for obj in self.cluster.list(kind, self.namespace)
        }
        return {
            at: obj
            for at, obj in found.items()
            if (obj["metadata"].get("labels") or {}).get(_names.LABEL_MANAGED_BY) == _names.OPERATOR
        }

    def conditions(self, name: str | None = None) -> dict[str, tuple[str, str, str]]:
        status = (self.resource(name) or {}).get("status") or {}
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in status.get("conditions", [])}

    def becomes(self, reason: str, seconds: float = 20, name: str | None = None) -> str:
        """Waits until Ready has the reason; its message."""
        reached = eventually(
            lambda: self.conditions(name).get("Ready", ("", "", ""))[1] == reason,
            seconds,
            lambda: f"{reason}; conditions {self.conditions(name)}; log:\n{self.log.read_text()[-3000:]}",
        )
        assert reached
        return self.conditions(name)["Ready"][2]

    # What others do.

    def add_node(self, name: str) -> None:
        labels = {f"example.com/{self.name}": "yes", "kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": ""}
        self.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        # The API server taints a new node until a controller sees it ready.
        self.cluster.merge("Node", name, {"spec": {"taints": None}})
        self.cluster.merge("Node", name, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, status=True)

    def version_label(self, node: str) -> str | None:
        found = self.cluster.get("Node", node)
        return found and found["metadata"]["labels"].get(_names.version_label(self.definition))

    def load_module(self, *nodes: str) -> None:
        """KMM: the ready label on the nodes, the counters in the Module."""
        for node in nodes:
            self.cluster.merge("Node", node, {"metadata": {"labels": {_names.ready_label(self.definition): ""}}})
        count = {"desiredNumber": len(nodes), "availableNumber": len(nodes), "nodesMatchingSelectorNumber": len(nodes)}
        status = {"status": {"moduleLoader": count}}
        self.cluster.merge("Module", self.name, status, self.namespace, status=True)

    def run_device_plugin(self, *nodes: str) -> None:
        """DaemonSet controller and kubelets: pods ready; devices allocatable."""
        name, count = f"{self.name}-device-plugin", len(nodes)
        live = self.get("DaemonSet", "-device-plugin")
        assert live is not None
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "currentNumberScheduled": count,
            "desiredNumberScheduled": count,
            "numberReady": count,
            "updatedNumberScheduled": count,
            "numberMisscheduled": 0,
        }
        self.cluster.merge("DaemonSet", name, {"status": status}, self.namespace, status=True)
        for node in nodes:
            self.set_devices(node, 5)

    def set_devices(self, node: str, count: int) -> None:
        devices = {self.definition["resource"]: str(count)}
        self.cluster.merge("Node", node, {"status": {"capacity": devices, "allocatable": devices}}, status=True)

    def run_consumer(self, node: str) -> str:
        """Deployment controller, scheduler and kubelet: one pod, running."""
        name = f"{self.name}-consumer"
        live = self.get("Deployment", "-consumer")
        assert live is not None
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-1",
                "namespace": self.namespace,
                "labels": live["spec"]["template"]["metadata"]["labels"],
            },
            "spec": {"nodeName": node, "containers": [{"name": "consumer", "image": "none"}]},
        }
        self.cluster.apply(pod)
        ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        self.cluster.merge("Pod", f"{name}-1", ready, self.namespace, status=True)
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": 1,
            "readyReplicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": 1,
        }
        self.cluster.merge("Deployment", name, {"status": status}, self.namespace, status=True)
        return f"{name}-1"

    def make_ready(self, *nodes: str) -> None:
        for node in nodes:
            self.add_node(node)
        self.create()
        eventually(lambda: self.get("Deployment", "-consumer"), message=lambda: self.log.read_text())
        self.load_module(*nodes)
        self.run_device_plugin(*nodes)
        self.run_consumer(nodes[0])
        self.becomes("AsExpected")


def _images(definition: Obj) -> Obj:
    return {kind: definition["images"][kind] for kind in ("driver", "device_plugin", "operator", "consumer")}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

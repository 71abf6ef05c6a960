# SPDX-License-Identifier: Apache-2.0
"""An administrator's hands on the API server."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import PatchType

Obj = dict[str, Any]

GLOBAL = {
    "Namespace": ("", "v1", "namespaces"),
    "Node": ("", "v1", "nodes"),
    "CustomResourceDefinition": ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    "ClusterRole": ("rbac.authorization.k8s.io", "v1", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
}
NAMESPACED = {
    "Module": ("kmm.sigs.x-k8s.io", "v1beta1", "modules"),
    "DaemonSet": ("apps", "v1", "daemonsets"),
    "Deployment": ("apps", "v1", "deployments"),
    "Pod": ("", "v1", "pods"),
    "Service": ("", "v1", "services"),
    "ServiceAccount": ("", "v1", "serviceaccounts"),
    "ConfigMap": ("", "v1", "configmaps"),
    "Role": ("rbac.authorization.k8s.io", "v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "v1", "rolebindings"),
}
OWNED = ("Module", "DaemonSet", "Deployment", "Service", "ServiceAccount", "RoleBinding")


class Cluster:
    """Requests with all rights."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.client = Client(config=KubeConfig.from_file(kubeconfig), field_manager="test")
        self.resources: dict[str, Any] = {k: create_global_resource(w[0], w[1], k, w[2]) for k, w in GLOBAL.items()}
        self.resources |= {k: create_namespaced_resource(w[0], w[1], k, w[2]) for k, w in NAMESPACED.items()}

    def apply(self, obj: Obj, status: bool = False) -> Obj:
        resource = self.resources[obj["kind"]]
        namespace = obj["metadata"].get("namespace")
        where = {"namespace": namespace} if namespace else {}
        return self.client.patch(
            resource.Status if status else resource,
            obj["metadata"]["name"],
            obj,
            **where,
            patch_type=PatchType.APPLY,
            force=True,
        )

    def merge(self, kind: str, name: str, change: Obj, namespace: str | None = None, status: bool = False) -> Obj:
        resource = self.resources[kind].Status if status else self.resources[kind]
        where = {"namespace": namespace} if namespace else {}
        return self.client.patch(resource, name, change, **where, patch_type=PatchType.MERGE)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Obj | None:
        where = {"namespace": namespace} if namespace else {}
        try:
            return self.client.get(self.resources[kind], name, **where)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    def list(self, kind: str, namespace: str) -> list[Obj]:
        return list(self.client.list(self.resources[kind], namespace=namespace))

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        where = {"namespace": namespace} if namespace else {}
        self.client.delete(self.resources[kind], name, **where)

    def kill_api_server(self) -> list[str]:
        """Its command line, for `start_api_server`."""
        ((pid, argv),) = self._api_servers()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self._api_servers())
        return argv

    def _api_servers(self) -> list[tuple[int, list[str]]]:
        """By the mark that the lab puts into the environment of its processes."""
        mark, found = f"{self.kubeconfig.parents[1]}#kube-apiserver".encode(), []
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (proc / "environ").read_bytes():
                    found.append((int(proc.name), (proc / "cmdline").read_text().rstrip("\0").split("\0")))
            except OSError:
                continue  # just ended, or another user's
        return found

    def start_api_server(self, argv: list[str]) -> None:
        """With the lab's mark, so that it ends with the others."""
        folder = self.kubeconfig.parents[1]
        mark = {"ACCELERATOR_LAB_PROCESS": f"{folder}#kube-apiserver"}
        with (folder / "logs" / "kube-apiserver.log").open("ab") as log:
            subprocess.Popen(
                argv, cwd=folder, env={**os.environ, **mark}, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._is_ready, 240)  # a busy machine starts it slowly

    def _is_ready(self) -> bool:
        try:
            return self.client._client._client.get("/readyz").is_success
        except httpx2.HTTPError:
            return False

    def token(self, service_account: str, namespace: str) -> str:
        config = KubeConfig.from_file(self.kubeconfig).get()
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        response = self.client._client._client.post(
            path, json={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        )
        assert config.cluster is not None
        return response.raise_for_status().json()["status"]["token"]


def eventually(what: Callable[[], Any], seconds: float = 20, message: Callable[[], Any] = lambda: "") -> Any:
    """The first true value of `what`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(0.1)
    raise AssertionError(f"did not happen within {seconds} s: {message()}")


def served(cluster: Cluster, kind: str) -> bool:
    try:
        cluster.list(kind, "default")
    except httpx2.HTTPStatusError as error:  # an ApiError, or one whose body is no Status
        if error.response.status_code in (404, 429):  # not yet known; known and its storage being set up
            return False
        raise
    return True

# SPDX-License-Identifier: Apache-2.0
"""The few calls that the stand-ins make to an API server: REST and watches over urllib3.

A client library would cost every stand-in a second and 50 MB at its start, on a machine that also emulates a node.
"""

from __future__ import annotations

import base64
import json
import logging
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml

log = logging.getLogger(__name__)

Object = dict[str, Any]
WATCH_SECONDS = 300  # the server ends a watch after this; the store then goes on from where it was
RETRY_SECONDS = 2.0
BUSY_TIMES = 10


class ApiError(Exception):
    """The API server refused a request."""

    def __init__(self, method: str, path: str, status: int, message: str) -> None:
        super().__init__(f"{method} {path}: {status} {message}")
        self.status = status


@dataclass(frozen=True)
class Resource:
    """One kind of object, and where the API serves it."""

    api: str
    plural: str
    kind: str

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        root = f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"
        parts = [f"namespaces/{namespace}"] if namespace else []
        return "/".join([root, *parts, self.plural, *filter(None, (name, subresource))])

    def new(self, name: str, namespace: str = "", **fields: Any) -> Object:
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        return {"apiVersion": self.api, "kind": self.kind, "metadata": metadata, **fields}


CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition")
CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
NAMESPACES = Resource("v1", "namespaces", "Namespace")
NODES = Resource("v1", "nodes", "Node")
PODS = Resource("v1", "pods", "Pod")
DAEMON_SETS = Resource("apps/v1", "daemonsets", "DaemonSet")


def key(obj: Object) -> tuple[str, str]:
    """Namespace and name."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def owner(resource: Resource, obj: Object) -> Object:
    """An ownerReference, so that the garbage collector removes the dependent with it."""
    meta = obj["metadata"]
    return {
        "apiVersion": resource.api,
        "kind": resource.kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


class Kube:
    """An API server, as the user of a kubeconfig's current context."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        named = {kind: {e["name"]: e for e in config[f"{kind}s"]} for kind in ("context", "cluster", "user")}
        context = named["context"][config["current-context"]]["context"]
        cluster = named["cluster"][context["cluster"]]["cluster"]
        user = named["user"][context["user"]]["user"]
        self.server: str = cluster["server"]
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._pool = urllib3.PoolManager(
            headers=headers, maxsize=32, ssl_context=_tls(cluster, user, kubeconfig.parent)
        )

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Object:
        data = None if body is None else json.dumps(body)
        for last in (False,) * BUSY_TIMES + (True,):
            reply = self._pool.request(
                method, self.server + path, body=data, headers=self._headers(content), timeout=30.0, retries=False
            )
            if reply.status != 429 or last:  # busy, or just about to serve a new definition: to be asked again
                break
            time.sleep(float(reply.headers.get("Retry-After", 1)))
        if reply.status >= 300:
            raise ApiError(method, path, reply.status, _message(reply.data))
        answer: Object = json.loads(reply.data)
        return answer

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        try:
            return self.request("GET", resource.path(name, namespace))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, resource: Resource, selector: str = "") -> list[Object]:
        items: list[Object] = self.request("GET", f"{resource.path()}?labelSelector={selector}")["items"]
        return items

    def create(self, resource: Resource, obj: Object) -> Object:
        return self.request("POST", resource.path("", obj["metadata"].get("namespace", "")), obj)

    def apply(self, resource: Resource, obj: Object, manager: str, subresource: str = "", query: str = "") -> Object:
        """Server-side apply: what this manager applied before and no longer names is removed."""
        path = resource.path(obj["metadata"]["name"], obj["metadata"].get("namespace", ""), subresource)
        path += f"?force=true&fieldManager={manager}{query}"
        return self.request("PATCH", path, obj, "application/apply-patch+yaml")

    def merge(self, resource: Resource, obj: Object, patch: Object, subresource: str = "") -> None:
        """JSON merge patch. Fails when the object is gone: it never creates one."""
        namespace, name = key(obj)
        self.request("PATCH", resource.path(name, namespace, subresource), patch, "application/merge-patch+json")

    def delete(self, resource: Resource, name: str, namespace: str = "", **options: Any) -> None:
        """Gone already is as good."""
        try:
            self.request("DELETE", resource.path(name, namespace), {"propagationPolicy": "Background"} | options)
        except ApiError as error:
            if error.status != 404:
                raise

    def watch(self, resource: Resource, version: str, selector: str) -> Iterator[Object]:
        """Events from `version` on, until the server ends the watch."""
        path = f"{resource.path()}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}"
        path += f"&resourceVersion={version}&labelSelector={selector}"
        timeout = urllib3.Timeout(connect=10, read=WATCH_SECONDS + 30)
        reply = self._pool.request(
            "GET", self.server + path, preload_content=False, timeout=timeout, retries=False, headers=self._headers()
        )
        try:
            if reply.status >= 300:
                raise ApiError("WATCH", path, reply.status, _message(reply.data))
            rest = b""
            for chunk in reply.stream(2**16):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from map(json.loads, lines)
        finally:
            reply.close()

    def _headers(self, content: str = "application/json") -> dict[str, str]:
        return {**self._pool.headers, "Content-Type": content, "Accept": "application/json"}


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError):
        return data.decode(errors="replace")


def _tls(cluster: Object, user: Object, folder: Path) -> ssl.SSLContext:
    """A context with the kubeconfig's authority and client certificate, given as files or in place."""

    def text(section: Object, name: str) -> str | None:
        if f"{name}-data" in section:
            return base64.b64decode(section[f"{name}-data"]).decode()
        return (folder / section[name]).read_text() if name in section else None

    context = ssl.create_default_context(cadata=text(cluster, "certificate-authority"))
    certificate, private = text(user, "client-certificate"), text(user, "client-key")
    if certificate and private:
        with tempfile.NamedTemporaryFile("w") as file:  # ssl reads these from a file only
            file.write(certificate + "\n" + private)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


class Store:
    """A copy of all objects of one kind, kept by a watch. `changed` is called after every difference."""

    def __init__(self, kube: Kube, resource: Resource, changed: Callable[[], None], selector: str = "") -> None:
        self._kube, self.resource, self._changed, self._selector = kube, resource, changed, selector
        self._objects: dict[tuple[str, str], Object] = {}
        self._gone: dict[tuple[str, str], int] = {}  # the version at which an object was deleted
        self._listed = 0  # the version of the last list
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.synced = False

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True, name=f"watch-{self.resource.plural}").start()

    def stop(self) -> None:
        """The thread ends at its next event, or when the server ends the watch; nothing is reported any more."""
        self._stop.set()

    def all(self) -> list[Object]:
        return list(self._objects.values())

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self._objects.get((namespace, name))

    def put(self, obj: Object) -> None:
        """What a write of ours returned, so that the next reconcile does not act on what was before it.

        The watch may have been faster: an object that it has seen go does not come back.
        """
        with self._lock:
            seen = self._objects.get(key(obj))
            known = _version(seen) if seen else max(self._listed, self._gone.get(key(obj), 0)) + 1
            if known <= _version(obj):
                self._objects[key(obj)] = obj

    def _run(self) -> None:
        version = ""
        while not self._stop.is_set():
            try:
                version = self._follow(version or self._list())
            except (ApiError, urllib3.exceptions.HTTPError, OSError, ValueError, LookupError) as error:
                # 404 while a definition is being removed, 410 when the version is too old: both mend by a new list
                log.info("watch of %s: %s; again in %s s", self.resource.plural, error, RETRY_SECONDS)
                version = ""
                self._stop.wait(RETRY_SECONDS)

    def _list(self) -> str:
        answer = self._kube.request("GET", f"{self.resource.path()}?labelSelector={self._selector}")
        with self._lock:
            self._objects = {key(obj): obj for obj in answer["items"]}
            self._listed, self._gone = _version(answer), {}
        self.synced = True
        self._changed()
        return str(answer["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> str:
        for event in self._kube.watch(self.resource, version, self._selector):
            if self._stop.is_set():
                break
            obj = event["object"]
            if event["type"] == "ERROR":
                raise ApiError("WATCH", self.resource.path(), obj.get("code", 0), obj.get("message", ""))
            version = obj["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            if event["type"] == "DELETED":
                with self._lock:
                    self._objects.pop(key(obj), None)
                    self._gone[key(obj)] = int(version)
            else:
                self.put(obj)
            self._changed()
        return version

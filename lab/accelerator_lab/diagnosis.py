# SPDX-License-Identifier: Apache-2.0
"""What a lab says of itself: status, and all that somebody wants to see who was not there when something failed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from typing import Any

from . import cache, cluster, control_plane, lifecycle, processes, stand_ins
from .errors import LabError
from .instance import Instance

Object = dict[str, Any]
PATIENCE = "--request-timeout=10s"
PODS, EVENTS, LINES, WIDTH = 12, 10, 12, 300  # at most so many of each, and characters of a line
# systemd moves the cursor about on the console, and colours what it says.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\t]|(?<![A-Za-z])M(?=\x1b)")


def status(lab: Instance) -> tuple[list[str], bool]:
    """Where everything is and what runs; and whether all of it runs and every node is Ready."""
    live = {process.name: process for process in processes.running(lab.folder) if process.leader}
    problem = control_plane.api_ready(lab.plane) if "kube-apiserver" in live else "not running"
    rows = [
        ("lab", f"{lab.name} in {lab.folder}"),
        ("API server", f"{lab.plane.server} {problem or 'ready'}"),
        ("kubeconfig", str(cluster.playbook_kubeconfig(lab))),
        ("audit log", str(lab.plane.audit_log)),
        ("registry", lab.registry),
        ("overrides", str(lifecycle.overrides_file(lab))),
    ]
    healthy = not problem
    for name in lifecycle.process_names(lab):
        process = live.get(name)
        rows.append((name, f"pid {process.pid}" if process else "NOT RUNNING"))
        healthy = healthy and process is not None
    for node in lab.nodes:
        ready = not problem and cluster.ready(lab, node)
        rows.append((node.name, f"{'Ready' if ready else 'NOT READY'}, kernel package {node.kernel}"))
        healthy = healthy and ready
    return [f"{name:<24} {text}" for name, text in rows], healthy


def report(lab: Instance) -> str:
    """Everything of interest, bounded; a part that cannot be had says why."""
    parts: list[tuple[str, Callable[[], Iterable[str]]]] = [
        ("host", host),
        ("lab/lab status", lambda: status(lab)[0]),
        ("conditions of nodes", lambda: conditions(_items(lab, "nodes"))),
        ("pods that do not run", lambda: pods(_items(lab, "pods", "--all-namespaces"))),
        ("warnings", lambda: warnings(_items(lab, "events", "--all-namespaces", "--field-selector=type=Warning"))),
        ("stand-ins, last words", lambda: tail(lab, stand_ins.NAME)),
    ]
    for node in lab.nodes:
        parts.append((f"console of {node.name}, last words", lambda name=node.name: tail(lab, name)))  # type: ignore[misc]
    return "\n".join(line for title, part in parts for line in [f"--- {title}", *_told(part)])


def _told(part: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return [line[:WIDTH] for line in part()] or ["none"]
    except (LabError, OSError, LookupError, ValueError) as error:
        return [f"cannot be read: {str(error)[-WIDTH:]}"]


def _items(lab: Instance, *what: str) -> list[Object]:
    items: list[Object] = json.loads(cluster.kubectl(lab, "get", *what, PATIENCE, "-o", "json"))["items"]
    return items


def host() -> list[str]:
    """How busy the machine is, and what it has left."""
    with open("/proc/meminfo") as file:
        memory = dict(line.split(":", 1) for line in file)
    free = shutil.disk_usage(cache.root()).free // 2**30
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return [
        f"load {load} on {os.cpu_count()} processors, {memory['MemAvailable'].strip()} of memory, {free} GiB of disk"
    ]


def conditions(nodes: list[Object]) -> list[str]:
    """Those of a node that are not as they should be, and its taints."""
    found = []
    for node in nodes:
        name = node["metadata"]["name"]
        for condition in node["status"].get("conditions", []):
            if condition["status"] != ("True" if condition["type"] == "Ready" else "False"):
                found.append(f"{name}: {condition['type']}={condition['status']}: {condition.get('message', '')}")
        found += [f"{name}: taint {taint['key']}:{taint['effect']}" for taint in node["spec"].get("taints", [])]
    return found


def pods(items: list[Object]) -> list[str]:
    """Those that neither are ready nor have done their work, with what their containers say."""
    found = []
    for pod in items:
        state = pod["status"]
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in state.get("conditions", []))
        if ready or state.get("phase") == "Succeeded":
            continue
        going = ", going" if "deletionTimestamp" in pod["metadata"] else ""
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        said = [*map(_container, [*state.get("initContainerStatuses", []), *state.get("containerStatuses", [])])]
        why = "; ".join(filter(None, [state.get("message", ""), *said]))
        found.append(f"{name}: {state.get('phase')}{going}: {why or 'nothing said'}")
    return found[:PODS]


def _container(status: Object) -> str:
    """What a container waits for, or why it ended, and why the one before it did."""
    for state in (status.get("state", {}), status.get("lastState", {})):
        for kind in ("waiting", "terminated"):
            seen = state.get(kind, {})
            if seen and seen.get("reason") != "Completed":
                words = " ".join(f"{seen.get('reason', '')} {seen.get('message', '')}".split())
                return f"{status['name']} {kind}, {status.get('restartCount', 0)} restarts: {words}"
    return ""


def warnings(events: list[Object]) -> list[str]:
    def time_of(event: Object) -> str:
        return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp"))

    found = []
    for event in sorted(events, key=time_of)[-EVENTS:]:
        about = event["involvedObject"]
        name = "/".join(filter(None, (about.get("namespace"), about.get("name"))))
        words = " ".join(str(event.get("message", "")).split())
        found.append(f"{time_of(event)} {about.get('kind')} {name}: {event.get('reason')}: {words}")
    return found


def tail(lab: Instance, name: str) -> list[str]:
    """The last lines of a process's log. What moves on the console in one place is one line."""
    lines: dict[str, str] = {}
    for line in processes.log_tail(lab.folder, name, 20 * LINES).splitlines():
        text = CONTROL.sub("", line).strip()
        shape = re.sub(r"[\d*\s]+", "", text)
        lines.pop(shape, None)  # said again: what counts is when it was said last
        lines[shape] = text
    return list(filter(None, lines.values()))[-LINES:]

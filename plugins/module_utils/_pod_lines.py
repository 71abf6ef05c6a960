# SPDX-License-Identifier: Apache-2.0
"""The last lines of a pod that uses the devices. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api, ClusterError, Json


def last_lines(api: Api, namespace: str, selector: str, count: int) -> Json:
    """pod, lines, reason: of the first running pod by name; no pod and no lines for a reason.

    Lines are told beside the health and must not cost it: one who may not read them gets the reason instead.
    """
    pods = f"/api/v1/namespaces/{namespace}/pods"
    name = None
    try:
        found, _version = api.pages(pods, keep=_running, labelSelector=selector)
        if not found:
            return _answer(None, [], f"no pod with {selector} runs in namespace {namespace}")
        name = min(found)
        text = api.text(f"{pods}/{name}/log", tailLines=count)
    except ClusterError as error:
        return _answer(name, [], str(error))
    lines = [line for line in text.splitlines() if line.strip()]
    return _answer(name, lines, "" if lines else f"{name} has written nothing yet")


def _running(pod: Json) -> t.Optional[str]:
    going = pod["metadata"].get("deletionTimestamp")
    return pod["metadata"]["name"] if (pod.get("status") or {}).get("phase") == "Running" and not going else None


def _answer(pod: t.Optional[str], lines: t.List[str], reason: str) -> Json:
    return {"pod": pod, "lines": lines, "reason": reason}


__all__ = ("last_lines",)

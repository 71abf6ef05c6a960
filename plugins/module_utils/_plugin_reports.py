# SPDX-License-Identifier: Apache-2.0
"""Asks device plugins for their devices, through the API server's pod proxy. PRIVATE to this collection."""

from __future__ import annotations

import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api, ClusterError
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._health import Report, report_of

# Device plugins are asked side by side, and not for long: one that hangs must not hold up the report on a thousand.
ASKED_AT_ONCE = 8  # the client keeps at least as many connections
ANSWER_TIMEOUT = 15  # seconds
ALL_TIMEOUT = 120  # seconds for all together: where a thousand hang, the rest is told without them


def ask(api: Api, namespace: str, port: int, pods: t.Sequence[str]) -> t.Dict[str, Report]:
    """Name of the pod -> what it says, or why it says nothing; without those that there was no time for."""
    end = time.monotonic() + ALL_TIMEOUT

    def one(pod: str) -> t.Tuple[str, t.Optional[Report]]:
        return pod, _one(api, namespace, port, pod) if time.monotonic() < end else None

    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return {pod: report for pod, report in pool.map(one, pods) if report}


def _one(api: Api, namespace: str, port: int, pod: str) -> Report:
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/devices"
    try:
        return report_of(api.get(path, read_timeout=ANSWER_TIMEOUT), f"{pod} at :{port}")
    except ClusterError as error:
        return Report(False, [], f"{pod} did not answer at :{port}/devices: {error}")


__all__ = ("ASKED_AT_ONCE", "ask")

# SPDX-License-Identifier: Apache-2.0
"""The consumer: a workload that proves that pods get devices. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import (
    CONFINED,
    SECCOMP,
    Json,
    Scope,
)


def consumer(scope: Scope) -> t.List[Json]:
    wanted = scope.definition["consumer"]
    if not wanted:
        return []
    name = names.consumer(scope.definition)
    devices = {scope.definition["resource"]: str(wanted["devices"])}
    container: Json = {
        "name": "consumer",
        "image": scope.images["consumer"],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi", **devices},
            "limits": {"memory": "256Mi", **devices},
        },
        # The user is the image's: what a device node demands, its driver knows.
        "securityContext": dict(CONFINED),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    if wanted["command"]:
        container["command"] = wanted["command"]
    pod = scope.pod(
        name,
        "consumer",
        container,
        automountServiceAccountToken=False,
        terminationGracePeriodSeconds=10,
        securityContext={"seccompProfile": SECCOMP},
        volumes=[{"name": "tmp", "emptyDir": {}}],
    )
    # Recreate: a second pod beside the first would wait for devices that the first holds.
    spec = {"replicas": wanted["replicas"], "strategy": {"type": "Recreate"}, **pod}
    return [scope.make("apps/v1", "Deployment", name, "consumer", spec=spec)]

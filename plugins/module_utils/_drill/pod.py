# SPDX-License-Identifier: Apache-2.0
"""The pod that makes a fault on a node, and ends it however it ends itself. Pure. PRIVATE to this collection.

It is on the node itself so that the fault does not outlive the play: told to stop, or after its time, it ends the
fault; and the kubelet stops it after its deadline, whatever has become of the API server.
"""

from __future__ import annotations

import hashlib
import re
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe

Json = t.Dict[str, t.Any]

COMPONENT = "drill"
ROOT = "/host"  # where the node's folders are; at their own place, AppArmor's default profile would refuse writes
GRACE = 30  # seconds for ending the fault
READY = 3  # seconds between the first line and the fault, in which whoever follows the log begins to
SLACK = 120  # seconds that a pod may take to start, beyond what it does

# Words and times on standard output, by the node's own clock, as the device plugin's are. `wait` lets a signal through.
SCRIPT = """\
say() { echo "drill $1 $(date +%s.%N) ${2-}"; }
clear() {
  trap '' TERM INT HUP
  trap - EXIT
  for try in 1 2 3; do
    sh -c "$CLEAR" && { say cleared; exit "$1"; }
    sleep 1
  done
  say stuck
  exit 1
}
ticks() {
  n=$1
  while [ "$n" -gt 0 ]; do say tick; sleep 1 & wait $!; n=$((n - 1)); done
}
trap 'clear 0' TERM INT HUP
trap 'clear $?' EXIT
ticks "$READY"
at=$(date +%s.%N)
sh -c "$INJECT" & wait $! || { say failed $?; exit 1; }
echo "drill injected $at"
ticks "$HOLD"
"""
_LINE = re.compile(r"drill ([a-z]+) (\d+\.\d+)(?: (\d+))?")


class Word(t.NamedTuple):
    """A line of the pod's log. said: by the node's clock, arrived: by ours; both in seconds of the Unix epoch."""

    word: str
    said: float
    arrived: float


def name(definition: Json, node: str) -> str:
    """One a node: two drills there at a time would measure each other."""
    return f"{definition['name']}-drill-{hashlib.sha256(node.encode()).hexdigest()[:10]}"


def labels(definition: Json) -> t.Dict[str, str]:
    """Without that of a manager, whose prune would take the pod away, and those that workloads select by."""
    made = names.labels(definition, f"{definition['name']}-drill", COMPONENT)
    return {key: value for key, value in made.items() if key != names.LABEL_MANAGED_BY}


def selector(definition: Json) -> str:
    return ",".join(
        f"{key}={value}"
        for key, value in labels(definition).items()
        if key in (names.LABEL_INSTANCE, names.LABEL_COMPONENT)
    )


def pod(definition: Json, plugin: Json, node: str, inject: str, hold: int) -> Json:
    """plugin: the device plugin's pod on the node. Its image is there, its account may mount folders of the node."""
    drill, spec = definition["health"]["drill"], safe.mapping(plugin, "spec")
    env = {"INJECT": inject, "CLEAR": drill["clear"], "HOLD": str(hold), "READY": str(READY if hold else 0)}
    folders = list(enumerate(drill["folders"]))
    container = {
        "name": COMPONENT,
        "image": safe.text(safe.mappings(spec, "containers")[0], "image"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SCRIPT],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": _rights(drill["privileged"]),
        "volumeMounts": [{"name": f"folder-{index}", "mountPath": ROOT + folder} for index, folder in folders],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(definition, node),
            "namespace": definition["namespace"],
            "labels": labels(definition),
        },
        "spec": {
            "nodeName": node,  # no scheduler: also a node that takes no pods can be drilled
            "restartPolicy": "Never",
            "activeDeadlineSeconds": hold + SLACK,
            "terminationGracePeriodSeconds": GRACE,
            "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": False,
            "serviceAccountName": safe.text(spec, "serviceAccountName") or "default",
            "imagePullSecrets": safe.mappings(spec, "imagePullSecrets"),
            "securityContext": {"runAsUser": 0, "runAsNonRoot": False, **_selinux(spec)},
            "containers": [container],
            "volumes": [
                {"name": f"folder-{index}", "hostPath": {"path": folder, "type": "Directory"}}
                for index, folder in folders
            ],
        },
    }


def _rights(privileged: bool) -> Json:
    """Files of root's can be written by root without any capability."""
    if privileged:
        return {"privileged": True}
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }


def _selinux(spec: Json) -> Json:
    """Where the plugin names a type there is SELinux, and no type of a container may write to the kernel's files."""
    return {"seLinuxOptions": {"type": "spc_t"}} if safe.mapping(spec, "securityContext", "seLinuxOptions") else {}


def word(line: str, arrived: float) -> t.Optional[Word]:
    match = _LINE.match(line)
    return Word(match[1], float(match[2]), arrived) if match else None


def offset(words: t.Iterable[Word]) -> float:
    """Our clock less the node's: no line comes before it was said, so the fastest is nearest to the truth."""
    return min((one.arrived - one.said for one in words), default=0.0)


def said(words: t.Iterable[Word], wanted: str) -> t.Optional[float]:
    return next((one.said for one in words if one.word == wanted), None)


__all__ = ("GRACE", "READY", "SLACK", "Word", "labels", "name", "offset", "pod", "said", "selector", "word")

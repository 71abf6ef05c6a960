# SPDX-License-Identifier: Apache-2.0
"""The device plugin: our own DaemonSet, or the part of the Module from which KMM makes one. Pure. PRIVATE."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import (
    CONFINED,
    SECCOMP,
    Json,
    Scope,
    probe,
    startup_probe,
)

# Not at /dev: a read-only /dev keeps the runtime from adding what every container has there.
ROOT = "/host"
SYSFS = f"{ROOT}/sys"  # the container's own is read-only


def device_plugin(scope: Scope) -> t.List[Json]:
    name = names.device_plugin(scope.definition)
    account = scope.service_account(name, "device-plugin")
    scc = scope.privileged_scc(name, "device-plugin")
    if scope.definition["device_plugin"]["deploy"] == "kmm":
        return [account, *scc]
    return [
        account,
        *scc,
        _daemon_set(scope, name),
        scope.metrics_service(name, "device-plugin", names.DEVICE_PLUGIN_PORT),
    ]


def by_kmm(scope: Scope) -> Json:
    """KMM mounts the kubelet's folder by itself."""
    container = _container(scope)
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] != "kubelet"]
    return {
        "serviceAccountName": names.device_plugin(scope.definition),
        "automountServiceAccountToken": False,
        "container": container,
        "volumes": [_volume("dev", "/dev"), *(volume for volume, _unused in _by_choice(scope.definition))],
    }


def _container(scope: Scope) -> Json:
    definition = scope.definition
    flags = {
        "resource": definition["resource"],
        "device-glob": definition["devices"]["glob"],
        "env-prefix": names.env_prefix(definition),
        "permissions": definition["devices"]["permissions"],
        "interval": definition["health"]["interval"],
        "http-port": names.DEVICE_PLUGIN_PORT,
        "root": ROOT,
        **_health_flags(definition["health"]),
        **_plugin_flags(definition),
    }
    return {
        "image": scope.images["device_plugin"],
        "args": [f"--{name}={value}" for name, value in flags.items()],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [
            {"name": "kubelet", "mountPath": names.KUBELET_PLUGINS},
            {"name": "dev", "mountPath": f"{ROOT}/dev", "readOnly": True},
            *(mount for _unused, mount in _by_choice(definition)),
        ],
    }


def _health_flags(health: Json) -> Json:
    """Only what was asked for: the plugin has the same defaults."""
    flags = {
        "health-file": health["file"],
        "health-words": ",".join(health["words"]) if health["file"] else None,
        "serial-file": health["serial_file"],
        "silence": health["silence"],
        "probe": health["probe"] if health["probe"] != "none" else None,
    }
    return {name: value for name, value in flags.items() if value is not None}


def _plugin_flags(definition: Json) -> Json:
    plugin = definition["device_plugin"]
    flags = {
        "replicas": plugin["replicas"] if plugin["replicas"] != 1 else None,
        "prefer": plugin["prefer"] if plugin["prefer"] != "packed" else None,
        **_pre_start_flags(plugin),
        "cdi-dir": plugin["cdi_dir"],
        "pod-resources": f"{names.KUBELET_PODS}/kubelet.sock" if plugin["pods"] else None,
        "state-file": names.state_file(definition) if plugin["remember"] else None,
    }
    return {name: value for name, value in flags.items() if value is not None}


def _pre_start_flags(plugin: Json) -> Json:
    if plugin["pre_start"] == "reset":
        return {"pre-start": "reset", "reset-file": plugin["reset_file"], "sysfs": SYSFS}
    return {"pre-start": plugin["pre_start"]} if plugin["pre_start"] != "none" else {}


def _daemon_set(scope: Scope, name: str) -> Json:
    port = names.METRICS_PORT
    container = {
        "name": "device-plugin",
        **_container(scope),
        "ports": [{"name": port, "containerPort": names.DEVICE_PLUGIN_PORT, "protocol": "TCP"}],
        "startupProbe": startup_probe("/healthz", port),
        "livenessProbe": probe("/healthz", port, periodSeconds=10, failureThreshold=6),
        "readinessProbe": probe("/readyz", port, periodSeconds=5, failureThreshold=3),
        "securityContext": dict(CONFINED),
    }
    pod = scope.pod(
        name,
        "device-plugin",
        container,
        serviceAccountName=name,
        automountServiceAccountToken=False,
        nodeSelector={names.ready_label(scope.definition): ""},
        # The ready label decides where it runs. A taint or a drain must not take the devices from running pods.
        tolerations=[{"operator": "Exists"}],
        priorityClassName="system-node-critical",
        terminationGracePeriodSeconds=10,
        # The kubelet's folder is 0750 root.
        securityContext={"runAsUser": 0, "runAsNonRoot": False, "seccompProfile": SECCOMP, **_selinux(scope)},
        volumes=[
            _volume("kubelet", names.KUBELET_PLUGINS),
            _volume("dev", "/dev"),
            *(volume for volume, _unused in _by_choice(scope.definition)),
        ],
    )
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
    return scope.make("apps/v1", "DaemonSet", name, "device-plugin", spec={**pod, "updateStrategy": update})


def _selinux(scope: Scope) -> Json:
    """The type that may use the kubelet's socket; there is none where SELinux is not."""
    return {"seLinuxOptions": {"type": "container_device_plugin_t"}} if scope.openshift() else {}


def _by_choice(definition: Json) -> t.Iterator[t.Tuple[Json, Json]]:
    """Volumes that the definition may do without, and how each is mounted."""
    plugin = definition["device_plugin"]
    if plugin["pods"]:
        # A socket takes connections through a read-only mount.
        yield (
            _volume("pods", names.KUBELET_PODS),
            {"name": "pods", "mountPath": names.KUBELET_PODS, "readOnly": True},
        )
    if plugin["pre_start"] == "reset":
        # What /sys/dev/char has are links into /sys/devices; all else of sysfs stays read-only.
        yield _volume("sys-devices", "/sys/devices"), {"name": "sys-devices", "mountPath": f"{SYSFS}/devices"}
        yield _volume("sys-dev", "/sys/dev"), {"name": "sys-dev", "mountPath": f"{SYSFS}/dev", "readOnly": True}
    if plugin["cdi_dir"]:
        # Runtimes read the folder where it is, and make none.
        yield _volume("cdi", plugin["cdi_dir"], "DirectoryOrCreate"), {"name": "cdi", "mountPath": plugin["cdi_dir"]}


def _volume(name: str, path: str, kind: str = "Directory") -> Json:
    return {"name": name, "hostPath": {"path": path, "type": kind}}

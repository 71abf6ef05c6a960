# SPDX-License-Identifier: Apache-2.0
"""Pure: what a Module means for each node, and the pods that bring it about.

Plays facts.md "What KMM does" and the fields of Module, ModuleImagesConfig and NodeModulesConfig; no I/O.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

Object = dict[str, Any]
DOMAIN = "kmm.node.kubernetes.io"
ACTION, MODULE, PULLED = f"{DOMAIN}/worker-action", f"{DOMAIN}/module.name", f"{DOMAIN}/pull-pod-type"
CONFIG, BOOT = f"{DOMAIN}/worker-config", f"{DOMAIN}/worker-boot"
FIRMWARE = "/var/lib/firmware"
# facts.md: "the pressure taints are tolerated by default"
PRESSURE = [
    {"key": f"node.kubernetes.io/{what}-pressure", "operator": "Exists", "effect": "NoSchedule"}
    for what in ("memory", "disk", "pid")
]


def ready_label(namespace: str, name: str) -> str:
    return f"{DOMAIN}/{namespace}.{name}.ready"


def version_ready_label(namespace: str, name: str) -> str:
    return f"{DOMAIN}/{namespace}.{name}.version.ready"


def version_label(namespace: str, name: str) -> str:
    return f"{DOMAIN}/version-module.{namespace}.{name}"


def is_ready(node: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))


def boot_id(node: Object) -> str:
    return str(node["status"]["nodeInfo"]["bootID"])


def targets(module: Object, nodes: list[Object]) -> list[Object]:
    """Nodes that Module.spec.selector names and whose taints it tolerates: a cordon is a taint too (facts.md)."""
    spec = module["spec"]
    tolerations = spec.get("tolerations", []) + PRESSURE
    selector = spec["selector"].items()
    return [n for n in nodes if selector <= n["metadata"].get("labels", {}).items() and _tolerated(n, tolerations)]


def _tolerated(node: Object, tolerations: list[Object]) -> bool:
    taints = [t for t in node["spec"].get("taints", []) if t["effect"] in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(toleration, taint) for toleration in tolerations) for taint in taints)


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def node_entry(module: Object, node: Object) -> Object | None:
    """NodeModulesConfig.spec.modules[] of this node, or None when no kernelMapping fits its kernel."""
    loader, meta = module["spec"].get("moduleLoader"), module["metadata"]
    kernel = node["status"]["nodeInfo"]["kernelVersion"].removesuffix("+")
    mapping = _mapping(loader["container"], kernel) if loader else None
    if mapping is None:
        return None
    container = loader["container"]
    tls = mapping.get("registryTLS") or container.get("registryTLS") or {}
    image = mapping.get("containerImage") or container.get("containerImage", "")
    in_references = re.sub(r"[^A-Za-z0-9_.-]", "_", kernel)  # KMM's NormalizeVersion; modprobe gets the kernel's own
    variables = {"KERNEL_FULL_VERSION": in_references, "MOD_NAME": meta["name"], "MOD_NAMESPACE": meta["namespace"]}
    remove = mapping.get("inTreeModulesToRemove") or container.get("inTreeModulesToRemove")
    config = {
        "kernelVersion": kernel,
        "containerImage": re.sub(r"\$\{(\w+)\}", lambda m: variables.get(m[1], m[0]), image),
        "imagePullPolicy": container.get("imagePullPolicy", "IfNotPresent"),
        "insecurePull": bool(tls.get("insecure") or tls.get("insecureSkipTLSVerify")),
        "modprobe": container["modprobe"],
        **({"inTreeModulesToRemove": remove} if remove else {}),
    }
    entry = {"name": meta["name"], "namespace": meta["namespace"], "config": config}
    entry["serviceAccountName"] = loader.get("serviceAccountName", "default")
    optional = {"version": container.get("version")}
    optional |= {field: module["spec"].get(field) for field in ("imageRepoSecret", "tolerations")}
    return entry | {field: value for field, value in optional.items() if value}


def _mapping(container: Object, kernel: str) -> Object | None:
    """The first of kernelMappings whose literal is, or whose regexp finds, the kernel."""
    for mapping in container["kernelMappings"]:
        if mapping.get("literal") == kernel or ("regexp" in mapping and re.search(mapping["regexp"], kernel)):
            return dict(mapping)
    return None


def placed(wanted: Object, node: Object, seen: Object | None, images: Object) -> Object | None:
    """What NodeModulesConfig.spec says of one module: nothing without the image, and by the version label.

    images: image -> state, from ModuleImagesConfig.status. facts.md: with a version, nothing is loaded on a node
    without the label; a label with another version leaves what is there, until the owner moves the label.
    """
    if images.get(wanted["config"]["containerImage"]) != "Exists":
        return seen
    if "version" in wanted:
        label = node["metadata"].get("labels", {}).get(version_label(wanted["namespace"], wanted["name"]))
        if label is None:
            return None
        if label != wanted["version"]:
            return seen
    return wanted


def in_sync(entry: Object, status: Object | None) -> bool:
    return status is not None and status.get("config") == entry["config"]


def images_spec(module: Object, entries: list[Object]) -> Object:
    """ModuleImagesConfig.spec: one image per kernel of the targeted nodes."""
    spec = module["spec"]
    images = {e["config"]["containerImage"]: e["config"]["kernelVersion"] for e in entries}
    tls = spec["moduleLoader"]["container"].get("registryTLS")
    wanted: Object = {
        "imagePullPolicy": spec["moduleLoader"]["container"].get("imagePullPolicy", "IfNotPresent"),
        "images": [
            {"image": image, "kernelVersion": kernel, **({"registryTLS": tls} if tls else {})}
            for image, kernel in sorted(images.items())
        ],
    }
    return wanted | {field: spec[field] for field in ("imageRepoSecret", "tolerations") if field in spec}


def pull_pod(images: Object, image: str) -> Object:
    """facts.md: "<module>-pull-pod-xxxxx in the module's namespace to see that the image can be pulled"."""
    name, namespace, spec = images["metadata"]["name"], images["metadata"]["namespace"], images["spec"]
    suffix = hashlib.sha256(f"{images['metadata']['uid']} {image}".encode()).hexdigest()[:5]
    return {
        "metadata": {
            "name": f"{name}-pull-pod-{suffix}",
            "namespace": namespace,
            "labels": {MODULE: name, PULLED: "until-success"},
        },
        "spec": {
            "restartPolicy": "Never",
            "dnsPolicy": "Default",
            "automountServiceAccountToken": False,
            "containers": [{"name": "puller", "image": image, "command": ["/bin/sh", "-c", "exit 0"]}],
            "imagePullSecrets": [spec["imageRepoSecret"]] if "imageRepoSecret" in spec else [],
            # No tolerations: KMM's issue 1314.
        },
    }


# modprobe says little, the kernel says why: its last lines on the module follow. The kubelet keeps both as the
# container's termination message.
WORKER = """\
failed() { code=$?; dmesg | grep -F "$MODULE" | tail -n 5; exit $code; }
"""
LOAD = """\
for old in $REMOVE; do if [ -d "/sys/module/$old" ]; then modprobe -r "$old" || failed; fi; done
if [ -n "$FIRMWARE" ]; then
  cp -R "/tmp$FIRMWARE/." /firmware/ && printf %s "$HOST_PATH" > /sys/module/firmware_class/parameters/path || failed
fi
"""


def worker_pod(action: str, entry: Object, node: Object, worker_image: str) -> Object:
    """The pod that loads or unloads: copies the files out of the image, then calls modprobe -d (facts.md)."""
    config, probe = entry["config"], entry["config"]["modprobe"]
    root, kernel, firmware = probe.get("dirName", "/opt"), config["kernelVersion"], probe.get("firmwarePath", "")
    copy = f"mkdir -p /tmp{root}/lib/modules && cp -R {root}/lib/modules/{kernel} /tmp{root}/lib/modules/"
    if firmware:
        copy += f" && mkdir -p /tmp{firmware} && cp -R {firmware}/. /tmp{firmware}/"
    loading = action == "Load"
    extra = probe.get("args", {}).get("load" if loading else "unload", [])
    arguments = ["-d", f"/tmp{root}", *([] if loading else ["-r"]), *extra, probe.get("moduleName", "")]
    script = WORKER + (LOAD if loading else "") + 'modprobe "$@" || failed'
    environment = {
        "MODULE": probe.get("moduleName", "").replace("-", "_"),
        "REMOVE": " ".join(config.get("inTreeModulesToRemove", [])),
        "FIRMWARE": firmware,
        "HOST_PATH": FIRMWARE,
    }
    shared = {"name": "tmp", "mountPath": "/tmp"}
    mounts = [shared, {"name": "host-modules", "mountPath": "/lib/modules", "readOnly": True}]
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}, _host("host-modules", "/lib/modules", "Directory")]
    if firmware:
        mounts.append({"name": "firmware", "mountPath": "/firmware"})
        volumes.append(_host("firmware", FIRMWARE, "DirectoryOrCreate"))
    worker = {
        "name": "worker",
        "image": worker_image,
        "command": ["/bin/sh", "-c", script, "worker"],
        "args": [*arguments, *(probe.get("parameters", []) if loading else [])],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "securityContext": {"privileged": True},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    extractor = {
        "name": "image-extractor",
        "image": config["containerImage"],
        "imagePullPolicy": config["imagePullPolicy"],
        "command": ["/bin/sh", "-c", copy],
        "volumeMounts": [shared],
    }
    return {
        "metadata": {
            "name": f"kmm-worker-{node['metadata']['name']}-{entry['name']}",
            "namespace": entry["namespace"],
            "labels": {
                "app.kubernetes.io/name": "kmm",
                "app.kubernetes.io/component": "worker",
                MODULE: entry["name"],
                ACTION: action,
            },
            "annotations": {CONFIG: json.dumps(entry, sort_keys=True), BOOT: boot_id(node)},
        },
        "spec": {
            "nodeName": node["metadata"]["name"],
            "restartPolicy": "OnFailure",
            "dnsPolicy": "Default",
            "automountServiceAccountToken": False,
            "serviceAccountName": entry["serviceAccountName"],
            "initContainers": [extractor],
            "containers": [worker],
            "imagePullSecrets": [entry["imageRepoSecret"]] if "imageRepoSecret" in entry else [],
            "tolerations": entry.get("tolerations", []) + PRESSURE,
            "volumes": volumes,
        },
    }


def _host(name: str, path: str, kind: str) -> Object:
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def worker_task(pod: Object) -> tuple[str, Object, str]:
    """Action, entry and boot id that a worker pod was made for."""
    meta = pod["metadata"]
    return meta["labels"][ACTION], json.loads(meta["annotations"][CONFIG]), meta["annotations"][BOOT]


def next_action(entry: Object | None, status: Object | None, boot: str) -> tuple[str, Object] | None:
    """What a node needs: a load, an unload (also before a load with another configuration), or nothing."""
    if status and not (entry and in_sync(entry, status)):
        return "Unload", status
    if entry and (status is None or status.get("bootId") != boot):
        return "Load", entry
    return None


def device_plugin(module: Object) -> Object:
    """Module.spec.devicePlugin as a DaemonSet; facts.md: always privileged, without ports or probes."""
    name, namespace = module["metadata"]["name"], module["metadata"]["namespace"]
    plugin = module["spec"]["devicePlugin"]
    labels = {MODULE: name, f"{DOMAIN}/role": "device-plugin"}
    sockets = "/var/lib/kubelet/device-plugins"
    container = plugin["container"] | {
        "name": "device-plugin",
        "securityContext": {"privileged": True},
        "volumeMounts": [
            *plugin["container"].get("volumeMounts", []),
            {"name": "kubelet-device-plugins", "mountPath": sockets},
        ],
    }
    spec = {
        "containers": [container],
        "nodeSelector": {ready_label(namespace, name): ""},
        "priorityClassName": "system-node-critical",
        "serviceAccountName": plugin.get("serviceAccountName", "default"),
        "imagePullSecrets": [module["spec"]["imageRepoSecret"]] if "imageRepoSecret" in module["spec"] else [],
        "tolerations": module["spec"].get("tolerations", []) + PRESSURE,
        "volumes": [*plugin.get("volumes", []), _host("kubelet-device-plugins", sockets, "Directory")],
    }
    suffix = hashlib.sha256(module["metadata"]["uid"].encode()).hexdigest()[:5]
    return {
        "metadata": {"name": f"{name}-device-plugin-{suffix}", "namespace": namespace, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }

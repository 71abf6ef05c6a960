# SPDX-License-Identifier: Apache-2.0
"""Every name, label and image reference, derived from the filled definition. Pure. PRIVATE to this collection."""

from __future__ import annotations

import re
import typing as t
from decimal import Decimal

Json = t.Dict[str, t.Any]

OURS = "accelerator-"  # the value of app.kubernetes.io/managed-by starts so on what this collection made
PLAYBOOK = f"{OURS}playbook"
OPERATOR = f"{OURS}operator"

LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
BY_KMM = "kmm.node.kubernetes.io/module.name"  # on the pods of the DaemonSet that KMM makes
CONTENT_KEY = "io.github.ecosystem-edge.content-key"

NFD_PACKAGE, NFD = "nfd", "openshift-nfd"
KMM_PACKAGE, KMM = "kernel-module-management", "openshift-kmm"

KERNEL = "${KERNEL_FULL_VERSION}"
_TENS = {letter: Decimal(10) ** (3 * power) for power, letter in enumerate("num kMGTPE", -3)}
_SUFFIXES = {**_TENS, "": Decimal(1), **{f"{letter}i": Decimal(1024) ** n for n, letter in enumerate("KMGTPE", 1)}}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i|))", re.ASCII)
KUBELET_PLUGINS, KUBELET_PODS = "/var/lib/kubelet/device-plugins", "/var/lib/kubelet/pod-resources"
METRICS_PORT = "metrics"
DEVICE_PLUGIN_PORT = 9400
OPERATOR_PORT = 8080
OPERATOR_HEALTH_PORT = 8081


def driver(definition: Json) -> str:
    """The service account of KMM's workers."""
    return f"{definition['name']}-driver"


def driver_build(definition: Json) -> str:
    """What builds the driver in the cluster."""
    return f"{definition['name']}-driver-build"


def device_plugin(definition: Json) -> str:
    return f"{definition['name']}-device-plugin"


def consumer(definition: Json) -> str:
    return f"{definition['name']}-consumer"


def operator(definition: Json) -> str:
    return f"{definition['name']}-operator"


def dashboard(definition: Json) -> str:
    return f"{definition['name']}-dashboard"


def install_record(definition: Json) -> str:
    """The ConfigMap beside NFD or KMM that says who needs it."""
    return f"accelerator-user-{definition['name']}"


def hardware_labels(definition: Json) -> t.Dict[str, str]:
    """What nodes with the hardware are labelled with: by our NodeFeatureRule, or by the user."""
    given = definition["hardware"].get("node_label")
    return dict(given) if given else {f"feature.node.kubernetes.io/{definition['name']}.present": "true"}


def selector(definition: Json) -> t.Dict[str, str]:
    """Where the driver goes: candidates that have the hardware."""
    return {**definition["nodes"], **hardware_labels(definition)}


def matching(definition: Json, nodes: t.Iterable[Json]) -> t.List[str]:
    """The names of those nodes (as in accelerator_facts) that the selector selects."""
    wanted = selector(definition)
    return sorted(
        node["name"] for node in nodes if all(node["labels"].get(key) == value for key, value in wanted.items())
    )


def tolerations(definition: Json) -> t.List[Json]:
    """As Kubernetes takes them: without the fields that are left out."""
    return [{key: value for key, value in one.items() if value is not None} for one in definition["tolerations"]]


def ready_label(definition: Json) -> str:
    """KMM puts it on a node when the driver is loaded there."""
    return f"kmm.node.kubernetes.io/{definition['namespace']}.{definition['name']}.ready"


def version_ready_label(definition: Json) -> str:
    """Its value is the version of the driver that is loaded."""
    return f"{ready_label(definition).removesuffix('.ready')}.version.ready"


def version_label(definition: Json) -> str:
    """KMM loads only the version that this label on the node names."""
    return f"kmm.node.kubernetes.io/version-module.{definition['namespace']}.{definition['name']}"


def labels(definition: Json, name: str, component: str, manager: str = PLAYBOOK) -> t.Dict[str, str]:
    return {
        LABEL_NAME: name,
        LABEL_INSTANCE: definition["name"],
        LABEL_COMPONENT: component,
        LABEL_PART_OF: definition["name"],
        LABEL_MANAGED_BY: manager,
    }


def pod_selector(definition: Json, name: str) -> t.Dict[str, str]:
    """Never changes, as a workload's selector must not."""
    return {LABEL_NAME: name, LABEL_INSTANCE: definition["name"]}


def plugin_labels(definition: Json) -> t.Dict[str, str]:
    """On the device plugin's pods, whoever makes its DaemonSet."""
    if definition["device_plugin"]["deploy"] == "own":
        return pod_selector(definition, device_plugin(definition))
    return {BY_KMM: definition["name"]}


def repository(definition: Json, component: str) -> str:
    """Where an image is pushed to, without a tag. component: driver, device_plugin, operator, consumer."""
    return f"{definition['images']['registry']}/{definition['name']}-{component.replace('_', '-')}"


def driver_tag(definition: Json) -> str:
    """May hold the kernel's placeholder, which KMM and for_kernel() replace."""
    return f"{definition['driver']['version']}-{KERNEL}"


def driver_image(definition: Json) -> str:
    """The driver's reference for all kernels: the given one, or where we build it."""
    return definition["images"]["driver"] or f"{repository(definition, 'driver')}:{driver_tag(definition)}"


def for_kernel(template: str, kernel: str) -> str:
    """A reference or a tag for one kernel, as KMM makes it: `_` for what a tag may not hold."""
    return template.replace(KERNEL, re.sub(r"[^A-Za-z0-9_.-]", "_", kernel))


def driver_for_kernel(template: str, kernel: str) -> str:
    """The driver's reference or tag for one kernel: KMM leaves out a `+` at the end, which others have."""
    return for_kernel(template, kernel.removesuffix("+"))


def mirrored(reference: str, mirrors: t.Mapping[str, str]) -> str:
    """A reference as it is reached from here: the longest source that it starts with gives way to its mirror."""
    if any(reference.startswith(f"{target}/") for target in mirrors.values()):
        return reference
    for source in sorted(mirrors, key=len, reverse=True):
        ends = "[/:@]" if "/" in source else "/"  # of a host alone, a port would make another
        if re.match(re.escape(source) + ends, reference):
            return mirrors[source] + reference[len(source) :]
    return reference


def count(quantity: t.Any) -> int:
    """A whole number of things as Kubernetes writes it: 1000 devices are "1k".

    A kubelet writes few of the forms; whoever edits a Node's status by hand may write any.
    """
    match = _QUANTITY.fullmatch(str(quantity))
    if not match:
        raise ValueError(f"no quantity: {quantity!r}")
    number, exponent, suffix = match.groups()
    return int(Decimal(number) * Decimal(10) ** int(exponent or 0) * _SUFFIXES[suffix or ""])


def offered(definition: Json) -> t.Optional[int]:
    """How many of the resource a node should offer: every device as often as it is shared. None: at least one."""
    number = definition["devices"]["count"]
    return number and number * definition["device_plugin"]["replicas"]


def state_file(definition: Json) -> str:
    """In the one folder of the node's disk that the plugin may write anyway; a kubelet removes only sockets there."""
    return f"{KUBELET_PLUGINS}/{definition['resource'].replace('/', '_')}.state.json"


def left_on_nodes(definition: Json) -> t.List[str]:
    """Files that no teardown removes, since nothing of ours runs on a node by then."""
    plugin = definition["device_plugin"]
    spec = f"{plugin['cdi_dir']}/{definition['resource'].replace('/', '_')}.json"
    return [*([state_file(definition)] if plugin["remember"] else []), *([spec] if plugin["cdi_dir"] else [])]


def env_prefix(definition: Json) -> str:
    """Containers find their devices in variables <prefix>_<id>."""
    return definition["name"].replace("-", "_")


def nfd_namespace(definition: Json, facts: Json) -> str:
    """Where NFD looks for its objects: where it is at work, or installed, or will be."""
    wanted = definition["nfd"]
    return (
        facts["nfd"]["namespace"] or wanted["namespace"] or _subscribed(facts, wanted["package"] or NFD_PACKAGE) or NFD
    )


def _subscribed(facts: Json, package: str) -> t.Optional[str]:
    return next((item["namespace"] for item in facts["olm"]["subscriptions"] if item["package"] == package), None)

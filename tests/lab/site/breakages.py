# SPDX-License-Identifier: Apache-2.0
"""Ways to break the chain from the hardware to a pod on a running lab, what is to be said of each, how it is mended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Lab

NAMESPACE, NAME, RESOURCE = "ptemplate", "ptemplate", "example.com/ptemplate"
MODULE, RULE, PLUGIN = f"module/{NAME}", f"nodefeaturerule/{NAME}", f"daemonset/{NAME}-device-plugin"
CUSTOM, OPERATOR = f"ptemplates.pt.example.com/{NAME}", f"deployment/{NAME}-operator"
PLUGIN_PODS = ("pod", "-l", f"app.kubernetes.io/name={NAME}-device-plugin")
VERSION_LABEL = f"kmm.node.kubernetes.io/version-module.{NAMESPACE}.{NAME}"
KUBELET_SOCKET = "/var/lib/kubelet/device-plugins/kubelet.sock"
TEAM, OF_NFD = "default", ("-n", "openshift-nfd")


class Ward:
    """The cluster that is broken and mended: what was there before is kept, to be applied again."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.node = lab, lab.nodes[0]
        self.kept: dict[str, Any] = {}
        self.image = self.get(PLUGIN)["spec"]["template"]["spec"]["containers"][0]["image"]

    def kubectl(self, *argv: str, check: bool = True) -> str:
        return self.lab.kubectl("-n", NAMESPACE, *argv, check=check)

    def get(self, what: str, *where: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", what, *where, "-o", "json"))

    def patch(self, what: str, patch: Any, kind: str = "merge") -> None:
        self.kubectl("patch", what, f"--type={kind}", "-p", json.dumps(patch))

    def keep(self, what: str, *where: str) -> None:
        self.kept[what] = self.get(what, *where)

    def delete(self, what: str, *where: str) -> None:
        """where: flags, for what is not in the accelerator's namespace."""
        self.keep(what, *where)
        self.kubectl("delete", what, *where, "--wait=true")

    def again(self, what: str) -> None:
        """As it was kept, but for what the API server writes."""
        item = self.kept.pop(what)
        metadata = {key: item["metadata"].get(key) for key in ("name", "namespace", "labels", "annotations")}
        whole = {key: value for key, value in item.items() if key != "status"}
        self.apply({**whole, "metadata": {key: value for key, value in metadata.items() if value}})

    def spec(self, what: str) -> None:
        """The spec as it was kept: each field that was changed is replaced."""
        self.patch(what, [{"op": "replace", "path": "/spec", "value": self.kept.pop(what)["spec"]}], "json")

    def apply(self, item: Any) -> None:
        self.lab.run("lab/lab", "kubectl", "create", "-f", "-", text=json.dumps(item))

    def ssh(self, command: str) -> str:
        return self.lab.ssh(self.node, command)

    def pod(self, name: str, devices: int, resource: str = RESOURCE, **spec: Any) -> None:
        limits = {"limits": {resource: str(devices)}} if devices else {}
        command = ["sh", "-c", "trap exit TERM; sleep 3600 & wait"]
        container = {"name": "one", "image": self.image, "command": command, "resources": limits}
        metadata = {"name": name, "namespace": TEAM}
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [container], **spec},
            }
        )

    def no_pod(self, *names: str) -> None:
        self.lab.kubectl("-n", TEAM, "delete", "pod", *names, "--ignore-not-found", "--wait=true")


@dataclass(frozen=True)
class Breakage:
    """link and said: what accelerator_explain is to answer, for the pod if one is given, else for the node.

    A link that leads to the next has both, with a stroke between them. soak: takes minutes, or breaks a link that
    another breaks faster, so that it belongs to make soak.
    """

    name: str
    link: str
    said: str
    do: Callable[[Ward], Any]
    undo: Callable[[Ward], Any]
    pod: str = ""
    soak: bool = False


def _container(ward: Ward, **fields: Any) -> None:
    """Of the Module."""
    ward.keep(MODULE)
    ward.patch(MODULE, {"spec": {"moduleLoader": {"container": fields}}})


def _spec(what: str, spec: Any) -> Callable[[Ward], None]:
    def change(ward: Ward) -> None:
        ward.keep(what)
        ward.patch(what, {"spec": spec})

    return change


def _undo(what: str) -> Callable[[Ward], None]:
    return lambda ward: ward.spec(what)


def _plugin(container: Any) -> Callable[[Ward], None]:
    def change(ward: Ward) -> None:
        ward.keep(PLUGIN)
        path = "/spec/template/spec/containers/0"
        ward.patch(
            PLUGIN, [{"op": "replace", "path": f"{path}/{key}", "value": v} for key, v in container.items()], "json"
        )
        ward.kubectl("delete", *PLUGIN_PODS, "--wait=true")

    return change


def _no_image(ward: Ward) -> None:
    mapping = ward.get(MODULE)["spec"]["moduleLoader"]["container"]["kernelMappings"][0]
    _container(ward, kernelMappings=[{**mapping, "containerImage": mapping["containerImage"] + "-none"}])


def _image_again(ward: Ward) -> None:
    ward.spec(MODULE)
    ward.kubectl(
        "delete", "pod", "-l", "kmm.node.kubernetes.io/pull-pod-type", "--wait=true"
    )  # the lab's KMM leaves it


def _quota(ward: Ward) -> None:
    ward.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none-left", "namespace": NAMESPACE},
            "spec": {"hard": {"pods": "0"}},
        }
    )
    ward.kubectl("delete", *PLUGIN_PODS, "--wait=true")


def _remove_device_node(ward: Ward) -> None:
    ward.ssh("rm /dev/ptemplate-3")


def _make_device_node(ward: Ward) -> None:
    """By the driver: one that mknod made would stay when the device goes."""
    ward.ssh("cd /sys/kernel/debug/ptemplate/ptemplate-3 && echo removed > fault && echo none > fault")


def _no_kubelet_socket(ward: Ward) -> None:
    """A plugin that is there already goes on; a new one finds nobody to register with."""
    ward.ssh(f"rm {KUBELET_SOCKET}")
    ward.kubectl("delete", *PLUGIN_PODS, "--wait=true")


def _rejected(ward: Ward) -> None:
    """Given to the node without the scheduler, which would have let it wait."""
    ward.pod("greedy", 6, nodeName=ward.node, restartPolicy="Never")


def _hold_all(ward: Ward) -> None:
    ward.pod("holder", 5)
    ward.lab.kubectl("-n", TEAM, "wait", "pod/holder", "--for=condition=Ready", "--timeout=120s")
    ward.pod("late", 1)


def _taint(ward: Ward) -> None:
    """The driver stays, since the Module tolerates it: only pods are kept away."""
    ward.keep(MODULE)
    ward.patch(MODULE, {"spec": {"tolerations": [{"key": "team", "operator": "Exists"}]}})
    ward.kubectl("taint", "node", ward.node, "team=a:NoSchedule")


def _untaint(ward: Ward) -> None:
    ward.kubectl("taint", "node", ward.node, "team-")
    ward.spec(MODULE)


def _unheard(ward: Ward) -> None:
    """The operator is away: nobody acts on a change of the custom resource."""
    ward.keep(CUSTOM)
    ward.patch(CUSTOM, {"spec": {"requiredDevices": 1}})


def _heard(ward: Ward) -> None:
    ward.spec(CUSTOM)
    ward.kubectl("scale", OPERATOR, "--replicas=1")
    ward.kubectl("wait", CUSTOM, "--for=condition=Ready", "--timeout=300s")


def _pods(*names: str) -> Callable[[Ward], None]:
    return lambda ward: ward.no_pod(*names)


# Cheap ones first; those that reload the driver, then the kubelet, then the one that brings the operator back.
BREAKAGES = (
    Breakage(
        "pod with a misspelt resource",
        "capacity",
        "no node has it",
        lambda w: w.pod("typo", 1, "example.com/ptemplat"),
        _pods("typo"),
        "typo",
    ),
    Breakage(
        "pod that wants more than a node has", "allocatable", "^6$", lambda w: w.pod("big", 6), _pods("big"), "big"
    ),
    Breakage(
        "pod that selects no node with devices",
        "selector",
        "disk=ssd",
        lambda w: w.pod("picky", 1, nodeSelector={"disk": "ssd"}),
        _pods("picky"),
        "picky",
    ),
    Breakage(
        "pod that asks for no device",
        "pod",
        "no device",
        lambda w: w.pod("modest", 0, nodeSelector={"disk": "ssd"}),
        _pods("modest"),
        "modest",
    ),
    Breakage(
        "all devices are held",
        "allocatable",
        r"1 wanted, 0 free on \S+; held by default/holder \(5\)",
        _hold_all,
        _pods("holder", "late"),
        "late",
    ),
    Breakage("pod rejected by the kubelet", "pod", "example.com/ptemplate", _rejected, _pods("greedy")),
    Breakage("device node deleted", "device_nodes", "3: NodeMissing", _remove_device_node, _make_device_node),
    Breakage(
        "driver says that a device failed",
        "device_nodes",
        "2: DriverReportsFault",
        lambda w: w.ssh("echo error > /sys/kernel/debug/ptemplate/ptemplate-2/fault"),
        lambda w: w.ssh("echo none > /sys/kernel/debug/ptemplate/ptemplate-2/fault"),
    ),
    Breakage("driver image that is not there", "image", "-none", _no_image, _image_again),
    Breakage(
        "plugin's image that is not there",
        "plugin",
        "ErrImagePull|ImagePullBackOff",
        _plugin({"image": "localhost:1/no/such:1"}),
        _undo(PLUGIN),
        soak=True,
    ),
    Breakage(
        "plugin kept off the node",
        "plugin",
        r"no pod on \S+, which lacks disk=ssd",
        _spec(PLUGIN, {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}),
        _undo(PLUGIN),
        soak=True,
    ),
    Breakage(
        "plugin's DaemonSet deleted", "plugin", "^not there", lambda w: w.delete(PLUGIN), lambda w: w.again(PLUGIN)
    ),
    Breakage(
        "namespace with a quota that is used up",
        "plugin",
        r"no pod on \S+; 0 of",
        _quota,
        lambda w: w.kubectl("delete", "resourcequota", "none-left"),
        soak=True,
    ),
    Breakage(
        "kubelet's socket deleted",
        "registration",
        "false",
        _no_kubelet_socket,
        lambda w: w.ssh("systemctl restart kubelet"),
        soak=True,
    ),
    Breakage("node tainted", "taints", "team=a:NoSchedule", _taint, _untaint),
    Breakage(
        "node cordoned",
        "taints|selector",
        "unschedulable:NoSchedule",
        lambda w: w.kubectl("cordon", w.node),
        lambda w: w.kubectl("uncordon", w.node),
        soak=True,
    ),
    Breakage(
        "Module that selects other nodes",
        "selector",
        "wants disk=ssd",
        _spec(MODULE, {"selector": {"disk": "ssd"}}),
        _undo(MODULE),
        soak=True,
    ),
    Breakage(
        "version's label gone",
        "selector",
        "not there",
        lambda w: w.kubectl("label", "node", w.node, f"{VERSION_LABEL}-"),
        lambda w: w.kubectl("label", "node", w.node, f"{VERSION_LABEL}=0.1.0"),
        soak=True,
    ),
    Breakage(
        "driver that does not load",
        "loaded",
        "no_such_module|another modprobe",
        lambda w: _container(w, modprobe={"moduleName": "no_such_module"}),
        _undo(MODULE),
    ),
    Breakage(
        "Module deleted", "module", "^not there", lambda w: w.delete(MODULE), lambda w: w.again(MODULE), soak=True
    ),
    Breakage(
        "NodeFeatureRule deleted", "label", "no such rule", lambda w: w.delete(RULE, *OF_NFD), lambda w: w.again(RULE)
    ),
    Breakage(
        "kubelet stopped",
        "node",
        "stopped posting node status|not ready",
        lambda w: w.ssh("systemctl stop kubelet"),
        lambda w: w.ssh("systemctl start kubelet"),
        soak=True,
    ),
    Breakage(
        "custom resource that nobody acts on",
        "custom_resource",
        r"of generation \d+; operator: no pod of it",
        _unheard,
        _heard,
    ),
)

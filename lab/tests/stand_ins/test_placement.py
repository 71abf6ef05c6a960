# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from stand_ins.placement import images_spec, next_action, node_entry, placed, targets, worker_pod

NODE: dict[str, Any] = {
    "metadata": {"name": "worker-1", "labels": {"accelerator": "present"}},
    "spec": {},
    "status": {"nodeInfo": {"kernelVersion": "6.1.0-9-amd64", "bootID": "boot-1"}},
}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
SOFT = {"key": "busy", "effect": "PreferNoSchedule"}


def module(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    mapping = {"regexp": "^6", "containerImage": "r/d:1-${KERNEL_FULL_VERSION}-${MOD_NAMESPACE}.${MOD_NAME}-${OTHER}"}
    loader = {"kernelMappings": [mapping], "modprobe": {"moduleName": "driver"}, **(container or {})}
    spec = {"selector": {"accelerator": "present"}, "moduleLoader": {"container": loader}, **spec}
    return {"metadata": {"name": "m", "namespace": "ns", "uid": "1"}, "spec": spec}


def entry(**container: Any) -> dict[str, Any]:
    made = node_entry(module(container), NODE)
    assert made
    return made


@pytest.mark.parametrize(
    ("taints", "spec", "expected"),
    [
        ([], {}, True),
        ([], {"selector": {"accelerator": "other"}}, False),
        ([CORDON], {}, False),
        ([PRESSURE], {}, True),
        ([SOFT], {}, True),
        ([CORDON], {"tolerations": [{"key": CORDON["key"], "operator": "Exists"}]}, True),
        ([CORDON], {"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}, False),
        ([{**CORDON, "value": "a"}], {"tolerations": [{"key": CORDON["key"], "value": "a"}]}, True),
        ([{**CORDON, "value": "a"}], {"tolerations": [{"key": CORDON["key"], "value": "b"}]}, False),
    ],
)
def test_targets(taints: list[dict[str, str]], spec: dict[str, Any], expected: bool) -> None:
    node = NODE | {"spec": {"taints": taints}}
    assert (targets(module(**spec), [node]) == [node]) is expected


def test_variables_in_an_image() -> None:
    assert entry()["config"]["containerImage"] == "r/d:1-6.1.0-9-amd64-ns.m-${OTHER}"


@pytest.mark.parametrize(
    ("mappings", "image"),
    [
        ([{"literal": "6.1.0-9-amd64", "containerImage": "a:1"}, {"regexp": ".", "containerImage": "b:1"}], "a:1"),
        ([{"literal": "6.1.0", "containerImage": "a:1"}, {"regexp": ".", "containerImage": "b:1"}], "b:1"),
        ([{"regexp": "el9", "containerImage": "a:1"}], None),
    ],
)
def test_mappings(mappings: list[dict[str, str]], image: str | None) -> None:
    made = node_entry(module({"kernelMappings": mappings}), NODE)
    assert (made["config"]["containerImage"] if made else None) == image


def test_insecure_registries() -> None:
    assert entry(registryTLS={"insecure": True})["config"]["insecurePull"] is True
    assert entry()["config"]["insecurePull"] is False
    tls = {"insecure": True}
    spec = images_spec(module({"registryTLS": tls}), [entry()])
    assert [image["registryTLS"] for image in spec["images"]] == [tls]


@pytest.mark.parametrize(
    ("version", "label", "states", "expected"),
    [
        ("", None, {"d:1": "Exists"}, "wanted"),
        ("", None, {}, "seen"),  # the image is not there yet
        ("1.0", None, {"d:1": "Exists"}, None),
        ("1.0", "1.0", {"d:1": "Exists"}, "wanted"),
        ("1.0", "0.9", {"d:1": "Exists"}, "seen"),
    ],
)
def test_placed(version: str, label: str | None, states: dict[str, str], expected: str | None) -> None:
    labels = {"kmm.node.kubernetes.io/version-module.ns.m": label} if label else {}
    node = NODE | {"metadata": {"name": "worker-1", "labels": labels}}
    wanted = {"namespace": "ns", "name": "m", "config": {"containerImage": "d:1"}} | (
        {"version": version} if version else {}
    )
    seen = {"name": "what is there"}
    assert placed(wanted, node, seen, states) == {"wanted": wanted, "seen": seen, None: None}[expected]


def status(boot: str, **container: Any) -> dict[str, Any]:
    return entry(**container) | {"bootId": boot}


OTHER = {"modprobe": {"moduleName": "driver", "parameters": ["count=6"]}}


@pytest.mark.parametrize(
    ("wanted", "seen", "expected"),
    [
        (entry(), None, "Load"),
        (entry(), status("boot-1"), None),
        (entry(), status("boot-0"), "Load"),  # a boot has unloaded it
        (entry(), status("boot-1", **OTHER), "Unload"),  # the load follows when this is done
        (None, status("boot-1"), "Unload"),
        (None, None, None),
    ],
)
def test_next_action(wanted: dict[str, Any] | None, seen: dict[str, Any] | None, expected: str | None) -> None:
    action = next_action(wanted, seen, "boot-1")
    assert (action[0] if action else None) == expected


def test_a_loading_worker() -> None:
    probe = {
        "moduleName": "driver",
        "parameters": ["text=two words"],
        "firmwarePath": "/firmware",
        "args": {"load": ["-v"]},
    }
    made = worker_pod("Load", entry(modprobe=probe, inTreeModulesToRemove=["old", "older"]), NODE, "worker:1")
    [worker], [copy] = made["spec"]["containers"], made["spec"]["initContainers"]
    assert worker["args"] == ["-d", "/tmp/opt", "-v", "driver", "text=two words"]
    assert {e["name"]: e["value"] for e in worker["env"]}["REMOVE"] == "old older"
    assert "cp -R /opt/lib/modules/6.1.0-9-amd64 /tmp/opt/lib/modules/" in copy["command"][-1]
    assert "cp -R /firmware/. /tmp/firmware/" in copy["command"][-1]
    assert made["spec"]["nodeName"] == "worker-1"


def test_an_unloading_worker() -> None:
    probe = {"moduleName": "driver", "parameters": ["text=two words"], "dirName": "/srv"}
    made = worker_pod("Unload", entry(modprobe=probe, inTreeModulesToRemove=["old"]), NODE, "worker:1")
    [worker] = made["spec"]["containers"]
    assert worker["args"] == ["-d", "/tmp/srv", "-r", "driver"]
    assert "REMOVE" not in worker["command"][2], "what was in the way is not removed again"


def test_a_kernel_whose_name_no_tag_may_hold() -> None:
    node = {**NODE, "status": {"nodeInfo": {"kernelVersion": "6.12.1+deb12-amd64+"}}}
    made = node_entry(module(), node)
    assert made
    assert made["config"]["kernelVersion"] == "6.12.1+deb12-amd64"
    assert made["config"]["containerImage"] == "r/d:1-6.12.1_deb12-amd64-ns.m-${OTHER}"

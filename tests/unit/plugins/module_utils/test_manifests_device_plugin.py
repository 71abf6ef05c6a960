# SPDX-License-Identifier: Apache-2.0
"""The device plugin's pod, by our DaemonSet or by KMM's."""

from __future__ import annotations

import pytest
from definitions import kinds, of, render, widget


def test_the_device_plugin_runs_where_the_driver_is_ready() -> None:
    spec = of(render("device_plugin", widget()), "DaemonSet")["spec"]
    assert spec["template"]["spec"]["nodeSelector"] == {"kmm.node.kubernetes.io/widget.widget.ready": ""}
    assert spec["template"]["spec"]["tolerations"] == [{"operator": "Exists"}]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["args"] == [
        "--resource=acme.example/widget",
        "--device-glob=/dev/widget-*",
        "--env-prefix=widget",
        "--permissions=rw",
        "--interval=5",
        "--http-port=9400",
        "--root=/host",
        "--pod-resources=/var/lib/kubelet/pod-resources/kubelet.sock",
    ]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts == {
        "/var/lib/kubelet/device-plugins": False,
        "/host/dev": True,
        "/var/lib/kubelet/pod-resources": True,
    }


def test_who_wants_no_names_of_pods_told_takes_the_mount_away() -> None:
    template = of(render("device_plugin", widget(device_plugin={"pods": False})), "DaemonSet")["spec"]["template"]
    assert "pod-resources" not in str(template)


@pytest.mark.parametrize(
    ("given", "flags", "mounts"),
    [
        ({"pre_start": "look"}, ["--pre-start=look"], {}),
        (
            {"pre_start": "reset", "reset_file": "device/reset"},
            ["--pre-start=reset", "--reset-file=device/reset", "--sysfs=/host/sys"],
            {"/host/sys/devices": ("/sys/devices", True), "/host/sys/dev": ("/sys/dev", False)},
        ),
    ],
)
def test_what_is_done_before_a_container_starts(
    given: dict[str, str], flags: list[str], mounts: dict[str, tuple[str, bool]]
) -> None:
    """The node's sysfs is there for a reset alone, and only the devices' part of it is writable."""
    plain = of(render("device_plugin", widget()), "DaemonSet")["spec"]["template"]["spec"]
    spec = of(render("device_plugin", widget(device_plugin=given)), "DaemonSet")["spec"]["template"]["spec"]
    assert [flag for flag in spec["containers"][0]["args"] if flag not in plain["containers"][0]["args"]] == flags
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"]}
    more = [mount for mount in spec["containers"][0]["volumeMounts"] if "sys" in mount["name"]]
    seen = {mount["mountPath"]: (paths[mount["name"]], not mount.get("readOnly")) for mount in more}
    assert seen == mounts


def test_the_device_plugin_asks_the_driver_how_a_device_is() -> None:
    health = {"file": "health", "words": ["ok", "warm"], "serial_file": "unit/serial", "silence": 30, "probe": "open"}
    definition = widget(health=health, device_plugin={"deploy": "kmm"})
    container = of(render("kmm", definition), "Module")["spec"]["devicePlugin"]["container"]
    assert container["args"][-6:-1] == [
        "--health-file=health",
        "--health-words=ok,warm",
        "--serial-file=unit/serial",
        "--silence=30",
        "--probe=open",
    ]


def test_kmm_can_run_the_device_plugin_instead() -> None:
    definition = widget(device_plugin={"deploy": "kmm"})
    assert kinds(render("device_plugin", definition)) == ["ServiceAccount"]
    plugin = of(render("kmm", definition), "Module")["spec"]["devicePlugin"]
    own = of(render("device_plugin", widget()), "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    assert plugin["container"]["args"] == own["args"]
    assert [mount["name"] for mount in plugin["container"]["volumeMounts"]] == ["dev", "pods"]
    assert [volume["name"] for volume in plugin["volumes"]] == ["dev", "pods"]


@pytest.mark.parametrize("deploy", ["own", "kmm"])
def test_sharing_cdi_and_memory_are_the_definition_s(deploy: str) -> None:
    given = {"replicas": 4, "prefer": "spread", "cdi_dir": "/var/run/cdi", "remember": True, "pods": False}
    definition = widget(device_plugin={"deploy": deploy, **given})
    if deploy == "own":
        spec = of(render("device_plugin", definition), "DaemonSet")["spec"]["template"]["spec"]
        (container,), volumes = spec["containers"], spec["volumes"]
    else:
        plugin = of(render("kmm", definition), "Module")["spec"]["devicePlugin"]
        container, volumes = plugin["container"], plugin["volumes"]
    assert container["args"][-4:] == [
        "--replicas=4",
        "--prefer=spread",
        "--cdi-dir=/var/run/cdi",
        "--state-file=/var/lib/kubelet/device-plugins/acme.example_widget.state.json",
    ]
    # The state needs no mount of its own, so that nothing more of the node is writable than without it.
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    kubelet = {"/var/lib/kubelet/device-plugins"} if deploy == "own" else set()
    assert writable == {"/var/run/cdi"} | kubelet
    host_paths = {volume["hostPath"]["path"]: volume["hostPath"]["type"] for volume in volumes}
    assert host_paths == {"/dev": "Directory", "/var/run/cdi": "DirectoryOrCreate"} | dict.fromkeys(
        kubelet, "Directory"
    )

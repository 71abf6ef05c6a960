# SPDX-License-Identifier: Apache-2.0
"""The whole way in both modes, with the shipped example and with an accelerator that the collection has never seen.

The second comes while the kubelets still wait for the first's plugin to return, which takes them five minutes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab, Play, wait_for
from desk import EXAMPLE, WIDGET, Desk
from snapshot import difference, snapshot

SITE, TEARDOWN = "playbooks/site.yml", "playbooks/teardown.yml"
TOLERATION = {"key": "acme.test/kept-for", "value": "accelerators", "effect": "NoSchedule"}
WORDS = "board 7 does not answer"
# What the plugin is told besides; the drivers of others have no attribute for a reset.
PLUGIN = {EXAMPLE: {"pre_start": "reset"}}
# Definition, who manages, and what the devices of a node are.
CASES = [
    pytest.param(EXAMPLE, "playbook", ("example.com/ptemplate", 5), id="ptemplate by playbook"),
    pytest.param(WIDGET, "operator", ("acme.test/widget", 2), id="widget by operator"),
]


class Departures:
    """Teardowns under way."""

    def __init__(self, lab: Lab, pool: ThreadPoolExecutor) -> None:
        self._lab, self._pool = lab, pool
        self.plays: list[Future[Play]] = []

    def begin(self, desk: Desk, mode: str) -> None:
        """Returns when nothing of the accelerator is left but its resource's name on the nodes."""
        play = self._pool.submit(desk.play, TEARDOWN, managed_by=mode)
        self.plays.append(play)
        namespace = ("get", "namespace", desk.accelerator["name"], "--ignore-not-found", "-o", "name")
        wait_for("the namespace is gone", lambda: play.done() or not self._lab.kubectl(*namespace), 900)


@contextmanager
def kept_for_accelerators(lab: Lab) -> Iterator[None]:
    """A taint on every node, which unloads a driver that does not tolerate it. KMM looks for no image meanwhile."""
    lab.kubectl("taint", "nodes", "--all", "{key}={value}:{effect}".format(**TOLERATION))
    try:
        yield
    finally:
        lab.kubectl("taint", "nodes", "--all", f"{TOLERATION['key']}-")


@pytest.fixture(scope="module")
def departures(lab: Lab, empty: dict[str, Any]) -> Iterator[Departures]:
    with ThreadPoolExecutor() as pool:
        yield Departures(lab, pool)


@pytest.mark.parametrize(("example", "mode", "devices"), CASES)
def test_from_a_driver_that_does_not_load_to_its_departure(
    lab: Lab,
    departures: Departures,
    tmp_path: Path,
    say: Callable[[str], None],
    example: Path,
    mode: str,
    devices: tuple[str, int],
) -> None:
    """The driver's words in the kernel's log end the play; mended, it completes; then idempotent, then going."""
    resource, count = devices
    desk = Desk(lab, tmp_path / "desk", example)
    version = desk.accelerator["driver"].get("version", "0.1.0")
    source = {path: path.read_text() for path in desk.driver.rglob("*.c")}
    desk.accelerator["device_plugin"] = PLUGIN.get(example, {})
    desk.accelerator["tolerations"] = [TOLERATION]
    desk.refuse_to_load(WORDS)
    desk.version("0.0.1")
    broken = desk.play(SITE, managed_by=mode)
    assert WORDS in broken.complaint, broken.complaint
    assert "No such device" in broken.complaint, broken.complaint

    for path, text in source.items():
        path.write_text(text)
    desk.version(version)
    mended = desk.play(SITE, managed_by=mode).ok()
    assert lab.allocatable(resource) == count * len(lab.nodes)
    operators = [name for name in lab.kubectl("get", "deployments", "-A", "-o", "name").split() if "-operator" in name]
    assert len(operators) == (mode == "operator"), operators

    with kept_for_accelerators(lab):
        second = desk.play(SITE, managed_by=mode).ok()
    assert second.recap["changed"] == 0
    if example in PLUGIN:
        no_container_sees_what_another_left(lab, resource, desk.accelerator)
    departures.begin(desk, mode)
    say(
        f"{desk.definition.stem} by {mode}: told after {broken.seconds:.0f} s that the driver does not load, "
        f"mended in {mended.seconds:.0f} s, second run {second.seconds:.0f} s"
    )


def test_nothing_is_left_of_any(lab: Lab, empty: dict[str, Any], departures: Departures) -> None:
    assert len(departures.plays) == len(CASES)
    for play in departures.plays:
        play.result().ok()
    assert difference(empty, snapshot(lab)) == []


def no_container_sees_what_another_left(lab: Lab, resource: str, accelerator: dict[str, Any]) -> None:
    """Pods that take all devices which the consumer leaves free on its node, one after the other."""
    free = accelerator["devices"]["count"] - accelerator["consumer"]["devices"]
    plugin = lab.get("daemonset", f"{accelerator['name']}-device-plugin", "-n", accelerator["name"])
    glob = accelerator["devices"]["glob"]
    (consumer,) = lab.get("pods", "-n", accelerator["name"], "-l", "app.kubernetes.io/component=consumer")["items"]
    for name in ("tenant-1", "tenant-2"):
        container = {
            "name": "one",
            "image": plugin["spec"]["template"]["spec"]["containers"][0]["image"],
            "command": ["sh", "-ec", f"cat {glob}; for device in {glob}; do echo left by {name} > $device; done"],
            "resources": {"limits": {resource: str(free)}},
            "securityContext": {"runAsUser": 0},
        }
        spec = {"restartPolicy": "Never", "nodeName": consumer["spec"]["nodeName"], "containers": [container]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        lab.run("lab/lab", "kubectl", "create", "-f", "-", text=json.dumps(pod))
        try:
            done = "--for=jsonpath={.status.phase}=Succeeded"
            lab.kubectl("wait", f"pod/{name}", "-n", "default", done, "--timeout=120s")
            seen = lab.kubectl("logs", name, "-n", "default")
        finally:
            lab.kubectl("delete", "pod", name, "-n", "default", "--wait=true")
        assert seen == accelerator["driver"]["parameters"]["default_msg"] * free


def test_the_other_accelerators_definition_is_short() -> None:
    lines = [line for line in WIDGET.read_text().splitlines() if line.strip() not in ("", "---")]
    assert len(lines) < 15


def test_the_other_accelerator_is_nowhere_in_what_ships() -> None:
    root = EXAMPLE.parents[2]
    shipped = [path for folder in ("roles", "plugins", "files", "playbooks") for path in (root / folder).rglob("*")]
    named = [path for path in shipped if path.suffix in {".py", ".yml", ".yaml", ".j2", ".c", ".h"}]
    assert named
    assert [path for path in named if re.search(r"gadget|acme\.test|things\.acme", path.read_text(), re.I)] == []

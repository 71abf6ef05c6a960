# SPDX-License-Identifier: Apache-2.0
"""A drill against a node that is played: what is measured, what is left of it, and what is refused before anything."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _drill_run
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import ClusterError, Refused
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill import outcome
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill_run import Drill
from ansible_collections.ecosystem_edge.accelerator.plugins.modules import accelerator_drill as module
from definitions import example

RESOURCE = "example.com/ptemplate"
PODS = "/api/v1/namespaces/ptemplate/pods"
SKEW = 5000.0  # seconds by which the node's clock is ahead


def missing() -> Refused:
    return Refused("not there", 404, "")


def ready(name: str, component: str, restarts: int = 0, **over: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": f"ptemplate-{component}"}},
        "spec": {"nodeName": "worker-1", "containers": [{"image": "plugin:1"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"restartCount": restarts}],
        },
        **over,
    }


class Cluster:
    """One node. The plugin notices at once, the node's number follows `lag` looks later."""

    def __init__(self, **over: Any) -> None:
        self.lag, self.notices, self.consumer_notices, self.dumb, self.starts = 2, True, False, False, True
        self.fault, self.looks, self.restarts = False, 0, 0
        self.pods: dict[str, Any] = {}
        self.made: list[str] = []
        self.deleted = threading.Event()
        self.requests = 0
        self.node_there, self.registered, self.allocatable = True, True, 5
        self.since = "2026-01-01T00:00:00.000+00:00"
        self.__dict__.update(over)

    def get(self, path: str, **_query: Any) -> Any:
        if path == "/api/v1/nodes/worker-1" and self.node_there:
            self.looks = self.looks + 1 if self.fault else 0
            seen = self.allocatable - (1 if self.looks > self.lag and self.notices else 0)
            counts = {"capacity": {RESOURCE: "5"}, "allocatable": {RESOURCE: str(seen)}}
            return {"status": {**counts, "conditions": [{"type": "Ready", "status": "True"}]}}
        if path.endswith(":9400/proxy/devices"):
            ill = self.fault and self.notices
            devices = [{"id": str(n), "health": "Healthy", "reason": "Present", "since": self.since} for n in range(5)]
            if ill:
                devices[4] |= {"health": "Unhealthy", "reason": "DriverReportsFault"}
            return {"registered": self.registered, "devices": devices}
        if path in self.pods:
            return self.pods[path]
        raise missing()

    def text(self, path: str, **_query: Any) -> str:
        if path.endswith("/log"):
            return "sh: cannot create fault"
        ill = 1.0 if self.fault and self.notices else 0.0
        consumers = 0 if self.fault and self.consumer_notices else 1
        return (
            f'accelerator_device_plugin_devices{{resource="{RESOURCE}",health="Unhealthy"}} {ill}\n'
            f"Ptemplate_consumers {consumers}\n"
        )

    def pages(self, path: str, **query: Any) -> Any:
        if path.endswith("/events"):
            return [{"message": "MountVolume.SetUp failed: no such folder"}], "1"
        selector = query["labelSelector"]
        if "drill" in selector:
            return list(self.pods.values()), "1"
        if "consumer" in selector:
            return [ready("consumer-1", "consumer", self.restarts)], "1"
        return [ready("operator-1" if "operator" in selector else "plugin-1", "device-plugin")], "1"

    def post(self, path: str, body: Any) -> Any:
        key = f"{path}/{body['metadata']['name']}"
        if key in self.pods:
            raise Refused("exists", 409, "")
        env = {one["name"]: one["value"] for one in body["spec"]["containers"][0]["env"]}
        self.made.append(env["INJECT"])
        clears = env["HOLD"] == "0"
        phase = "Succeeded" if clears else "Running" if self.starts else "Pending"
        self.pods[key] = {**body, "status": {"phase": phase}}
        self.deleted.clear()
        if clears:
            self.end()
        return body

    def end(self) -> None:
        self.fault = False

    def delete(self, path: str, _options: Any) -> Any:
        if self.pods.pop(path, None) is None:
            raise missing()
        self.deleted.set()

    def lines(self, _path: str, _seconds: float, **_query: Any) -> Any:
        def said(word: str) -> str:
            return f"drill {word} {time.time() + SKEW:.6f} "

        if self.dumb:
            return
        yield said("tick")
        self.since = datetime.fromtimestamp(time.time() + SKEW + 0.25, UTC).isoformat(timespec="milliseconds")
        yield said("injected")
        self.fault, self.restarts = True, 1 if self.consumer_notices else 0
        self.deleted.wait(10)
        self.end()
        yield said("cleared")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    event = threading.Event()
    monkeypatch.setattr(_drill_run, "pause", lambda _seconds: event.wait(0.002))
    monkeypatch.setattr(outcome, "patience", lambda _definition, _seen_by: 0.3)
    for name, seconds in (("READY", 0.2), ("GRACE", 0.1), ("SLACK", 0.3)):
        monkeypatch.setattr(_drill_run.pod, name, seconds)


def drill(cluster: Cluster, **over: Any) -> Drill:
    return Drill(cluster, example(**over), "worker-1")  # type: ignore[arg-type]


def test_each_milestone_by_the_nodes_clock() -> None:
    """The clocks are more than an hour apart, and no time shows it."""
    cluster = Cluster()
    row = drill(cluster).hold("error")
    assert (row["node"], row["fault"], row["devices"], row["reasons"]) == (
        "worker-1",
        "error",
        ["4"],
        ["DriverReportsFault"],
    )
    assert row["times"]["noticed"] == pytest.approx(0.25, abs=0.02), "the plugin's own word, not when we saw it"
    assert all(0 <= row["times"][name] < 1 for name in ("allocatable", "alert", "recovery"))
    assert (row["ok"], row["problems"]) == (True, [])
    assert (row["alert"], row["alert_for"]) == ("AcceleratorDeviceUnhealthy", "2m")
    assert cluster.pods == {}
    assert cluster.made == [example()["health"]["drill"]["faults"]["error"]["inject"]]


def test_a_fault_that_only_a_consumer_notices() -> None:
    row = drill(Cluster(notices=False, consumer_notices=True)).hold("corrupt")
    assert (row["ok"], row["problems"]) == (True, [])
    assert set(row["times"]) == {"noticed", "alert", "recovery"}
    assert row["alert"] == "AcceleratorConsumersMissing"


def test_a_fault_that_nobody_notices_is_told_and_ended() -> None:
    cluster = Cluster(notices=False)
    row = drill(cluster).hold("error")
    assert row["problems"] == ["noticed: not seen", "allocatable: not seen", "alert: not seen"]
    assert not row["ok"]
    assert not cluster.fault
    assert cluster.pods == {}


def test_a_pod_that_says_nothing_is_followed_by_one_that_clears() -> None:
    cluster = Cluster(dumb=True)
    with pytest.raises(ClusterError, match=r"could not be made.*cannot create fault.*next: "):
        drill(cluster).hold("error")
    assert cluster.made[1:] == ["true"]
    assert cluster.pods == {}


def test_a_pod_that_does_not_start_is_told_with_its_event() -> None:
    cluster = Cluster(starts=False)
    with pytest.raises(ClusterError, match=r"has not started.*no such folder.*health.drill.folders"):
        drill(cluster).hold("error")
    assert cluster.pods == {}


def test_an_end_of_the_play_in_the_middle_ends_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()

    def interrupted(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Drill, "_until", interrupted)
    with pytest.raises(KeyboardInterrupt):
        drill(cluster).hold("error")
    assert not cluster.fault
    assert cluster.pods == {}


@pytest.mark.parametrize(
    ("over", "fault", "said"),
    [
        ({"node_there": False}, "error", "expected a node worker-1, seen none"),
        ({"allocatable": 4}, "error", "4 of 5 devices are allocatable before the drill"),
        ({"fault": True}, "error", "unhealthy before the drill: 4"),
    ],
)
def test_a_node_that_is_not_well_is_not_drilled(over: dict[str, Any], fault: str, said: str) -> None:
    cluster = Cluster(**over)
    with pytest.raises(ClusterError, match=said):
        drill(cluster).hold(fault)
    assert cluster.made == []


def test_two_drills_of_a_node_do_not_meet() -> None:
    cluster = Cluster()
    one = drill(cluster)
    cluster.pods[one._mine] = {"metadata": {"name": "x"}}
    with pytest.raises(ClusterError, match="another drill is held on worker-1"):
        one.hold("error")
    assert one._mine in cluster.pods


def test_what_an_interrupted_drill_left_is_ended() -> None:
    cluster = Cluster(fault=True)
    one = drill(cluster)
    cluster.pods[one._mine] = {"metadata": {"name": one._mine.rpartition("/")[2]}}
    assert one.restore(check=True)
    assert cluster.fault
    assert one.restore()
    assert (cluster.fault, cluster.pods, cluster.made) == (False, {}, ["true"])
    assert not one.restore()


def test_the_module_in_check_mode_only_looks() -> None:
    cluster = Cluster()
    assert module.do(drill(cluster), "error", "held", True) == {"changed": True, "drill": None}
    assert cluster.made == []
    with pytest.raises(ClusterError, match=r"expected one of .*\(error, hang, removed, corrupt\), seen melt"):
        module.do(drill(cluster), "melt", "held", False)
    assert module.do(drill(cluster), None, "absent", False) == {"changed": False, "drill": None}


def test_without_a_consumer_nobody_would_notice_corrupt_data() -> None:
    with pytest.raises(ClusterError, match=r"\(error, hang, removed\), seen corrupt"):
        module.do(drill(Cluster(), consumer=None), "corrupt", "held", False)


def test_a_row_is_plain_json() -> None:
    row = drill(Cluster()).hold("hang")
    assert json.loads(json.dumps(row)) == row

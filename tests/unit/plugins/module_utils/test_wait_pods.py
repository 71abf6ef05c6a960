# SPDX-License-Identifier: Apache-2.0
"""Which pods fail, what they say, and that only a failure of this run ends a wait."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _wait, _wait_pods
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._wait_pods import Pods, trouble
from fake_api import FakeApi, Stream, listing, thing

NODES = {"resources": [{"kind": "Node", "name": "nodes", "namespaced": False}]}
PODS = "/api/v1/namespaces/ns/pods"
WORDS = "modprobe: ERROR: could not insert 'widget': No such device"


def pod(container: Any = None, phase: str = "Running", version: str = "1", **status: Any) -> Any:
    item = thing("worker", "ns", status={"phase": phase, **status})
    item["metadata"] |= {"uid": "u", "resourceVersion": version, "labels": {}}
    if container:
        item["status"]["containerStatuses"] = [container]
    return item


def waits(reason: str, message: str = "", said: str = "") -> Any:
    last = {"terminated": {"exitCode": 1, "message": said}} if said else {}
    return {"state": {"waiting": {"reason": reason, "message": message}}, "lastState": last}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (pod(), ""),
        (pod(waits("ContainerCreating")), ""),
        (pod({"state": {"running": {}}, "lastState": {"terminated": {"message": WORDS}}}), ""),  # up again
        (pod(waits("CrashLoopBackOff", "back-off 10s", WORDS)), WORDS),
        (pod(waits("CrashLoopBackOff", "back-off 10s")), "back-off 10s"),
        (pod(waits("ImagePullBackOff", "Back-off pulling image x")), "Back-off pulling image x"),
        (pod({"state": {"terminated": {"exitCode": 3}}}, phase="Failed"), "exit code 3"),
        (pod({"state": {"terminated": {"exitCode": 1, "message": WORDS}}, "restartCount": 5}), WORDS),
        (pod({"state": {"terminated": {"exitCode": 0}}}), ""),
        (pod(phase="Failed", message="Pod was rejected: UnexpectedAdmissionError"), "Pod was rejected: Unex"),
        (pod(phase="Failed"), "it failed without a word"),
        (pod(phase="Succeeded"), ""),
    ],
)
def test_what_a_pod_says_of_its_failure(item: Any, expected: str) -> None:
    said = trouble(item)
    assert said.startswith(expected) if expected else said == ""


def test_of_an_init_container_too() -> None:
    assert trouble(pod(initContainerStatuses=[waits("ErrImagePull", "not found")])) == "not found"


def test_a_pod_on_its_way_out_is_no_trouble() -> None:
    item = pod(waits("CrashLoopBackOff", "", WORDS))
    item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert trouble(item) == ""


def test_what_failed_before_counts_once_it_has_tried_again(
    fake: FakeApi, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wait_pods, "PATIENCE", 0.0)
    failing = [pod(waits("CrashLoopBackOff", "", WORDS), version=v) for v in ("1", "1", "2")]
    fake.on(PODS, [listing(item) for item in failing])
    pods = Pods("ns", ["a=b"])
    assert [pods.look(api) for _look in range(3)] == ["", "", f"Pod ns/worker: {WORDS}"]
    assert fake.asked[0][1]["labelSelector"] == "a=b"


def test_one_that_is_about_to_be_replaced_has_a_moment(
    fake: FakeApi, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker of the driver before tries once more; KMM takes it away, and the new one loads."""
    clock = iter([0.0, 5.0, 10.0, 50.0, 60.0])
    monkeypatch.setattr(_wait_pods, "monotonic", lambda: next(clock))
    old, new = (pod(waits("CrashLoopBackOff", "", WORDS), version=v) for v in "23")
    new["metadata"]["uid"] = "another"
    fake.on(PODS, [listing(), listing(old), listing(old), listing(new), listing(new)])
    pods = Pods("ns", ["a=b"])
    assert [pods.look(api) for _look in range(5)] == [""] * 5
    monkeypatch.setattr(_wait_pods, "monotonic", lambda: 80.0)
    assert pods.look(api) == f"Pod ns/worker: {WORDS}"


@pytest.mark.parametrize("again", [True, False], ids=["fails again", "mended"])
def test_a_wait_ends_with_the_words_of_the_pod_that_fails(
    fake: FakeApi, api: Api, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    monkeypatch.setattr(_wait, "PODS_EVERY", 0.01)
    monkeypatch.setattr(_wait_pods, "PATIENCE", 0.0)
    fake.on("/api/v1", NODES)
    node = thing("n1")
    answers = [listing(), Stream()] * 3
    fake.on("/api/v1/nodes", answers if again else [*answers, listing(node)])
    stale, fresh = (listing(pod(waits("CrashLoopBackOff", "", WORDS), version=v)) for v in ("1", "2"))
    fake.on(PODS, [stale, stale, fresh if again else stale])
    rules = _wait.Rules(_wait.Expression("until", "@"), 1)
    outcome = _wait.wait(api, _wait.Target("v1", "Node"), rules, 20, pods=Pods("ns", ["a=b"]))
    assert outcome.failed == (f"Pod ns/worker: {WORDS}" if again else "")
    assert outcome.seen.done is not again
    text = _wait.in_vain("nodes with the driver", rules, None, None, outcome, "look")
    if again:
        assert text == f"nodes with the driver: waiting is in vain; Pod ns/worker: {WORDS}; next: look"


def test_a_wait_without_end_names_the_pods_that_fail(fake: FakeApi, api: Api) -> None:
    fake.on("/api/v1", NODES)
    fake.on("/api/v1/nodes", lambda query: Stream() if "watch" in query else listing())
    fake.on(PODS, listing(pod(waits("CrashLoopBackOff", "", WORDS))))
    rules = _wait.Rules(_wait.Expression("until", "@"), 1)
    outcome = _wait.wait(api, _wait.Target("v1", "Node"), rules, 0.1, pods=Pods("ns", ["a=b"]))
    assert WORDS in _wait.timed_out("nodes", rules, None, outcome, None)


def test_a_look_asks_for_no_pods_when_all_is_well(fake: FakeApi, api: Api) -> None:
    fake.on("/api/v1", NODES)
    fake.on("/api/v1/nodes", listing(thing("n1")))
    rules = _wait.Rules(_wait.Expression("until", "@"), 1)
    assert _wait.wait(api, _wait.Target("v1", "Node"), rules, 5, pods=Pods("ns", ["a=b"])).seen.done
    assert PODS not in fake.paths()

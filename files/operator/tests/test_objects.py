# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from accelerator_operator.objects import fingerprint, node_view, pod_is_running, pod_problem


@pytest.mark.parametrize(
    ("spec", "taints"),
    [
        ({}, []),
        ({"unschedulable": True}, ["node.kubernetes.io/unschedulable:NoSchedule"]),
        ({"taints": [{"key": "mine", "value": "a", "effect": "NoExecute"}]}, ["mine=a:NoExecute"]),
        ({"taints": [{"key": "mine", "effect": "PreferNoSchedule"}]}, []),
    ],
)
def test_what_keeps_pods_away_is_kept_of_a_node(spec: dict, taints: list[str]) -> None:
    view = node_view({"metadata": {"name": "a", "uid": "1"}, "spec": spec})
    assert [str(taint) for taint in view["taints"]] == taints


def waiting(reason: str) -> dict:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "because"}}}]}


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({}, None),
        (waiting("ContainerCreating"), None),
        (waiting("ImagePullBackOff"), "pod p: ImagePullBackOff: because"),
        (
            {"initContainerStatuses": waiting("CrashLoopBackOff")["containerStatuses"]},
            "pod p: CrashLoopBackOff: because",
        ),
        (
            {
                "phase": "Failed",
                "containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": "modprobe: no such\n"}}}],
            },
            "pod p: ended with 1: modprobe: no such",
        ),
        ({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}, None),
    ],
)
def test_why_a_pod_does_not_come_up(status: dict, problem: str | None) -> None:
    assert pod_problem({"metadata": {"name": "p"}, "status": status}) == problem


def test_a_pod_that_is_going_no_longer_runs() -> None:
    pod = {"metadata": {"name": "p"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert pod_is_running(pod)
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not pod_is_running(pod)


def test_a_fingerprint_is_of_what_people_change() -> None:
    before = {"kind": "DaemonSet", "metadata": {"name": "d", "resourceVersion": "1"}, "spec": {"a": 1}}
    counted = {**before, "metadata": {"name": "d", "resourceVersion": "2"}, "status": {"numberReady": 1}}
    labelled = {**before, "metadata": {"name": "d", "labels": {"x": "y"}}}
    assert fingerprint(counted) == fingerprint(before)
    assert len({fingerprint(before), fingerprint(labelled), fingerprint({**before, "spec": {"a": 2}})}) == 3

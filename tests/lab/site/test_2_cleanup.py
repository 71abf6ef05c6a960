# SPDX-License-Identifier: Apache-2.0
"""Pods that the kubelet rejected stay until somebody deletes them: device_plugin_cleanup does, where they come anew."""

from __future__ import annotations

from typing import Any

from breakages import NAME, NAMESPACE, RESOURCE, TEAM, Ward
from conftest import Lab, wait_for

ARGUMENTS = {
    "resource": RESOURCE,
    "namespace": NAMESPACE,
    "plugin_labels": {"app.kubernetes.io/name": f"{NAME}-device-plugin"},
}


def job(pod: dict[str, Any]) -> dict[str, Any]:
    """Which does not try again."""
    spec = {"backoffLimit": 0, "template": {"spec": pod["spec"]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "owner", "namespace": TEAM}, "spec": spec}


def rejected(lab: Lab) -> list[str]:
    pods = lab.get("pods", "-n", TEAM)["items"]
    return [pod["metadata"]["name"] for pod in pods if pod["status"].get("reason") == "UnexpectedAdmissionError"]


def of_ours(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The module sees those of the whole cluster."""
    return [pod for pod in pods if pod["namespace"] == TEAM]


def test_rejected_pods_are_deleted_if_somebody_makes_new_ones(lab: Lab) -> None:
    ward = Ward(lab)
    try:
        ward.pod("bare", 6, nodeName=ward.node, restartPolicy="Never")
        ward.apply(job(lab.get("pod", "bare", "-n", TEAM)))
        wait_for("two rejected pods", lambda: len(rejected(lab)) == 2, 120)
        (owned,) = [name for name in rejected(lab) if name != "bare"]

        would = lab.module("device_plugin_cleanup", ARGUMENTS, "--check")
        assert len(rejected(lab)) == 2
        done = lab.module("device_plugin_cleanup", ARGUMENTS)
        for result in (would, done):
            assert result["changed"]
            assert [(pod["name"], pod["node"]) for pod in of_ours(result["pods"])] == [(owned, ward.node)]
            assert [pod["name"] for pod in of_ours(result["left"]["pods"])] == ["bare"]
            assert result["nodes"] == []  # the plugin runs
        wait_for("the owned one is gone", lambda: rejected(lab) == ["bare"], 60)  # the job counts it first
        assert not lab.module("device_plugin_cleanup", ARGUMENTS)["changed"]
        assert lab.allocatable(RESOURCE) == 5 * len(lab.nodes)
    finally:
        lab.kubectl("-n", TEAM, "delete", "job", "owner", "--ignore-not-found", "--wait=true")
        ward.no_pod("bare")

# SPDX-License-Identifier: Apache-2.0
"""Runs in a pod on a node: times from a driver's fault to the moment at which the kubelet offers the device no longer.

Usage: python3 in_pod_faults.py ours|minimal FAULT TIMES. The kubelet is the node's own, and says what it offers by its
pod resources API. The plugin is one beside that of the site, with a resource of its own; each device is ill in turn.
Prints one line of JSON: the seconds to unhealthy and back to healthy.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
from podresources_v1 import api_pb2, api_pb2_grpc

RESOURCE = "example.com/measured"
PLUGINS = "/var/lib/kubelet/device-plugins"
SOCKET = "unix:/var/lib/kubelet/pod-resources/kubelet.sock"
FAULTS = Path("/sys/kernel/debug/ptemplate")
BOUND = 60.0  # seconds
PAUSE = 0.015  # seconds: a kubelet answers at most 100 calls a second here, of all callers, and refuses the others
OURS = ["-m", "accelerator_device_plugin", f"--resource={RESOURCE}", "--device-glob=/dev/ptemplate-*"]
OURS += ["--root=/host", "--health-file=health", "--http-port=0", "--flapping=1000000/300"]
MINIMAL = ["/tmp/minimal_plugin.py", PLUGINS, RESOURCE, "/host/dev", "ptemplate-"]


def until(what: str, true: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < BOUND, f"not within {BOUND:.0f} s: {what}"
        time.sleep(PAUSE)
    return time.monotonic() - began


def one(offered: Callable[[], set[str]], key: str, fault: str) -> tuple[float, float]:
    file = FAULTS / f"ptemplate-{key}" / "fault"
    try:
        file.write_text(fault)
        down = until(f"{key} is ill", lambda: key not in offered())
    finally:
        file.write_text("none")
    return down, until(f"{key} is well", lambda: key in offered())


def measure(offered: Callable[[], set[str]], fault: str, times: int) -> dict[str, list[float]]:
    until("devices", lambda: len(offered()) > 0)
    keys = itertools.islice(itertools.cycle(sorted(offered())), times)
    seconds = [one(offered, key, fault) for key in keys]
    return {"down": [down for down, _up in seconds], "up": [up for _down, up in seconds]}


def main(whose: str, fault: str, times: str) -> None:
    plugin = subprocess.Popen([sys.executable, *(OURS if whose == "ours" else MINIMAL)])
    try:
        with grpc.insecure_channel(SOCKET) as channel:
            lister = api_pb2_grpc.PodResourcesListerStub(channel)

            def offered() -> set[str]:
                answer = lister.GetAllocatableResources(api_pb2.AllocatableResourcesRequest(), timeout=10)
                return {key for one in answer.devices if one.resource_name == RESOURCE for key in one.device_ids}

            print(json.dumps(measure(offered, fault, int(times))))
    finally:
        plugin.terminate()
        plugin.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])

# SPDX-License-Identifier: Apache-2.0
"""Runs in a node: restarts its kubelet again and again, and prints when the device plugin was registered again.

Usage: python3 - METRICS_URL TIMES. One line of JSON a restart: seconds from the kubelet's socket to the registration
that it accepted, as the plugin's own metrics tell it; and when the plugin's process began.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

SOCKET = "/var/lib/kubelet/device-plugins/kubelet.sock"
REGISTERED = "accelerator_device_plugin_last_registration_timestamp_seconds"
BOUND = 120.0  # seconds


def metric(page: str, name: str) -> float:
    found = re.search(rf"^{name}(?:{{.*}})? (\S+)$", page, re.M)
    assert found, f"{name} is not among the metrics: {page}"
    return float(found[1])


def socket() -> os.stat_result | None:
    try:
        return os.stat(SOCKET)
    except FileNotFoundError:
        return None


def restart(url: str) -> dict[str, float]:
    before = socket()
    end = time.time() + BOUND
    subprocess.run(["systemctl", "reset-failed", "kubelet"], check=True)
    subprocess.run(["systemctl", "restart", "kubelet"], check=True)
    while not (now := socket()) or (before and now.st_ino == before.st_ino and now.st_ctime == before.st_ctime):
        assert time.time() < end, "the kubelet makes no socket"
        time.sleep(0.005)
    while True:
        try:
            page = urlopen(url, timeout=5).read().decode()
            if (registered := metric(page, REGISTERED)) >= now.st_ctime:
                began = metric(page, "process_start_time_seconds")
                return {"seconds": registered - now.st_ctime, "process": began}
        except URLError:
            pass
        assert time.time() < end, "the plugin does not register again"
        time.sleep(0.2)


def main(url: str, times: str) -> None:
    for _ in range(int(times)):
        print(json.dumps(restart(url)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

# SPDX-License-Identifier: Apache-2.0
"""Flags, each also settable by environment (`--device-glob` is DEVICE_PLUGIN_DEVICE_GLOB), and signals."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
from pathlib import Path

from .app import App, Settings
from .health import Policy
from .preferred import PACKED, SPREAD
from .service import Grant

_SECONDS = r"\d+(\.\d+)?"
# Below the device's own folder in sysfs, and not out of it.
_ATTRIBUTE = re.compile(r"(?!.*(^|/)\.\.?(/|$))[^/]+(/[^/]+)*")
_RESOURCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def parse(arguments: list[str], environment: dict[str, str]) -> Settings:
    parser = argparse.ArgumentParser(prog="accelerator_device_plugin", description=__doc__)

    def flag(name: str, help: str, default: str | None = None) -> None:
        variable = "DEVICE_PLUGIN_" + name.upper().replace("-", "_")
        value = environment.get(variable, default)
        parser.add_argument(f"--{name}", default=value, required=value is None, help=f"{help} [${variable}]")

    flag("resource", "what pods ask for, domain/name")
    flag("device-glob", "absolute pattern of the device nodes, e.g. /dev/name-*")
    flag(
        "env-prefix", "variables given to containers are PREFIX_<id>=<path>; default: the resource's name", ""
    )
    flag("permissions", "device cgroup permissions given to containers, of rwm", "rw")
    flag("interval", "seconds between self-checks, which back up the events", "5")
    flag("http-port", "port of /metrics, /devices, /healthz, /readyz; 0: any free one", "9400")
    flag("plugin-dir", "the kubelet's folder", "/var/lib/kubelet/device-plugins")
    flag("root", "where the node's /dev is found (below it: dev/...)", "/")
    flag("sysfs", "where sysfs is found", "/sys")
    flag("node", "name of this node, shown in /devices", environment.get("NODE_NAME", ""))
    flag("health-file", "attribute below the device's folder in sysfs that says how it is; empty: none", "")
    flag("health-words", "what it says of a device that is well, comma between several", "ok")
    flag("serial-file", "attribute that holds the device's serial number; empty: known by its ID", "")
    flag("probe", "none, or open: open each device and close it again, which needs a privileged pod", "none")
    flag("doubts", "N/M: unhealthy after N doubtful looks of the last M", "2/3")
    flag("silence", "seconds without evidence that a device may go on; 0: three intervals", "0")
    flag("silence-policy", "what silence leads to: unhealthy or suspect", "unhealthy")
    flag("flapping", "N/SECONDS: more than N faults in that time make a device settle first", "3/300")
    flag("settle", "SECONDS/MOST: time it must be well then; doubles with each further fault", "10/300")
    flag("replicas", "pods that may share a device; 1: it is one pod's alone", "1")
    flag("prefer", "packed or spread: which devices a container gets, after those of one NUMA node", PACKED)
    flag(
        "pre-start",
        "before each start of a container, of its devices: none; look: look again; reset: reset, then look",
        "none",
    )
    flag("reset-file", "attribute below the device's folder in sysfs that takes a 1 for a reset", "reset")
    flag("cdi-dir", "folder of CDI specs, e.g. /var/run/cdi; empty: containers get devices by path", "")
    flag("pod-resources", "the kubelet's socket that says which pod has which device; empty: not asked", "")
    flag("state-file", "where faults are remembered over restarts; empty: they are not", "")
    given = parser.parse_args(arguments)

    def check(good: bool, name: str, expected: str) -> None:
        if not good:
            parser.error(f"--{name}: expected {expected}, got {getattr(given, name.replace('-', '_'))!r}")

    check(bool(_RESOURCE.fullmatch(given.resource)), "resource", "domain/name")
    check(given.device_glob.startswith("/"), "device-glob", "an absolute path")
    check(bool(given.permissions) and set(given.permissions) <= set("rwm"), "permissions", "a subset of rwm")
    check(
        bool(re.fullmatch(_SECONDS, given.interval)) and float(given.interval) > 0,
        "interval",
        "seconds",
    )
    check(given.http_port.isdecimal() and int(given.http_port) < 65536, "http-port", "a port number")
    check(
        Path(given.plugin_dir).is_dir(), "plugin-dir", "an existing folder (mounted from the node, writable)"
    )
    check(
        not given.state_file or Path(given.state_file).parent.is_dir(),
        "state-file",
        "a file in an existing folder (mounted from the node, writable)",
    )
    check(
        not given.pod_resources or Path(given.pod_resources).parent.is_dir(),
        "pod-resources",
        "a socket in an existing folder (mounted from the node)",
    )
    check(
        given.replicas.isdecimal() and 0 < int(given.replicas) <= 1000, "replicas", "a number from 1 to 1000"
    )
    check(given.prefer in (PACKED, SPREAD), "prefer", f"{PACKED} or {SPREAD}")
    check(given.pre_start in ("none", "look", "reset"), "pre-start", "none, look or reset")
    check(
        given.pre_start != "reset" or int(given.replicas) == 1,
        "pre-start",
        "none or look where pods share a device (--replicas), since a reset takes it from all of them",
    )
    check(
        not given.cdi_dir or Path(given.cdi_dir).is_dir(),
        "cdi-dir",
        "an existing folder (mounted from the node, writable)",
    )
    check(
        given.pre_start != "reset" or bool(given.reset_file),
        "reset-file",
        "a path below the device's sysfs folder",
    )
    for name in ("health-file", "serial-file", "reset-file"):
        value = getattr(given, name.replace("-", "_"))
        check(not value or bool(_ATTRIBUTE.fullmatch(value)), name, "a path below the device's sysfs folder")
    words = tuple(word for word in given.health_words.split(",") if word)
    check(bool(words), "health-words", "at least one word")
    check(given.probe in ("none", "open"), "probe", "none or open")
    doubts = _pair(given.doubts, r"\d+")
    check(doubts is not None and 0 < doubts[0] <= doubts[1], "doubts", "N/M with N from 1 to M")
    check(bool(re.fullmatch(_SECONDS, given.silence)), "silence", "seconds")
    check(given.silence_policy in ("unhealthy", "suspect"), "silence-policy", "unhealthy or suspect")
    flapping, settle = _pair(given.flapping, _SECONDS), _pair(given.settle, _SECONDS)
    check(flapping is not None and flapping[0].is_integer(), "flapping", "N/SECONDS")
    check(
        settle is not None and settle[0] <= settle[1],
        "settle",
        "SECONDS/MOST, MOST not below SECONDS",
    )
    assert doubts is not None
    assert flapping is not None
    assert settle is not None
    interval = float(given.interval)
    policy = Policy(
        good_words=words,
        doubts=int(doubts[0]),
        looks=int(doubts[1]),
        silence=float(given.silence) or 3 * interval,
        silence_is_fault=given.silence_policy == "unhealthy",
        free_faults=int(flapping[0]),
        window=flapping[1],
        settle=settle[0],
        settle_most=settle[1],
    )
    return Settings(
        resource=given.resource,
        device_glob=given.device_glob,
        grant=Grant(
            given.permissions,
            given.env_prefix or re.sub(r"\W", "_", given.resource.partition("/")[2]),
            replicas=int(given.replicas),
            policy=given.prefer,
            cdi_kind=given.resource if given.cdi_dir else "",
            pre_start=given.pre_start != "none",
        ),
        interval=interval,
        http_port=int(given.http_port),
        plugin_dir=Path(given.plugin_dir),
        root=Path(given.root),
        sysfs=Path(given.sysfs),
        node=given.node or None,
        policy=policy,
        health_file=given.health_file,
        serial_file=given.serial_file,
        probe=given.probe == "open",
        cdi_dir=Path(given.cdi_dir) if given.cdi_dir else None,
        pod_resources=Path(given.pod_resources) if given.pod_resources else None,
        state_file=Path(given.state_file) if given.state_file else None,
        reset_file=given.reset_file if given.pre_start == "reset" else "",
    )


def _pair(text: str, number: str) -> tuple[float, float] | None:
    """The two numbers of A/B."""
    first, slash, second = text.partition("/")
    if not slash or not all(re.fullmatch(number, part) for part in (first, second)):
        return None
    return float(first), float(second)


def main() -> int:
    settings = parse(sys.argv[1:], dict(os.environ))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = App(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: app.stop())
    return app.run()


if __name__ == "__main__":
    sys.exit(main())

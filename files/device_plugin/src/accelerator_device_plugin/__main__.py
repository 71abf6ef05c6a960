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
from .service import Grant

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
    given = parser.parse_args(arguments)

    def check(good: bool, name: str, expected: str) -> None:
        if not good:
            parser.error(f"--{name}: expected {expected}, got {getattr(given, name.replace('-', '_'))!r}")

    check(bool(_RESOURCE.fullmatch(given.resource)), "resource", "domain/name")
    check(given.device_glob.startswith("/"), "device-glob", "an absolute path")
    check(bool(given.permissions) and set(given.permissions) <= set("rwm"), "permissions", "a subset of rwm")
    check(
        bool(re.fullmatch(r"\d+(\.\d+)?", given.interval)) and float(given.interval) > 0,
        "interval",
        "seconds",
    )
    check(given.http_port.isdecimal() and int(given.http_port) < 65536, "http-port", "a port number")
    check(
        Path(given.plugin_dir).is_dir(), "plugin-dir", "an existing folder (mounted from the node, writable)"
    )
    return Settings(
        resource=given.resource,
        device_glob=given.device_glob,
        grant=Grant(
            given.permissions, given.env_prefix or re.sub(r"\W", "_", given.resource.partition("/")[2])
        ),
        interval=float(given.interval),
        http_port=int(given.http_port),
        plugin_dir=Path(given.plugin_dir),
        root=Path(given.root),
        sysfs=Path(given.sysfs),
        node=given.node or None,
    )


def main() -> int:
    settings = parse(sys.argv[1:], dict(os.environ))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = App(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: app.stop())
    return app.run()


if __name__ == "__main__":
    sys.exit(main())

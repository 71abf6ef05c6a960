# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on loopback, and how images get into it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import yaml

from . import loopback, oci, processes
from .errors import LabError
from .instance import Instance
from .run import tool

READY_SECONDS = 120


def configuration(folder: Path, port: int) -> str:
    return yaml.safe_dump(
        {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
    )


def start(lab: Instance) -> None:
    port = lab.ports["registry"]
    config = lab.folder / "registry.yml"
    config.write_text(configuration(lab.folder, port))
    processes.ensure(lab.folder, "registry", ["docker-registry", "serve", str(config)])
    deadline = time.monotonic() + READY_SECONDS
    while not answers(f"http://127.0.0.1:{port}/v2/"):
        if time.monotonic() > deadline:
            raise LabError(
                f"registry: no answer after {READY_SECONDS} s:\n{processes.log_tail(lab.folder, 'registry')}"
            )
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        loopback.get(url, timeout=5)
    except OSError:
        return False
    return True


def digest(url: str) -> str:
    """Of the image that the registry has at a manifest's address; empty if it has none."""
    try:
        return loopback.get(url, 30, {"Accept": oci.MANIFEST}).get("Docker-Content-Digest", "")
    except OSError:
        return ""


def push(lab: Instance, layout: Path, name: str) -> str:
    """Puts an OCI layout into the registry unless it is there; returns its reference."""
    reference = f"{lab.registry}/{name}"
    repository, _, tag = name.rpartition(":")
    [manifest] = json.loads((layout / "index.json").read_text())["manifests"]
    if digest(f"http://127.0.0.1:{lab.ports['registry']}/v2/{repository}/manifests/{tag}") != manifest["digest"]:
        # Preserved digests: skopeo would compress the layers, and nobody gains from that here.
        argv = ["skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]
        tool([*argv, f"oci:{layout}", f"docker://{reference}"])
    return reference

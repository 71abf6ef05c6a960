# SPDX-License-Identifier: Apache-2.0
"""Loopback ports of a lab: the same ones each time if they are free, so that image references stay as they were."""

from __future__ import annotations

import json
import socket
import zlib
from collections.abc import Container, Iterable
from pathlib import Path

from . import cache

FIRST, COUNT = 20000, 10000  # below the ports that the kernel gives to outgoing connections


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def candidates(seed: str) -> Iterable[int]:
    begin = zlib.crc32(seed.encode()) % COUNT
    return (FIRST + (begin + step) % COUNT for step in range(COUNT))


def choose(seed: str, taken: Container[int]) -> int:
    return next(port for port in candidates(seed) if port not in taken and free(port))


def read(file: Path) -> dict[str, int]:
    return json.loads(file.read_text()) if file.exists() else {}


def assign(file: Path, seed: str, names: Iterable[str], in_use: Container[str] = ()) -> dict[str, int]:
    """Ports by name, remembered in a file. A remembered port is kept if it is free or, by in_use, ours already."""
    chosen = {name: port for name, port in read(file).items() if name in in_use or free(port)}
    for name in names:
        if name not in chosen:
            chosen[name] = choose(f"{seed}/{name}", set(chosen.values()))
    cache.write_whole(file, json.dumps(chosen, indent=1).encode())
    return chosen

# SPDX-License-Identifier: Apache-2.0
"""kubeconfig files: everything is inside, so that one file can be copied into a node or given to a tool."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from . import cache
from .pki import Pair


def render(server: str, authority: bytes, user: str, certificate: bytes, key: bytes) -> dict[str, Any]:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    client = {"client-certificate-data": text(certificate), "client-key-data": text(key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": text(authority)}}],
        "users": [{"name": user, "user": client}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    }


def text(server: str, authority: Pair, user: str, pair: Pair) -> str:
    data = render(
        server, authority.certificate.read_bytes(), user, pair.certificate.read_bytes(), pair.key.read_bytes()
    )
    return yaml.safe_dump(data, sort_keys=False)


def write(path: Path, content: str) -> Path:
    """Readable by its owner only, and replaced whole: every command writes it, and several run at a time."""
    cache.write_whole(path, content.encode(), 0o600)
    return path

# SPDX-License-Identifier: Apache-2.0
"""Container images of one layer, as OCI layout folders. The layer is not compressed: it never leaves this machine,
and a node that emulates its processor would spend a minute on it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest, "size": size}


def _add(blobs: Path, kind: str, document: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(document, sort_keys=True).encode()
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return _descriptor(kind, f"sha256:{name}", len(data))


def layout(folder: Path, layer: Path, reference: str, command: list[str]) -> None:
    """Makes folder an OCI layout with one image. The layer, a tar on the same file system, becomes part of it.

    reference: the name under which containerd files the image when it imports the layout.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    with layer.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    size = layer.stat().st_size
    os.rename(layer, blobs / digest)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [f"PATH={SEARCH_PATH}"], "Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        # Without it podman cannot build on the image with a layer cache.
        "history": [{"created_by": "mmdebstrap"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _add(blobs, CONFIG, config),
        "layers": [_descriptor(LAYER, f"sha256:{digest}", size)],
    }
    entry = _add(blobs, MANIFEST, manifest) | {"annotations": {"io.containerd.image.name": reference}}
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))

# SPDX-License-Identifier: Apache-2.0
"""From the options of kmod_image_info to its result: reads the image by skopeo, and has it judged. PRIVATE."""

from __future__ import annotations

import posixpath
import re
import typing as t
from pathlib import Path

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._image import host_of
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod import facts, image, symvers, verdict
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.symbols import crc_mismatches
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.types import ERROR, Finding
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci import proxy
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.layers import ImageError
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.streams import (
    Budget,
    Reader,
    StreamError,
    unpacked,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.tar import Tar

ARCHIVE = 32 << 30  # bytes that are looked through for what kind of an archive it is
PIECE = 1 << 20
KINDS = {"oci-layout": "oci-archive", "manifest.json": "docker-archive", "repositories": "docker-archive"}
# The registry has been asked, and has no such image, or none for the architecture.
ABSENT = re.compile(
    r"manifest unknown|name unknown|not known to registry|status 404|not found|no image found in", re.IGNORECASE
)

Json = t.Dict[str, t.Any]


class Unproven(Exception):
    """The image could not be read, and that is no failure. The text is for the user."""


def report(options: Json) -> Json:
    """digest, loadable, findings, modules and layers of the module's result."""
    demands = demanded(options)
    name = f"docker://{options['image']}" if options["image"] else _archive(Path(options["archive"]))
    flags = [f"--authfile={options['auth_file']}"] if options["auth_file"] else []
    flags += [] if options["tls_verify"] or not options["image"] else ["--tls-verify=false"]
    try:
        with proxy.running(flags, demands.architecture or None, options["timeout"]) as skopeo:
            digest, layers = skopeo.open(name)
            seen = image.read(layers, demands.wanted)
    except proxy.Unreadable as error:
        raise _unreadable(options, error) from None
    except ImageError as error:
        raise ImageError(f"{options['image'] or options['archive']} cannot be read: {error}") from None
    found = verdict.judge(seen, demands)
    return {
        "digest": digest,
        "loadable": verdict.loadable(found),
        "findings": [finding._asdict() for finding in found],
        "modules": list(_modules(seen, demands, found)),
        "layers": {"count": len(layers), "read": seen.layers_read},
    }


def demanded(options: Json) -> verdict.Demands:
    wanted = image.Wanted(
        options["kernel"] or None,
        tuple(options["modules"]),
        options["root"],
        tuple(options["firmware"]),
        options["firmware_directory"],
        tuple(options["host_firmware"]),
    )
    exports = _symvers(Path(options["symvers"])) if options["symvers"] else None
    architecture = verdict.UNAME.get(options["architecture"] or "", options["architecture"] or "")
    hosts = tuple(map(facts.normal, options["host_modules"]))
    return verdict.Demands(wanted, architecture, options["require_signed"], exports, hosts)


def refusal(options: Json, findings: t.Sequence[Json]) -> str:
    """The one message of a task that demands: what, where, expected, seen, next."""
    what = options["image"] or options["archive"]
    where = f"on kernel {options['kernel']}" if options["kernel"] else "on the kernel it is for"
    errors = [Finding(**finding) for finding in findings if finding["severity"] == ERROR]
    return f"{what} would not load {where}: " + "\n  ".join(map(str, errors))


def _modules(seen: image.Image, demands: verdict.Demands, found: t.Sequence[Finding]) -> t.Iterator[Json]:
    """Of the kernel that is asked for, or of all."""
    whole = any(finding.severity == ERROR and not finding.module for finding in found)
    wrong = {finding.path for finding in found if finding.severity == ERROR}
    for kernel in [demands.wanted.kernel] if demands.wanted.kernel in seen.kernels() else seen.kernels():
        dependencies = seen.dependencies(kernel or "") or {}
        for path, module in sorted(seen.modules(kernel or "").items()):
            chain = {f"/{path}", *(f"/{other}" for other in dependencies.get(module.name, []))}
            yield {
                **facts.as_json(path, module),
                "crc_mismatches": crc_mismatches(module, demands.symvers) if demands.symvers else [],
                "loadable": not whole and not chain & wrong,
            }


def _symvers(path: Path) -> symvers.Symvers:
    try:
        return symvers.parse(path.read_bytes())
    except FileNotFoundError:
        raise ImageError(f"symvers: nothing at {path}: expected the kernel's Module.symvers") from None
    except symvers.SymversError as error:
        raise ImageError(f"symvers: {path} cannot be read: {error}") from None


def _archive(path: Path) -> str:
    """As skopeo names it."""
    if (path / "oci-layout").is_file():
        return f"oci:{path}"
    if not path.is_file():
        raise ImageError(f"archive: expected a file, or a folder with oci-layout, at {path}; seen {_seen(path)}")
    try:
        with path.open("rb") as file:
            pieces = iter(lambda: file.read(PIECE), b"")
            for entry in Tar(Reader(unpacked(pieces), Budget(ARCHIVE, str(path)))):
                if posixpath.normpath(entry.path) in KINDS:
                    return f"{KINDS[entry.path]}:{path}"
    except StreamError as error:
        raise ImageError(f"archive: {path} cannot be read: {error}") from None
    raise ImageError(
        f"archive: {path} is no image: expected an OCI or docker archive, with oci-layout or manifest.json"
    )


def _seen(path: Path) -> str:
    return "a folder without it" if path.is_dir() else "nothing"


def _unreadable(options: Json, error: proxy.Unreadable) -> Exception:
    if not options["image"]:
        return ImageError(f"archive: {options['archive']} cannot be read: {error}")
    host = host_of(options["image"])
    if ABSENT.search(error.said):
        step = "build and push it, or correct the reference"
        return ImageError(f"{options['image']} is not there: registry {host} says: {error}; next: {step}")
    auth = f" --authfile {options['auth_file']}" if options["auth_file"] else ""
    step = f"skopeo inspect{auth} docker://{options['image']}"
    text = f"registry {host} does not give {options['image']}: {error}; next: {step}"
    if options["unreadable"] == "warn":
        return Unproven(f"{text}; it was not proven that the image loads on its kernel")
    return ImageError(text)


__all__ = ("ImageError", "Unproven", "refusal", "report")

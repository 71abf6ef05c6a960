# SPDX-License-Identifier: Apache-2.0
"""podman and skopeo, called with argument lists. PRIVATE to this collection."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._image import (
    LABEL,
    failed_step,
    fatal,
    host_of,
    significant,
)

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
INSPECT_TIMEOUT = 60  # seconds
# A repository that does not exist yet: some registries (Quay, Docker Hub) call it unauthorized or denied, not unknown.
ABSENT = re.compile(
    r"manifest unknown|name unknown|not known to registry|status 404|not found"
    r"|access to the requested resource is not authorized|requested access to the resource is denied",
    re.IGNORECASE,
)


class ToolError(Exception):
    """A command failed. The text is for the user; `output` is what the command said at its end."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class Found(t.NamedTuple):
    """What a registry has under a reference."""

    digest: str
    key: str | None


class Registry:
    """How to speak to registries: only the target's own may go without verified TLS."""

    def __init__(
        self, target: str, tls_verify: bool, auth_file: str | None, environment: t.Mapping[str, str] | None = None
    ) -> None:
        self._host = host_of(target)
        self._tls_verify = tls_verify
        self._auth_file = auth_file
        self._environment = environment or {}

    def flags(self, reference: str) -> list[str]:
        flags = [f"--authfile={self._auth_file}"] if self._auth_file else []
        if not self._tls_verify and host_of(reference) == self._host:
            flags.append("--tls-verify=false")
        return flags

    def find(self, reference: str) -> Found | None:
        """Digest and key of an image; None when the registry does not have it."""
        code, out, err = self._run(
            ["skopeo", "inspect", "--no-tags", *self.flags(reference), f"docker://{reference}"], INSPECT_TIMEOUT
        )
        if code == 0:
            found = json.loads(out)
            return Found(found["Digest"], (found.get("Labels") or {}).get(LABEL))
        if ABSENT.search(err):
            return None
        raise ToolError(
            f"registry {host_of(reference)} does not say whether it has {reference}: {fatal(err)}; {self._next()}"
        )

    def digest(self, reference: str, next_step: str | None) -> str:
        """The digest of a base image, which has to be there."""
        code, out, err = self._run(
            ["skopeo", "inspect", "--raw", *self.flags(reference), f"docker://{reference}"], INSPECT_TIMEOUT
        )
        if code == 0:
            return "sha256:" + hashlib.sha256(out.encode("utf-8", "surrogateescape")).hexdigest()
        raise ToolError(
            f"base image {reference} is not there: looked for it at registry {host_of(reference)}, which says: "
            f"{fatal(err)}; next: {next_step or f'skopeo inspect docker://{reference}'}"
        )

    def pull(self, reference: str, timeout: float) -> None:
        code, _out, err = self._run(["podman", "pull", "--quiet", *self.flags(reference), reference], timeout)
        if code != 0:
            raise ToolError(f"base image {reference} cannot be pulled: {fatal(err)}; next: podman pull {reference}")

    def push(self, image: str, reference: str, folder: Path, timeout: float) -> str:
        """Pushes a local image; the digest that it has there."""
        digest = folder / "digest"
        code, out, err = self._run(
            ["podman", "push", f"--digestfile={digest}", *self.flags(reference), image, f"docker://{reference}"],
            timeout,
        )
        if code != 0:
            raise ToolError(f"registry {host_of(reference)} refused {reference}: {fatal(err or out)}; {self._next()}")
        return digest.read_text().strip()

    def _run(self, argv: list[str], timeout: float) -> tuple[int, str, str]:
        return run(argv, timeout, environment=self._environment)

    def _next(self) -> str:
        auth = f" --authfile {self._auth_file}" if self._auth_file else ""
        return f"next: podman login{auth} {self._host}, and check the registry's address, TLS and permissions"


class Build(t.NamedTuple):
    """What is built."""

    reference: str
    key: str
    staged: Path
    containerfile: Path
    build_args: t.Mapping[str, str]
    ca_bundle: str | None
    secrets: t.Mapping[str, str] = {}  # name -> file; the Containerfile mounts them, no layer holds them
    environment: t.Mapping[str, str] = {}


def build(what: Build, folder: Path, timeout: float) -> str:
    """Builds an image and returns its ID. It gets no name: a build that fails leaves none behind."""
    image_id = folder / "image-id"
    argv = ["podman", "build", "--force-rm", "--layers", "--pull=missing", f"--iidfile={image_id}"]
    argv += [f"--file={what.containerfile}", f"--label={LABEL}={what.key}"]
    argv += [f"--build-arg={name}={value}" for name, value in sorted(what.build_args.items())]
    argv += [f"--secret=id={name},src={file}" for name, file in sorted(what.secrets.items())]
    if what.ca_bundle:
        pip = folder / "pip.conf"  # pip does not look at the system's certificates by itself
        pip.write_text(f"[global]\ncert = {CERTIFICATES}\n")
        argv += [f"--volume={what.ca_bundle}:{CERTIFICATES}:ro", f"--volume={pip}:/etc/pip.conf:ro"]
    code, out, _err = run([*argv, str(what.staged)], timeout, merge=True, environment=what.environment)
    if code != 0:
        raise ToolError(
            f"the build of {what.reference} failed in step {failed_step(out)}; next: correct what its last lines name, "
            "and run the play again",
            significant(out),
        )
    return image_id.read_text().strip()


def copy_out(image: str, path: str, target: Path, next_step: str) -> None:
    """Copies a file out of a local image, of which nothing is run."""
    code, container, err = run(["podman", "create", "--pull=never", image, "none"], INSPECT_TIMEOUT)
    if code != 0:
        raise ToolError(f"{image} cannot be opened: {fatal(err)}; next: podman create {image} none")
    try:
        code, _out, err = run(["podman", "cp", f"{container.strip()}:{path}", str(target)], INSPECT_TIMEOUT)
        if code != 0:
            raise ToolError(f"{image} has no {path}: {fatal(err)}; next: {next_step}")
    finally:
        run(["podman", "rm", container.strip()], INSPECT_TIMEOUT)


def require(*tools: str) -> None:
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        raise ToolError(
            f"{' and '.join(missing)} not found on this build host: expected on PATH {os.environ.get('PATH')}; "
            f"next: dnf install {' '.join(missing)}, or apt-get install {' '.join(missing)}"
        )


def run(
    argv: t.Sequence[str], timeout: float, merge: bool = False, environment: t.Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Runs a command; with all its children it ends when the time is over."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C", **(environment or {})},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        said = _text(out if merge else err)
        raise ToolError(
            f"{' '.join(argv[:2])} did not end within {timeout:.0f} s (option timeout); it said last: {fatal(said)}",
            significant(said) if merge else "",
        ) from None
    return process.returncode, _text(out), _text(err)


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "surrogateescape")


__all__ = ("Build", "Found", "Registry", "ToolError", "build", "require", "run")

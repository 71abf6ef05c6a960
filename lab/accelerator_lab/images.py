# SPDX-License-Identifier: Apache-2.0
"""The images that the lab's registry has from the start: one base for everything, and a builder for each kernel."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from . import cache, debian, oci
from .progress import step

BASE = "lab/base:bookworm"
BASE_PACKAGES = ("python3", "python3-pip", "kmod")
TOOLKIT_PACKAGES = ("gcc", "make", "kmod")


def toolkit_reference(kernel: str) -> str:
    """The builder's name, without registry. A kernel's version may have a + in it, a tag may not."""
    return f"lab/driver-toolkit:{kernel.replace('+', '_')}"


def base() -> Path:
    """The OCI layout of the base image: what device plugin, operator and consumer are built on."""

    def make(folder: Path) -> None:
        with step("building the base image"):
            debian.tree(folder / "layer.tar", BASE_PACKAGES, kind="tar")
            oci.layout(folder, folder / "layer.tar", f"localhost/{BASE}", ["sleep", "infinity"])

    return cache.produce("images", f"base-{cache.content_key(debian.SUITE, Path(oci.__file__), *BASE_PACKAGES)}", make)


def release_file(kernel: str) -> str:
    """What OpenShift's driver toolkit says of itself in /etc/driver-toolkit-release.json."""
    return json.dumps({"KERNEL_VERSION": kernel, "RT_KERNEL_VERSION": "", "RHEL_VERSION": ""})


def toolkit(kernel: str) -> Path:
    """The OCI layout of the image that plays the driver toolkit: compiler and headers of exactly this kernel."""
    packages = (*TOOLKIT_PACKAGES, f"linux-headers-{kernel}")
    release = f'echo {shlex.quote(release_file(kernel))} > "$1/etc/driver-toolkit-release.json"'
    # Where the driver toolkit has them; Debian's own place is /lib/modules/<kernel>/build.
    headers = f'mkdir -p "$1/usr/src/kernels" && ln -s ../linux-headers-{kernel} "$1/usr/src/kernels/{kernel}"'

    def make(folder: Path) -> None:
        with step(f"building the driver toolkit image for {kernel}"):
            debian.tree(folder / "layer.tar", packages, hooks=(release, headers), kind="tar")
            reference = f"localhost/{toolkit_reference(kernel)}"
            oci.layout(folder, folder / "layer.tar", reference, ["sleep", "infinity"])

    key = cache.content_key(debian.SUITE, Path(oci.__file__), release, headers, *packages)
    return cache.produce("images", f"driver-toolkit-{kernel}-{key}", make)

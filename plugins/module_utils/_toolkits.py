# SPDX-License-Identifier: Apache-2.0
"""Which kernels to build for, and which builder image has each one's headers. Pure. PRIVATE to this collection."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names

Json = t.Dict[str, t.Any]

# Flavours of RHEL's kernel. A Driver Toolkit has their headers, too, but its release file names them without this end:
# 5.14.0-427.13.1.el9_4.x86_64+rt is RT_KERNEL_VERSION, and 64k pages come with the kernel of the same version.
REALTIME, BIG_PAGES = "+rt", "+64k"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}


def kernels(facts: Json, named: t.Iterable[str]) -> t.List[Json]:
    """Those of the nodes, and those that the definition names besides. Raises ValueError, for the user."""
    found = [dict(kernel) for kernel in facts["kernels"]]
    common = {kernel["arch"] for kernel in found}
    for version in dict.fromkeys(named):
        if any(kernel["version"] == version for kernel in found):
            continue
        arch = architecture(version) or (next(iter(common)) if len(common) == 1 else None)
        if arch is None:
            raise ValueError(
                f"driver.build.kernels: kernel {version} does not say of which architecture it is, and the nodes have "
                f"{', '.join(sorted(common)) or 'none'}; expected a name such as 5.14.0-427.13.1.el9_4.x86_64"
            )
        found.append({"version": version, "arch": arch, "os_image": "", "nodes": []})
    _distinct(found)
    return found


def architecture(version: str) -> t.Optional[str]:
    """What a kernel's version says of its architecture, as RHEL and Debian write it; None when it says nothing."""
    plain = version.removesuffix("+").removesuffix(REALTIME).removesuffix(BIG_PAGES)
    for machine, arch in ARCHITECTURES.items():
        if plain.endswith((f".{machine}", f"-{machine}", f"-{arch}")):
            return arch
    return None


def _distinct(found: t.Sequence[Json]) -> None:
    """An image's tag has the kernel's version, but one tag holds one architecture."""
    seen: t.Dict[str, str] = {}
    for kernel in found:
        other = seen.setdefault(kernel["version"], kernel["arch"])
        if other != kernel["arch"]:
            raise ValueError(
                f"kernel {kernel['version']} runs on {other} and on {kernel['arch']} nodes, whose driver images would "
                "have one tag; next: give the nodes of one architecture a definition of their own (accelerator.nodes)"
            )


def builder(definition: Json, kernel: Json, stream: Json, releases: t.Sequence[Json]) -> t.Optional[str]:
    """The definition's builder; or the toolkit whose tag is the node's OS image; or one whose release file fits."""
    images, version = definition["images"], kernel["version"]
    if images["builder"]:
        return names.for_kernel(images["builder"], version)
    words = set(re.split(r"[\s()]+", kernel["os_image"])) - {""}
    tagged = next((image for tag, image in tags(stream) if tag in words), None)
    fitting = next((release["image"] for release in releases if is_for(release, version)), None)
    return names.mirrored(tagged, images["mirrors"]) if tagged else fitting


def tags(stream: Json) -> t.List[t.Tuple[str, str]]:
    """Tags of the ImageStream, with the reference of each."""
    found = stream.get("spec", {}).get("tags") or []
    return [(tag["name"], tag["from"]["name"]) for tag in found if tag.get("from", {}).get("name")]


def is_for(release: Json, version: str) -> bool:
    """Whether a toolkit's release file names this kernel, in whatever flavour."""
    ordinary, realtime = release.get("kernel_version") or "", release.get("rt_kernel_version") or ""
    if version.endswith(REALTIME):
        return realtime.removesuffix(REALTIME) == version.removesuffix(REALTIME)
    if version.endswith(BIG_PAGES):
        return ordinary == version.removesuffix(BIG_PAGES)
    return version in (ordinary, realtime)


def missing(plan: t.Iterable[Json], definition: Json, stream: Json, releases: t.Sequence[Json]) -> str:
    """What to say of the kernels without a builder: which, where, what was looked at. Empty when there are none."""
    without = [kernel for kernel in plan if not kernel["builder"]]
    if not without:
        return ""
    lines = [
        f"no builder image for kernel {kernel['version']} ({kernel['arch']}): "
        + (
            f"OS image {kernel['os_image']}, nodes {', '.join(kernel['nodes'])}"
            if kernel["nodes"]
            else "named in driver.build.kernels"
        )
        for kernel in without
    ]
    looked = [
        "images.builder of the definition: not given",
        f"tags of ImageStream openshift/driver-toolkit: {', '.join(tag for tag, _image in tags(stream)) or 'none'}",
        f"images.toolkits: {'; '.join(map(_told, releases)) or 'none'}",
    ]
    step = (
        "next: set images.builder to an image with that kernel's headers (${KERNEL_FULL_VERSION} in it stands for the "
        "kernel), or add the Driver Toolkit of its release to images.toolkits"
    )
    return "\n".join([*lines, *(f"looked at {item}" for item in looked), step])


def _told(release: Json) -> str:
    has = [version for version in (release.get("kernel_version"), release.get("rt_kernel_version")) if version]
    return f"{release['image']} is for {' and '.join(has) or 'no kernel that it names'}"


__all__ = ("architecture", "builder", "is_for", "kernels", "missing", "tags")

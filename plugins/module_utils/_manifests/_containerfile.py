# SPDX-License-Identifier: Apache-2.0
"""The recipe of a driver image for a build in the cluster, where files/driver_container is not at hand. Pure. PRIVATE.

The same two stages and the same scripts as files/driver_container/Containerfile, with the scripts in it.
"""

from __future__ import annotations

import base64
import typing as t

Json = t.Dict[str, t.Any]

HEAD = "# A driver image, written by ecosystem_edge.accelerator from files/driver_container; the scripts are in base64."
CHECKOUT = (
    'RUN git clone --quiet "{url}" /build/source \\\n'
    "    && cd /build/source \\\n"
    '    && git checkout --quiet --detach "$(git rev-parse --verify --quiet "origin/{ref}^{{commit}}"'
    ' || git rev-parse --verify "{ref}^{{commit}}")"'
)


def containerfile(
    definition: Json, files: t.Mapping[str, str], builder: str, kernel: str, clone: bool, secrets: str = ""
) -> str:
    """kernel: its version, or the build argument that holds it. clone: the source is not in the context.
    secrets: the folder where key and certificate are mounted; empty: nothing is signed here."""
    driver, images = definition["driver"], definition["images"]
    git = driver["git"] or {}
    source = "/build/source" + (f"/{git['subdir']}" if clone and git.get("subdir") else "")
    argument = "ARG KERNEL_FULL_VERSION" if kernel.startswith("$") else None
    values = {
        "KERNEL_VERSION": kernel,
        "MODULE_NAME": driver["module"],
        "DRIVER_VERSION": driver["version"],
        "FIRMWARE": " ".join(driver["firmware"]),
    }
    environment = "ENV " + " ".join(f'{name}="{value}"' for name, value in values.items())
    lines = [
        HEAD,
        "ARG DTK_AUTO" if builder == "${DTK_AUTO}" else None,
        argument,
        f"FROM {builder} AS builder",
        argument,
        environment,
        _script(files, "build-module.sh"),
        CHECKOUT.format(url=git.get("url"), ref=git.get("ref")) if clone else "COPY . /build/source",
        f"RUN /bin/sh /build/build-module.sh {source} /build/image",
    ]
    if secrets:
        lines += [
            _script(files, "sign-modules.sh"),
            f'RUN SIGNER="Secret {driver["signing"]["secret"]}" SECRETS={secrets} '
            "/bin/sh /build/sign-modules.sh /build/image",
        ]
    lines += [
        f"FROM {images['driver_base']}",
        argument,
        _script(files, "install-tools.sh"),
        "RUN /bin/sh /build/install-tools.sh kmod && rm -r /build",
        "COPY --from=builder /build/image/ /",
        f"ENV MODULE_NAME={driver['module']}",
        _labels(driver, kernel),
        'CMD ["/bin/sh", "-c", "exec modprobe -d /opt \\"$MODULE_NAME\\""]',
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _script(files: t.Mapping[str, str], name: str) -> str:
    text = base64.b64encode(files.get(name, "").encode()).decode()
    return f"RUN mkdir -p /build && echo {text} | base64 -d > /build/{name}"


def _labels(driver: Json, kernel: str) -> str:
    labels = {
        "name": f"{driver['module']}-driver",
        "version": driver["version"],
        "release": kernel,
        "summary": f"Kernel module {driver['module']} for Linux {kernel}",
    }
    return "LABEL " + " ".join(f'{name}="{value}"' for name, value in labels.items())

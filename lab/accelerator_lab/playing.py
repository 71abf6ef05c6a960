# SPDX-License-Identifier: Apache-2.0
"""Running a playbook on the lab and on no other cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import cache, cluster, lifecycle, loopback
from .instance import Instance


def environment(lab: Instance) -> dict[str, str]:
    """What a shell, a playbook or a test needs to talk to the lab."""
    kubeconfig = str(cluster.playbook_kubeconfig(lab))
    folders = [str(Path(sys.executable).parent), str(Path(cluster.kubectl_argv(lab)[0]).parent)]
    return {
        "LAB_INSTANCE": lab.name,
        "LAB_OVERRIDES": str(lifecycle.overrides_file(lab)),
        "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
        "KUBECONFIG": kubeconfig,
        "K8S_AUTH_KUBECONFIG": kubeconfig,
        "KUBECACHEDIR": str(cluster.kubectl_cache(lab)),
        **loopback.without_proxy(os.environ),
        # Container runtimes refuse hosts with both cgroup versions; a build needs none.
        "BUILDAH_ISOLATION": "chroot",
        "ANSIBLE_CONFIG": str(cache.CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(cache.CHECKOUT / ".ansible" / "collections"),
    }


def whole_environment(lab: Instance, environ: Mapping[str, str]) -> dict[str, str]:
    """With all else that is set, but what would lead kubernetes.core to another cluster than the kubeconfig's."""
    return {**{k: v for k, v in environ.items() if not k.startswith("K8S_AUTH_")}, **environment(lab)}


def argv(lab: Instance, playbook: str, arguments: Sequence[str]) -> list[str]:
    program = Path(sys.executable).parent / "ansible-playbook"
    return [str(program), playbook, "--extra-vars", f"@{lifecycle.overrides_file(lab)}", *arguments]

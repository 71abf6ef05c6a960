# SPDX-License-Identifier: Apache-2.0
"""etcd, API server, controller manager and scheduler as processes of the host."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from . import binaries, cache, kubeconfig, loopback, ports, processes
from .errors import LabError
from .pki import Authority, Pair, signing_pair

HOST_FROM_NODE = "10.0.2.2"  # QEMU's user-mode network: the host's loopback, seen from a node
SERVICE_RANGE = "10.96.0.0/16"
SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
SERVER_NAMES = ("127.0.0.1", "localhost", HOST_FROM_NODE, "10.96.0.1", *SERVICE_NAMES)
PORTS = {"etcd": "etcd", "etcd-peer": "etcd", "api": "kube-apiserver"}  # name -> process that listens
PORTS_FILE = "control-plane-ports.json"
ADMINS = "system:masters"
# Users with all rights. The playbook's has its own name, so that the audit log tells what it did from all else.
PLAYBOOK_USER, LAB_USER = "accelerator-admin", "lab-admin"
AUDIT_MEGABYTES = 10000  # never a new file: the tests read from a place in it that they remember
READY_SECONDS = 300


@dataclass(frozen=True)
class ControlPlane:
    """A control plane with all its files in one folder."""

    folder: Path
    ports: dict[str, int]

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.ports['api']}"

    @property
    def server_from_node(self) -> str:
        return f"https://{HOST_FROM_NODE}:{self.ports['api']}"

    @property
    def audit_log(self) -> Path:
        return self.folder / "logs" / "audit.log"

    @property
    def authority(self) -> Authority:
        return Authority(self.folder / "pki", "lab")

    @property
    def signing(self) -> Pair:
        return signing_pair(self.folder / "pki")

    def kubeconfig(self, user: str, *groups: str) -> Path:
        """A user's kubeconfig file for the host, made when first asked for."""
        return kubeconfig.write(self.folder / "kubeconfigs" / f"{user}.yml", self.identity(user, groups, self.server))

    def identity(self, user: str, groups: tuple[str, ...], server: str) -> str:
        pair = self.authority.issue(f"client-{user.replace(':', '-')}", user, groups)
        return kubeconfig.text(server, self.authority.pair, user, pair)


def of(folder: Path) -> ControlPlane:
    """The control plane that was planned in this folder."""
    return ControlPlane(folder, ports.read(folder / PORTS_FILE))


def plan(folder: Path) -> ControlPlane:
    """The control plane of a folder, its ports chosen anew where what was chosen before has been taken."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {process.name for process in processes.running(folder)}
    in_use = [port for port, process in PORTS.items() if process in names]
    return ControlPlane(folder, ports.assign(folder / PORTS_FILE, folder.name, PORTS, in_use))


def etcd_argv(plane: ControlPlane, program: Path) -> list[str]:
    authority = Authority(plane.folder / "pki" / "etcd", "lab-etcd")
    server = authority.issue("server", "etcd", hosts=("127.0.0.1",))
    client, peer = (f"https://127.0.0.1:{plane.ports[name]}" for name in ("etcd", "etcd-peer"))
    return [
        str(program),
        f"--data-dir={plane.folder}/etcd",
        "--name=lab",
        "--unsafe-no-fsync",  # a lab's state need not survive the host's power cut
        "--log-level=warn",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=lab={peer}",
        *(
            f"--{prefix}{name}"
            for prefix in ("", "peer-")
            for name in (
                f"cert-file={server.certificate}",
                f"key-file={server.key}",
                f"trusted-ca-file={authority.pair.certificate}",
                "client-cert-auth",
            )
        ),
    ]


def api_server_argv(plane: ControlPlane, program: Path, egress: Path | None) -> list[str]:
    etcd = Authority(plane.folder / "pki" / "etcd", "lab-etcd")
    to_etcd = etcd.issue("client", "kube-apiserver")
    authority = plane.authority
    server = authority.issue("server", "kube-apiserver", hosts=SERVER_NAMES)
    to_kubelet = authority.issue("client-kubelet-api", "kube-apiserver-kubelet-client", (ADMINS,))
    signing = plane.signing
    return [
        str(program),
        "--bind-address=127.0.0.1",
        f"--secure-port={plane.ports['api']}",
        f"--advertise-address={HOST_FROM_NODE}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--etcd-servers=https://127.0.0.1:{plane.ports['etcd']}",
        f"--etcd-cafile={etcd.pair.certificate}",
        f"--etcd-certfile={to_etcd.certificate}",
        f"--etcd-keyfile={to_etcd.key}",
        f"--tls-cert-file={server.certificate}",
        f"--tls-private-key-file={server.key}",
        f"--client-ca-file={authority.pair.certificate}",
        f"--kubelet-certificate-authority={authority.pair.certificate}",
        f"--kubelet-client-certificate={to_kubelet.certificate}",
        f"--kubelet-client-key={to_kubelet.key}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={signing.key}",
        f"--service-account-key-file={signing.certificate}",
        f"--audit-policy-file={cache.LAB}/control_plane/audit-policy.yml",
        f"--audit-log-path={plane.audit_log}",
        f"--audit-log-maxsize={AUDIT_MEGABYTES}",
        "--profiling=false",
        *([f"--egress-selector-config-file={egress}"] if egress else []),
    ]


def manager_argv(plane: ControlPlane, program: Path) -> list[str]:
    config = plane.kubeconfig("system:kube-controller-manager")
    ca = plane.authority.pair
    return [
        str(program),
        f"--kubeconfig={config}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials",
        # An emulated node on a busy host is late, not gone: its pods and its driver would be taken off it.
        "--node-monitor-grace-period=3m",
        f"--service-account-private-key-file={plane.signing.key}",
        f"--root-ca-file={ca.certificate}",
        f"--cluster-signing-cert-file={ca.certificate}",
        f"--cluster-signing-key-file={ca.key}",
    ]


def scheduler_argv(plane: ControlPlane, program: Path) -> list[str]:
    config = plane.kubeconfig("system:kube-scheduler")
    return [str(program), f"--kubeconfig={config}", "--secure-port=0", "--leader-elect=false"]


def start_api(plane: ControlPlane, egress: Path | None = None, tied: bool = False) -> None:
    """Has etcd and the API server running and waits until it is ready; tied: they end with this process."""
    kubernetes, etcd = binaries.built(binaries.KUBERNETES), binaries.built(binaries.ETCD)
    processes.ensure(plane.folder, "etcd", etcd_argv(plane, etcd / "etcd"), tied=tied)
    api_server = api_server_argv(plane, kubernetes / "kube-apiserver", egress)
    processes.ensure(plane.folder, "kube-apiserver", api_server, tied=tied)
    wait_ready(plane)


def start_controllers(plane: ControlPlane) -> None:
    kubernetes = binaries.built(binaries.KUBERNETES)
    for name, argv in (("kube-controller-manager", manager_argv), ("kube-scheduler", scheduler_argv)):
        processes.ensure(plane.folder, name, argv(plane, kubernetes / name))


def api_ready(plane: ControlPlane) -> str:
    """Empty if the API server says that it is ready, else what it said."""
    pair = plane.authority.issue(f"client-{LAB_USER}", LAB_USER, (ADMINS,))
    context = ssl.create_default_context(cafile=plane.authority.pair.certificate)
    context.load_cert_chain(pair.certificate, pair.key)
    try:
        loopback.get(f"{plane.server}/readyz", timeout=30, tls=context)
    except OSError as error:
        return str(error)
    return ""


def wait_ready(plane: ControlPlane) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while said := api_ready(plane):
        for name in ("etcd", "kube-apiserver"):
            if processes.ended(plane.folder, name):
                raise LabError(f"{name} ended; its last lines:\n{processes.log_tail(plane.folder, name)}")
        if time.monotonic() > deadline:
            raise LabError(
                f"API server {plane.server}: not ready after {READY_SECONDS} s: {said}; "
                f"see {processes.log_file(plane.folder, 'kube-apiserver')}"
            )
        time.sleep(0.1)

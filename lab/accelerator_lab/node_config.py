# SPDX-License-Identifier: Apache-2.0
"""What makes a node this node: files that its first process lays over the root disk at each boot."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from . import ssh
from .control_plane import HOST_FROM_NODE, ControlPlane
from .instance import Instance, Node

NAME_SERVER = "10.0.2.3"  # QEMU's, in its user-mode network
NODES_GROUP = "system:nodes"
PUBLIC = ("etc/host", "etc/machine-id", "etc/resolv.conf", "etc/systemd/")  # read by others than root


def network(address: str) -> str:
    own = [f"Address={address}/24", f"Gateway={HOST_FROM_NODE}", "LinkLocalAddressing=no", "IPv6AcceptRA=no"]
    return "\n".join(["[Match]", "Name=eth0", "[Network]", *own]) + "\n"


def pod_network(pod_range: str) -> str:
    ranges = {"type": "host-local", "ranges": [[{"subnet": pod_range}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "ptp", "ipMasq": True, "ipam": ranges}
    return json.dumps({"cniVersion": "1.0.0", "name": "lab", "plugins": [plugin]}, indent=1)


def registry_hosts(port: int) -> str:
    """containerd's way to the registry: the reference says localhost, which from a node is somewhere else."""
    there = f"http://{HOST_FROM_NODE}:{port}"
    return f'server = "{there}"\n[host."{there}"]\ncapabilities = ["pull", "resolve"]\n'


def machine_id(instance: str, node: str) -> str:
    """Known beforehand: systemd takes a machine without one for new, and sets it up for seconds."""
    return hashlib.sha256(f"{instance}/{node}".encode()).hexdigest()[:32] + "\n"


def files(lab: Instance, node: Node) -> dict[str, str]:
    """Content by path."""
    plane = lab.plane
    registry = lab.ports["registry"]
    serving = plane.authority.issue(f"server-{node.name}", node.name, hosts=(node.name, node.address))
    return {
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{node.address} {node.name}\n",
        "etc/machine-id": machine_id(lab.name, node.name),
        "etc/resolv.conf": f"nameserver {NAME_SERVER}\n",
        "etc/systemd/network/lab.network": network(node.address),
        "etc/cni/net.d/10-lab.conflist": pod_network(node.pod_range),
        f"etc/containerd/certs.d/localhost:{registry}/hosts.toml": registry_hosts(registry),
        "etc/ssh/lab_host_key": (lab.folder / "ssh" / "host").read_text(),
        "root/.ssh/authorized_keys": ssh.public(lab.folder / "ssh" / "user"),
        "etc/kubernetes/node.env": f"NODE_NAME={node.name}\nNODE_IP={node.address}\n",
        "etc/kubernetes/ca.crt": plane.authority.pair.certificate.read_text(),
        "etc/kubernetes/kubelet.crt": serving.certificate.read_text(),
        "etc/kubernetes/kubelet.key": serving.key.read_text(),
        "etc/kubernetes/kubelet.kubeconfig": client(plane, f"system:node:{node.name}", NODES_GROUP),
        "etc/kubernetes/kube-proxy.kubeconfig": client(plane, "system:kube-proxy"),
    }


def client(plane: ControlPlane, user: str, *groups: str) -> str:
    return plane.identity(user, groups, plane.server_from_node)


def archive(content: dict[str, str]) -> bytes:
    """A tar of these files, the same bytes for the same files. tarfile pads it to whole sectors, as a disk needs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, text in sorted(content.items()):
            data = text.encode()
            member = tarfile.TarInfo(path)
            member.size = len(data)
            member.mode = 0o644 if path.startswith(PUBLIC) else 0o600
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def write(lab: Instance, node: Node) -> Path:
    """The archive of a node, which sees it as a disk."""
    file = lab.folder / node.name / "config.tar"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(archive(files(lab, node)))
    return file

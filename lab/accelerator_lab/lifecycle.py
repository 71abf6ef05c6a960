# SPDX-License-Identifier: Apache-2.0
"""up, down and reboot. Each can be killed at any point: the next up goes on from what is there."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import yaml

from . import (
    binaries,
    cache,
    cluster,
    control_plane,
    egress,
    images,
    kernel,
    node_disk,
    prerequisites,
    processes,
    registry,
    ssh,
    stand_ins,
    vm,
)
from .errors import LabError
from .instance import MAX_NODES, Instance, Node
from .progress import say, step

DEMO_REPOSITORY = "demo"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def wanted_nodes(have: list[Node], count: int | None, package: str | None) -> list[Node]:
    """The nodes after an up: more if asked for, the known ones with the kernel that they have."""
    count = count or len(have) or 1
    if not len(have) <= count <= MAX_NODES:
        raise LabError(f"--nodes {count}: expected {max(len(have), 1)} to {MAX_NODES}. For fewer type: lab/lab down")
    if have and package and {node.kernel for node in have} != {package}:
        raise LabError(
            f"--kernel {package}: the lab's nodes have another. Type: lab/lab reboot {have[0].name} --kernel {package}"
        )
    return [*have, *(Node(number, package or kernel.DEFAULT) for number in range(len(have) + 1, count + 1))]


def make_everything(packages: set[str]) -> None:
    """Builds or fetches what the cache does not have. What does not wait for the other is made at the same time."""

    def for_kernel(package: str) -> Path:
        return images.toolkit(kernel.built(package).version)

    pool = ThreadPoolExecutor()
    work = [pool.submit(node_disk.root), pool.submit(node_disk.kubernetes)]
    work += [pool.submit(binaries.built, binaries.ETCD)]
    work += [pool.submit(for_kernel, package) for package in sorted(packages)]
    # The first that fails is told at once, however long the others may take: lab/lab does not wait for them.
    for future in as_completed(work):
        future.result()
    pool.shutdown()


def overrides(lab: Instance) -> dict[str, object]:
    """What is true of the lab and not of any hardware, for the playbook's accelerator_overrides."""
    base = f"{lab.registry}/{images.BASE}"
    found = {
        "registry": f"{lab.registry}/{DEMO_REPOSITORY}",
        "tls_verify": False,
        "base": base,
        "driver_base": base,
        "builder": f"{lab.registry}/{images.toolkit_reference('${KERNEL_FULL_VERSION}')}",
        # pip in the builds goes through whatever proxy the host trusts.
        **({"ca_bundle": str(CA_BUNDLE)} if CA_BUNDLE.exists() else {}),
    }
    return {"accelerator_overrides": {"images": found}}


def overrides_file(lab: Instance) -> Path:
    return lab.folder / "overrides.yml"


def publish_images(lab: Instance) -> None:
    registry.push(lab, images.base(), images.BASE)
    for package in {node.kernel for node in lab.nodes}:
        version = kernel.built(package).version
        registry.push(lab, images.toolkit(version), images.toolkit_reference(version))


def start_control_plane(lab: Instance) -> None:
    socket, config = lab.folder / "egress.sock", lab.folder / "egress.yml"
    config.write_text(egress.configuration(socket))
    module = [sys.executable, "-m", "accelerator_lab.egress", str(socket), str(lab.folder)]
    processes.ensure(lab.folder, "egress", module, env={"PYTHONPATH": str(cache.LAB)})
    control_plane.start_api(lab.plane, egress=config)
    control_plane.start_controllers(lab.plane)


def process_names(lab: Instance) -> list[str]:
    """The processes on the host that a lab consists of."""
    control = ["egress", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    return [*control, "registry", stand_ins.NAME, *(node.name for node in lab.nodes)]


def up(lab: Instance, count: int | None, package: str | None) -> None:
    prerequisites.install()
    with lab.locked():
        nodes = wanted_nodes(lab.nodes, count, package)
        make_everything({node.kernel for node in nodes})
        lab.folder.mkdir(parents=True, exist_ok=True)
        lab.folder.chmod(0o700)
        lab.save(nodes)
        lab.assign_ports()
        control_plane.plan(lab.folder)
        ssh.configure(lab)
        cache.write_whole(overrides_file(lab), yaml.safe_dump(overrides(lab), sort_keys=False).encode())
        for node in nodes:
            if vm.ensure(lab, node):
                say(f"{node.name} started")
        with step("control plane"):
            start_control_plane(lab)
        stand_ins.start(lab)
        with step("registry and its images"):
            registry.start(lab)
            publish_images(lab)
        with step("stand-ins"):
            stand_ins.wait_ready(lab)
        for node in nodes:
            with step(f"{node.name} to be Ready"):
                cluster.wait_ready(lab, node)


def down(lab: Instance) -> None:
    with lab.locked():
        # Its state goes too, so there is nothing to save, nor to read: what a killed machine left may be cut off.
        names = processes.stop(lab.folder, grace=1)
        cache.remove_tree(lab.folder)
        say(f"lab {lab.name}: stopped {', '.join(names) or 'nothing'}; its folder is gone, the cache is kept")


def reboot(lab: Instance, node: Node, package: str | None) -> None:
    """Shuts a node down and starts it again from the same disk, with another kernel if asked for."""
    with lab.locked():
        if package and package != node.kernel:
            node = lab.with_kernel(node, package)
            publish_images(lab)
        with step(f"{node.name} to shut down"):
            vm.power_off(lab, node)
        vm.ensure(lab, node, same_disk=True)
        with step(f"{node.name} to be Ready"):
            cluster.wait_ready(lab, node, same_disk=True)

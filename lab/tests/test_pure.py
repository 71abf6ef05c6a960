# SPDX-License-Identifier: Apache-2.0
"""Functions of the lab that only compute."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from accelerator_lab import (
    cache,
    cli,
    disk,
    egress,
    images,
    kernel,
    lifecycle,
    node_config,
    oci,
    prerequisites,
    ssh,
)
from accelerator_lab.errors import LabError
from accelerator_lab.instance import Node, chosen

MODULES_DEP = """\
kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/fs/jbd2/jbd2.ko:
kernel/fs/mbcache.ko:
kernel/lib/crc16.ko:
kernel/drivers/virtio/virtio-pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
"""


def test_content_key_tells_apart_how_parts_are_cut(tmp_path: Path) -> None:
    assert cache.content_key("ab", "c") != cache.content_key("a", "bc")
    file = tmp_path / "file"
    file.write_text("ab")
    assert cache.content_key(file, "c") == cache.content_key("ab", "c")


@pytest.mark.parametrize("name", ["virtio_pci", "ext4"])
def test_a_module_is_loaded_after_all_that_it_needs(name: str) -> None:
    order = kernel.load_order(MODULES_DEP, (name, "built_in"))
    for line in MODULES_DEP.splitlines():
        path, _, needs = line.partition(": ")
        if path in order:
            assert all(order.index(need) < order.index(path) for need in needs.split())
    assert len(order) == len(set(order)) == {"virtio_pci": 3, "ext4": 4}[name]


def test_cpio_reads_back() -> None:
    archive = disk.cpio([disk.Entry("bin"), disk.Entry("bin/run", b"odd", executable=True), disk.Entry("text", b"")])
    assert list(members(archive)) == [
        ("bin", stat.S_IFDIR | 0o755, b""),
        ("bin/run", stat.S_IFREG | 0o755, b"odd"),
        ("text", stat.S_IFREG | 0o644, b""),
        ("TRAILER!!!", 0, b""),
    ]


def members(archive: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Name, mode and data of each member, as the kernel's initramfs format says. Debian need not have cpio."""
    at = 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        field = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = field[1], field[6], field[11]
        name = archive[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        begin = at + -(-(110 + name_size) // 4) * 4
        yield name[:-1].decode(), mode, archive[begin : begin + size]
        at = begin + -(-size // 4) * 4


@pytest.mark.parametrize(
    ("host", "port", "node", "kubelet"),
    [
        ("node-1", 10250, "node-1", True),
        ("10.0.2.22", 10250, "node-2", True),
        ("10.0.2.22", 9100, "node-2", False),
        ("10.244.2.9", 9400, "node-2", False),
        ("10.244.1.9", 10250, "node-1", False),
    ],
)
def test_egress_finds_the_node(host: str, port: int, node: str, kubelet: bool) -> None:
    found = egress.route(host, port, [Node(1), Node(2)])
    assert found is not None
    assert (found[0].name, found[1]) == (node, kubelet)


@pytest.mark.parametrize("host", ["10.244.3.1", "10.0.2.2", "example.com", "node-3"])
def test_egress_leads_nowhere_else(host: str) -> None:
    assert egress.route(host, 443, [Node(1), Node(2)]) is None


def test_nodes_do_not_share_addresses() -> None:
    nodes = [Node(number) for number in range(1, 10)]
    for values in ({n.name for n in nodes}, {n.address for n in nodes}, {n.pod_range for n in nodes}):
        assert len(values) == len(nodes)


def test_node_archive_is_stable_whole_sectors_and_closed_to_others() -> None:
    content = {"etc/kubernetes/kubelet.key": "secret", "etc/hostname": "node-1\n"}
    data = node_config.archive(content)
    assert data == node_config.archive(dict(reversed(content.items())))
    assert len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {m.name: oct(m.mode) for m in tar} == {
            "etc/hostname": "0o644",
            "etc/kubernetes/kubelet.key": "0o600",
        }


def test_pod_network_is_the_nodes_own() -> None:
    plugin = json.loads(node_config.pod_network("10.244.7.0/24"))["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.244.7.0/24"}]]


def test_oci_layout_holds_what_its_digests_say(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    layer.write_bytes(b"layer")
    oci.layout(tmp_path, layer, "localhost/some:tag", ["sleep", "infinity"])
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "blobs" / "sha256").iterdir()}
    assert all(hashlib.sha256(data).hexdigest() == name for name, data in blobs.items())
    (entry,) = json.loads((tmp_path / "index.json").read_text())["manifests"]
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert [d["digest"] for d in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"])


def test_a_kernel_version_becomes_a_tag() -> None:
    assert images.toolkit_reference("6.12.117+deb12-amd64") == "lab/driver-toolkit:6.12.117_deb12-amd64"


def test_prerequisites_name_packages_of_missing_commands() -> None:
    listed = prerequisites.needed("# comment\n\nqemu-img qemu-utils\nssh openssh-client\n")
    assert prerequisites.missing(listed, {"ssh": "/usr/bin/ssh"}.get) == ["qemu-utils"]


@pytest.mark.parametrize(
    ("words", "seconds", "tries"),
    [
        ("E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)", 60, 3),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend", -1, 1),
        ("E: Unable to locate package invented", 60, 1),
    ],
)
def test_apt_waits_for_its_lock_only(monkeypatch: pytest.MonkeyPatch, words: str, seconds: int, tries: int) -> None:
    asked: list[object] = []

    def tool(command: list[str], env: dict[str, str]) -> None:
        asked.append(command)
        if len(asked) < 3:
            raise LabError(words)

    monkeypatch.setattr(prerequisites, "tool", tool)
    monkeypatch.setattr(prerequisites, "LOCK_PAUSE", 0)
    monkeypatch.setattr(prerequisites, "LOCK_SECONDS", seconds)
    with nullcontext() if tries == 3 else pytest.raises(LabError, match=words[:20]):
        prerequisites.apt(["apt-get", "update"], {})
    assert len(asked) == tries


def test_a_kernel_is_there_when_its_headers_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Later the archive may not have them any more."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernel.debian, "tree", lambda target, *_, **__: target.mkdir())
    monkeypatch.setattr(kernel, "assemble", lambda _tree, folder: (folder / "version").write_text("6.1.0-9-amd64\n"))

    def gone(version: str) -> None:
        raise LabError(f"no linux-headers-{version}")

    monkeypatch.setattr(kernel.images, "toolkit", gone)
    with pytest.raises(LabError, match=r"no linux-headers-6\.1\.0-9-amd64"):
        kernel.built()
    monkeypatch.setattr(kernel.images, "toolkit", lambda _: tmp_path)
    assert kernel.built().version == "6.1.0-9-amd64"


def test_egress_configuration_is_for_the_cluster_only() -> None:
    (selection,) = yaml.safe_load(egress.configuration(Path("/run/x.sock")))["egressSelections"]
    assert selection["name"] == "cluster"
    assert selection["connection"]["transport"]["uds"]["udsName"] == "/run/x.sock"


def test_ssh_configuration_names_each_node() -> None:
    text = ssh.render(Path("/lab"), {"node-1": 2001, "node-2": 2002})
    assert "Host node-1\n  Port 2001\nHost node-2\n  Port 2002\nHost *\n" in text


def test_up_adds_nodes_and_keeps_their_kernels() -> None:
    have = [Node(1, "linux-image-x")]
    assert lifecycle.wanted_nodes([], None, None) == [Node(1)]
    assert lifecycle.wanted_nodes(have, None, None) == have
    assert lifecycle.wanted_nodes(have, 2, None) == [*have, Node(2)]


@pytest.mark.parametrize(("count", "package"), [(1, None), (10, None), (None, "linux-image-y")])
def test_up_refuses_what_only_down_or_reboot_can_do(count: int | None, package: str | None) -> None:
    with pytest.raises(LabError, match=r"Type: lab/lab (down|reboot)|lab/lab down"):
        lifecycle.wanted_nodes([Node(1), Node(2)], count, package)


@pytest.mark.parametrize("argv", [["--instance", "two", "down"], ["down", "--instance", "two"]])
def test_instance_stands_before_or_after_the_command(argv: list[str]) -> None:
    assert cli.parse(argv).instance == "two"
    assert cli.parse(["down"]).instance is None


@pytest.mark.parametrize("name", ["Upper", "a/b", "-x", "x" * 21])
def test_instance_names_are_checked(name: str) -> None:
    with pytest.raises(LabError, match="expected a name"):
        chosen(name)

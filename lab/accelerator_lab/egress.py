# SPDX-License-Identifier: Apache-2.0
"""The API server's way to kubelets and pods.

QEMU's user-mode network gives the host no route into a node. So the API server sends these connections (its egress
type "cluster") to this proxy, on a unix socket, as HTTP CONNECT. To a kubelet there is a forwarded loopback port; to a
pod, a channel of the node's ssh connection.

Run as: python -m accelerator_lab.egress SOCKET FOLDER-OF-THE-LAB
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from . import ssh
from .instance import Instance, Node

KUBELET = 10250
CHUNK = 65536


def configuration(socket: Path) -> str:
    """The API server's EgressSelectorConfiguration."""
    connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(socket)}}}
    return yaml.safe_dump(
        {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": connection}],
        }
    )


def route(host: str, port: int, nodes: Sequence[Node]) -> tuple[Node, bool] | None:
    """The node that a destination is at, and whether it is its kubelet; nothing if no node has it."""
    for node in nodes:
        if host in (node.name, node.address):
            return node, port == KUBELET
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(node.pod_range):
                return node, False
    return None


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def dial(lab: Instance, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    found = route(host, port, lab.nodes)
    if found is None:
        raise ConnectionError(f"no node of the lab has {host}")
    node, kubelet = found
    if kubelet:
        return await asyncio.open_connection("127.0.0.1", lab.ports[f"{node.name}.kubelet"])
    channel = await asyncio.create_subprocess_exec(
        *ssh.argv(lab, node.name, forward=f"{node.address if host == node.name else host}:{port}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert channel.stdin
    assert channel.stdout
    return channel.stdout, channel.stdin


async def serve(lab: Instance, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        destination = request.split()[1]
        host, _, port = destination.rpartition(":")
        there = await dial(lab, host.strip("[]"), int(port))
    except (OSError, ValueError, IndexError, asyncio.IncompleteReadError) as error:
        print(f"egress: {error}", flush=True)
        writer.write(f"HTTP/1.1 502 {error}\r\n\r\n".encode())
        writer.close()
        return
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
    for end in (there[1], writer):
        end.close()


async def main(socket: Path, lab: Instance) -> None:
    socket.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(lambda r, w: serve(lab, r, w), socket)
    socket.chmod(0o600)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Instance(Path(sys.argv[2]))))

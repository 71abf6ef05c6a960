# SPDX-License-Identifier: Apache-2.0
"""/metrics, /devices, /healthz and /readyz. Reads only; nothing here is secret and nothing can be changed."""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .inventory import State
from .pods import Holders

Page = Callable[[], tuple[int, str, bytes]]


def devices_page(
    resource: str,
    node: str | None,
    registered: bool,
    states: dict[str, State],
    replicas: int = 1,
    pods: Holders | None = None,
) -> bytes:
    """pods: None when it is not known who has the devices; a device then does not say that nobody has it."""
    page: dict[str, object] = {"schema": 2, "resource": resource}
    if node:
        page["node"] = node
    page["registered"] = registered
    if replicas > 1:
        page["replicas"] = replicas  # so often the kubelet counts each
    page["devices"] = [
        {
            "id": key,
            "path": state.device.path,
            "health": state.health,
            "state": state.record.state,
            "reason": state.record.reason,
            "evidence": state.record.evidence,
            "faults": len(state.record.faults),
            "since": datetime.fromtimestamp(state.since, timezone.utc).isoformat(timespec="milliseconds"),
            **({"serial": state.serial} if state.serial else {}),
            **({"numa": state.numa} if state.numa is not None else {}),
            **({"pods": [vars(one) for one in pods.get(key, ())]} if pods is not None else {}),
        }
        for key, state in states.items()
    ]
    return json.dumps(page, indent=1).encode() + b"\n"


def serve(port: int, pages: dict[str, Page]) -> _Server:
    server = _Server(port, pages)
    # shutdown() waits for the end of such an interval.
    threading.Thread(target=server.serve_forever, args=(0.2,), name="http", daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    """On all addresses of the pod, IPv4 and IPv6."""

    daemon_threads = True

    def __init__(self, port: int, pages: dict[str, Page]) -> None:
        self.pages = pages
        self.address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        super().__init__(("", port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: it asks DNS for our own name, which can hang for seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A probe that did not wait for its answer is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # seconds that a silent client may hold a thread

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            status, kind, body = (
                404,
                "text/plain",
                f"no such page; there are {' '.join(self.server.pages)}\n".encode(),
            )
        else:
            status, kind, body = page()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: probes and scrapes come every few seconds."""

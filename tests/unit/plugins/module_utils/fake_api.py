# SPDX-License-Identifier: Apache-2.0
"""A tiny HTTP server that answers as told: the API server's bad days, which a real one does not have on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Query = dict[str, str]
Route = Callable[[Query], Any]


class Status(Exception):
    """Answer with an error status."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.body = {"kind": "Status", "code": code, "message": message}


class Cut:
    """Answer with these lines, then drop the connection in the middle of a chunk."""

    def __init__(self, *events: Any) -> None:
        self.events = events


class Closed:
    """Close the connection without an answer."""


class Stream:
    """Answer a watch with these events, then end it as the server does."""

    def __init__(self, *events: Any) -> None:
        self.events = events


class FakeApi:
    """Answers by path. `asked` has every request: path, query, headers; `bodies` has its method and body."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[tuple[str, Query, Any]] = []
        self.bodies: list[tuple[str, bytes]] = []
        self.host = ""
        self.api_key: dict[str, str] = {}

    def on(self, path: str, answer: Any) -> None:
        """The answer itself, or what makes it from the query; the answers of a list are given one after the other."""
        if isinstance(answer, list):
            rest = iter(answer)
            last = answer[-1]
            self.routes[path] = lambda _query: next(rest, last)
        else:
            self.routes[path] = answer if callable(answer) else lambda _query: answer

    def paths(self) -> list[str]:
        return [path for path, _query, _headers in self.asked]


@contextmanager
def serve(api: FakeApi, port: int = 0) -> Iterator[FakeApi]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else the body waits 40 ms for the headers' acknowledgement

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            api.asked.append((parts.path, query, self.headers))
            length = int(self.headers.get("Content-Length") or 0)
            api.bodies.append((self.command, self.rfile.read(length)))
            route = api.routes.get(parts.path)
            answer = route(query) if route else Status(404, f"the server could not find {parts.path}")
            if isinstance(answer, Closed):
                self.close_connection = True
            elif isinstance(answer, (Stream, Cut)):
                self.stream(answer)
            elif isinstance(answer, Status):
                self.whole(answer.code, answer.body)
            else:
                self.whole(200, answer)

        do_POST = do_PATCH = do_DELETE = do_GET

        def whole(self, code: int, body: Any) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def stream(self, answer: Stream | Cut) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in answer.events:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
            if isinstance(answer, Stream):
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    api.host = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()


def listing(*items: Any, version: str = "1", token: str = "") -> Any:
    return {"kind": "List", "metadata": {"resourceVersion": version, "continue": token}, "items": list(items)}


def thing(name: str, namespace: str = "", **rest: Any) -> Any:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"metadata": {**meta, **rest.pop("metadata", {})}, **rest}

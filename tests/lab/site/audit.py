# SPDX-License-Identifier: Apache-2.0
"""Reads the API server's audit log: who asked for what, and which writes changed something."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = {"create", "update", "patch", "delete", "deletecollection"}
# Asking "may I?" is a create of an object that is never stored.
QUESTIONS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "tokenreviews", "subjectaccessreviews"}


@dataclass(frozen=True)
class Request:
    verb: str
    uri: str
    resource: str
    namespace: str
    name: str
    code: int
    created: bool
    version: str  # resourceVersion in the answer

    @property
    def dry(self) -> bool:
        return "dryRun=All" in self.uri

    @property
    def key(self) -> tuple[str, str, str]:
        return self.resource, self.namespace, self.name


def parse(event: dict[str, Any]) -> Request:
    ref = event.get("objectRef") or {}
    answer = event.get("responseObject") or {}
    meta = answer.get("metadata") or {}
    code = int((event.get("responseStatus") or {}).get("code", 0))
    return Request(
        verb=event["verb"],
        uri=event["requestURI"],
        resource=ref.get("resource", ""),
        namespace=ref.get("namespace", ""),
        name=ref.get("name") or meta.get("name", ""),
        code=code,
        created=code == 201,
        version=meta.get("resourceVersion", ""),
    )


class AuditLog:
    """The log from a moment on: what one user asked for since `mark()`."""

    def __init__(self, path: Path, user: str) -> None:
        self.path, self.user = path, user
        self.offset = 0

    def mark(self) -> None:
        self.offset = self.path.stat().st_size

    def requests(self) -> list[Request]:
        with self.path.open("rb") as log:
            log.seek(self.offset)
            events = [json.loads(line) for line in log if line.endswith(b"\n")]
        return [parse(event) for event in events if event["user"].get("username") == self.user]

    def writes(self) -> list[Request]:
        """Requests that were meant to be stored: no dry runs, no questions, none that was refused."""
        return [
            r
            for r in self.requests()
            if r.verb in WRITES and not r.dry and r.resource not in QUESTIONS and 200 <= r.code < 300
        ]

    def by_verb(self) -> dict[str, int]:
        return dict(Counter(request.verb for request in self.requests()))

# SPDX-License-Identifier: Apache-2.0
"""HTTP to what listens on this machine's loopback: never through a proxy that the environment names for the world."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Mapping
from email.message import Message

HOSTS = "127.0.0.1,localhost"


def get(
    url: str, timeout: float, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Message:
    """The headers of an answer that says OK; anything else is an OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
    with opener.open(urllib.request.Request(url, headers=dict(headers or {})), timeout=timeout) as answer:
        found: Message = answer.headers
        return found


def without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep other programs from asking a proxy for these hosts, added to what is set already."""
    set_already = {name: environ.get(name, "") for name in ("NO_PROXY", "no_proxy")}
    return {name: ",".join(filter(None, (hosts, HOSTS))) for name, hosts in set_already.items()}

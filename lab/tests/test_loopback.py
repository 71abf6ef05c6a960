# SPDX-License-Identifier: Apache-2.0
"""What the lab asks and what it hands down: nothing goes through a proxy, nothing leads to another cluster."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerator_lab import cluster, lifecycle, loopback, oci, playing, registry
from accelerator_lab.instance import Instance, Node

DIGEST = "sha256:0123"


class Handler(http.server.BaseHTTPRequestHandler):
    """A registry that has one image, and says so to whoever accepts its kind, as Debian's does."""

    def do_GET(self) -> None:
        has = self.path == "/v2/" or (
            self.path.endswith("/base/manifests/one") and self.headers["Accept"] == oci.MANIFEST
        )
        self.send_response(200 if has else 404)
        self.send_header("Docker-Content-Digest", DIGEST)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def lab(tmp_path: Path, port: int) -> Instance:
    lab = Instance(tmp_path)
    lab.save([Node(1)])
    (tmp_path / "ports.json").write_text(json.dumps({"registry": port}))
    return lab


@pytest.fixture(autouse=True)
def _proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is for the world outside, and that nobody listens at."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_no_proxy_is_asked_for_the_loopback(port: int) -> None:
    assert registry.answers(f"http://127.0.0.1:{port}/v2/")
    assert not registry.answers(f"http://127.0.0.1:{port}/elsewhere")
    assert not registry.answers("http://127.0.0.1:9/v2/")


def test_the_hosts_without_a_proxy_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loopback.without_proxy({"NO_PROXY": ".corp"}) == {
        "NO_PROXY": ".corp,127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


@pytest.mark.parametrize(
    ("name", "digest", "pushed"),
    [("base:one", DIGEST, False), ("base:one", "sha256:4567", True), ("new:one", DIGEST, True)],
)
def test_an_image_is_pushed_unless_the_registry_has_it(
    lab: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, digest: str, pushed: bool
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(registry, "tool", ran.append)
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [{"digest": digest}]}))
    assert registry.push(lab, tmp_path, name) == f"{lab.registry}/{name}"
    assert bool(ran) is pushed


def test_nothing_leads_to_another_cluster(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "playbook_kubeconfig", lambda _: Path("/lab/config"))
    monkeypatch.setattr(cluster, "program", lambda: Path("/bin/kubectl"))
    monkeypatch.setattr(cluster, "kubectl_argv", lambda _: ["/cache/bin/kubectl"])
    given = {"K8S_AUTH_HOST": "https://production", "K8S_AUTH_VERIFY_SSL": "no", "KUBECONFIG": "/production", "A": "1"}
    found = playing.whole_environment(lab, given)
    assert {name: value for name, value in found.items() if name.startswith(("K8S_AUTH_", "KUBECONFIG"))} == {
        "K8S_AUTH_KUBECONFIG": "/lab/config",
        "KUBECONFIG": "/lab/config",
    }
    assert found["A"] == "1"
    assert found["LAB_OVERRIDES"] == str(lifecycle.overrides_file(lab))

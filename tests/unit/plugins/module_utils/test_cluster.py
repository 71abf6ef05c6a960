# SPDX-License-Identifier: Apache-2.0
"""What _cluster makes of the API server's answers, good and bad."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _cluster
from fake_api import Closed, Cut, FakeApi, Status, Stream, listing, thing
from kubernetes.client import Configuration


def test_a_list_is_read_in_pages(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/api/v1/nodes", [listing(thing("a"), token="t1"), listing(thing("b"), version="7")])
    items, version = api.pages("/api/v1/nodes", labelSelector="x=y")
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]
    assert version == "7"
    assert [query for _path, query, _headers in fake.asked] == [
        {"limit": "500", "labelSelector": "x=y"},
        {"limit": "500", "labelSelector": "x=y", "continue": "t1"},
    ]
    assert api.requests == 2


def test_the_token_and_impersonation_are_sent(fake: FakeApi) -> None:
    fake.on("/version", {"gitVersion": "v1"})
    api = _cluster.Api(
        Configuration(host=fake.host, api_key={"authorization": "Bearer secret"}),
        {"Impersonate-User": "bob", "Impersonate-Group": ["a", "b"]},
    )
    assert api.get("/version") == {"gitVersion": "v1"}
    headers = fake.asked[0][2]
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Impersonate-User"] == "bob"
    assert headers.get_all("Impersonate-Group") == ["a", "b"]


def test_a_connection_that_is_closed_meanwhile_is_opened_anew(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/version", [{"gitVersion": "v1"}, Closed(), {"gitVersion": "v2"}])
    assert [api.get("/version")["gitVersion"] for _again in range(2)] == ["v1", "v2"]


def test_a_server_that_keeps_closing_is_told(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/version", Closed())
    with pytest.raises(_cluster.Unreachable, match="closed connection without response"):
        api.get("/version")
    assert len(fake.asked) == 2


def test_a_change_is_never_sent_twice(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/api/v1/nodes/n", Closed())
    with pytest.raises(_cluster.Unreachable):
        api.json_patch("/api/v1/nodes/n", [])
    assert len(fake.asked) == 1


def test_aggregated_discovery_costs_two_requests(fake: FakeApi, api: _cluster.Api) -> None:
    def group(name: str, version: str, *kinds: tuple[str, str, str]) -> dict[str, object]:
        resources = [{"resource": p, "responseKind": {"kind": k}, "scope": s} for p, k, s in kinds]
        return {"metadata": {"name": name}, "versions": [{"version": version, "resources": resources}]}

    kind = "APIGroupDiscoveryList"
    fake.on("/api", {"kind": kind, "items": [group("", "v1", ("nodes", "Node", "Cluster"))]})
    fake.on("/apis", {"kind": kind, "items": [group("apps", "v1", ("daemonsets", "DaemonSet", "Namespaced"))]})
    found = api.discover()
    assert {gv: [r.kind for r in rs] for gv, rs in found.items()} == {"v1": ["Node"], "apps/v1": ["DaemonSet"]}
    assert found["apps/v1"][0].path("ns", "x") == "/apis/apps/v1/namespaces/ns/daemonsets/x"
    assert found["v1"][0].path("ns", "n") == "/api/v1/nodes/n"
    assert api.requests == 2


def test_discovery_of_an_old_api_server(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/api", {"kind": "APIVersions", "versions": ["v1"]})
    fake.on("/apis", {"kind": "APIGroupList", "groups": [{"versions": [{"groupVersion": "apps/v1"}]}]})
    node = {"kind": "Node", "name": "nodes", "namespaced": False}
    fake.on("/api/v1", {"resources": [node, {"kind": "Node", "name": "nodes/status", "namespaced": False}]})
    fake.on("/apis/apps/v1", {"resources": [{"kind": "DaemonSet", "name": "daemonsets", "namespaced": True}]})
    found = api.discover()
    assert {gv: [r.plural for r in rs] for gv, rs in found.items()} == {"v1": ["nodes"], "apps/v1": ["daemonsets"]}


def test_a_group_that_is_out_of_order_is_no_hindrance(fake: FakeApi, api: _cluster.Api) -> None:
    """As of metrics.k8s.io where nothing measures."""
    fake.on("/api", {"kind": "APIVersions", "versions": []})
    fake.on("/apis", {"kind": "APIGroupList", "groups": [{"versions": [{"groupVersion": "metrics.k8s.io/v1beta1"}]}]})
    fake.on("/apis/metrics.k8s.io/v1beta1", Status(503, "service unavailable"))
    assert api.discover() == {"metrics.k8s.io/v1beta1": []}


def test_a_group_that_is_not_served_has_no_kinds(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/apis/x.example.com/v1", Status(404))
    assert api.discover_one("x.example.com/v1") == []


def test_an_api_server_that_has_just_started_does_not_deny_a_group(fake: FakeApi, api: _cluster.Api) -> None:
    """Who takes that for absence removes what is in use."""
    fake.on("/apis/x.example.com/v1", Status(503, "made before all known HTTP paths have been installed"))
    with pytest.raises(_cluster.Refused, match="503"):
        api.discover_one("x.example.com/v1")


def test_a_list_that_expires_between_two_pages_is_begun_anew(fake: FakeApi, api: _cluster.Api) -> None:
    gone = Status(410, "The provided continue parameter is too old")
    fake.on("/api/v1/nodes", [listing(thing("a"), token="t1"), gone, listing(thing("b"), token="t2"), listing()])
    items, _version = api.pages("/api/v1/nodes")
    assert [item["metadata"]["name"] for item in items] == ["b"]


def test_a_list_that_always_expires_is_told(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/api/v1/nodes", Status(410, "too old"))
    with pytest.raises(_cluster.Expired, match=r"answered GET /api/v1/nodes with 410: too old"):
        api.pages("/api/v1/nodes")
    assert len(fake.asked) == _cluster.LISTS


@pytest.mark.parametrize("send", ["get", "json_patch"])
def test_a_server_without_time_is_asked_again(fake: FakeApi, api: _cluster.Api, send: str) -> None:
    """A kind whose definition has just come, too, is answered with 429 for a while."""
    fake.on("/api/v1/nodes/n", [Status(429, "storage is (re)initializing"), thing("n")])
    assert getattr(api, send)("/api/v1/nodes/n", *([[]] if send == "json_patch" else [])) == thing("n")
    assert len(fake.asked) == 2


def test_a_server_that_never_has_time_is_told(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/version", Status(429, "too many requests"))
    with pytest.raises(_cluster.Refused, match="429"):
        api.get("/version")
    assert len(fake.asked) == _cluster.TRIES


def test_a_watch_gives_events_until_the_server_ends_it(fake: FakeApi, api: _cluster.Api) -> None:
    events = [{"type": "ADDED", "object": thing("a")}, {"type": "DELETED", "object": thing("a")}]
    fake.on("/api/v1/nodes", Stream(*events))
    assert list(api.watch("/api/v1/nodes", "5", 30)) == events
    assert fake.asked[0][1]["resourceVersion"] == "5"
    assert fake.asked[0][1]["timeoutSeconds"] == "30"


def test_a_watch_that_is_too_old_says_so(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/api/v1/nodes", Stream({"type": "ERROR", "object": {"code": 410, "message": "too old"}}))
    with pytest.raises(_cluster.Expired):
        list(api.watch("/api/v1/nodes", "5", 30))


def test_a_watch_whose_connection_breaks_may_be_tried_again(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/api/v1/nodes", Cut({"type": "ADDED", "object": thing("a")}))
    watch = api.watch("/api/v1/nodes", "5", 30)
    assert next(watch)["type"] == "ADDED"
    with pytest.raises(_cluster.Unreachable):
        next(watch)


def test_a_watch_that_is_too_old_from_the_start_says_so(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/api/v1/nodes", Status(410, "too old resource version"))
    with pytest.raises(_cluster.Expired, match="too old resource version"):
        list(api.watch("/api/v1/nodes", "5", 30))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ["does not know who asks", "said so", "kubectl auth whoami"]),
        (403, ["forbids GET /api/v1/nodes", "said so", "kubectl auth whoami"]),
        (500, ["answered GET /api/v1/nodes with 500", "said so"]),
    ],
)
def test_a_refusal_says_what_was_asked(fake: FakeApi, api: _cluster.Api, status: int, words: list[str]) -> None:
    fake.on("/api/v1/nodes", Status(status, "said so"))
    with pytest.raises(_cluster.Refused) as caught:
        api.pages("/api/v1/nodes")
    assert caught.value.status == status
    assert [word for word in [fake.host, *words] if word not in str(caught.value)] == []


def test_something_else_than_an_api_server(fake: FakeApi, api: _cluster.Api) -> None:
    fake.on("/version", b"<html>Console</html>")
    with pytest.raises(_cluster.ClusterError, match="did not answer with JSON: expected a Kubernetes API server"):
        api.get("/version")


def test_no_server_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(_cluster.Unreachable) as caught:
        _cluster.Api(Configuration(host=host)).get("/version")
    assert f"the cluster at {host} cannot be reached: Failed to establish" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert f"kubectl --server {host} version" in str(caught.value)


def test_a_certificate_of_nobody(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.handle_request, daemon=True).start()
    host = f"https://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(_cluster.ClusterError) as caught:
        _cluster.Api(Configuration(host=host)).get("/version")
    server.server_close()
    assert not isinstance(caught.value, _cluster.Unreachable), "waiting does not make a certificate right"
    assert f"the certificate of {host} cannot be verified: [SSL: CERTIFICATE_VERIFY_FAILED]" in str(caught.value)
    assert "K8S_AUTH_SSL_CA_CERT" in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "hello", "", "{}"], ids=["no YAML", "no mapping", "empty", "no context"])
def test_a_kubeconfig_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    module = SimpleNamespace(params={"kubeconfig": str(tmp_path / "config")})
    with pytest.raises(_cluster.ClusterError, match=r"no way to log in to a cluster with kubeconfig .*; next: give"):
        _cluster.connect(module)


def test_what_is_borrowed_from_kubernetes_core_is_there() -> None:
    """connect() uses names that kubernetes.core does not promise: this fails on the day they go."""
    names = ["_create_auth_spec", "_create_configuration", "_create_headers"]
    assert [name for name in names if not callable(getattr(_cluster.k8s_client, name, None))] == []

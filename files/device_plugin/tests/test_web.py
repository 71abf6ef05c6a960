# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from conftest import RESOURCE, Host, Running
from fake_kubelet import FakeKubelet, until

from accelerator_device_plugin.app import App

Start = Callable[..., Running]


def get(plugin: Running, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{plugin.app.http_port}{page}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_devices_page(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    host.add(0)
    host.add(1)
    plugin = start()
    until(lambda: len(kubelet.devices()) == 2, "two devices")
    host.remove(1)
    until(lambda: kubelet.devices()["1"] == "Unhealthy", "the missing device")
    status, body = get(plugin, "/devices")
    page = json.loads(body)
    for device in page["devices"]:
        assert datetime.fromisoformat(device.pop("since")).tzinfo is not None
    assert status == 200
    assert page == {
        "schema": 2,
        "resource": RESOURCE,
        "node": "worker-1",
        "registered": True,
        "devices": [
            {
                "id": "0", "path": "/dev/toy-0", "health": "Healthy",
                "state": "Healthy", "reason": "Present", "evidence": "", "faults": 0,
            },
            {
                "id": "1", "path": "/dev/toy-1", "health": "Unhealthy",
                "state": "Unhealthy", "reason": "NodeMissing", "evidence": "", "faults": 1,
            },
        ],
    }  # fmt: skip


def test_ready_means_followed_by_a_kubelet_and_alive_does_not(host: Host, start: Start) -> None:
    plugin = start()
    assert get(plugin, "/healthz") == (200, "ok\n")
    status, body = get(plugin, "/readyz")
    assert status == 503
    assert "no kubelet follows" in body
    kubelet = FakeKubelet(host.plugins)
    until(lambda: get(plugin, "/readyz")[0] == 200, "readiness")
    kubelet.stop()
    until(lambda: get(plugin, "/readyz")[0] == 503, "the end of readiness")
    assert get(plugin, "/healthz")[0] == 200


def test_metrics_have_help_and_say_what_happened(host: Host, kubelet: FakeKubelet, start: Start) -> None:
    host.add(0)
    host.add(1)
    plugin = start()
    until(plugin.app.kubelet.registered, "registration")
    kubelet.allocate(["0"])
    status, text = get(plugin, "/metrics")
    assert status == 200
    for line in (
        'accelerator_device_plugin_devices{health="Healthy",resource="example.com/toy"} 2.0',
        'accelerator_device_plugin_devices{health="Unhealthy",resource="example.com/toy"} 0.0',
        'accelerator_device_plugin_allocations_total{resource="example.com/toy",result="granted"} 1.0',
        'accelerator_device_plugin_registrations_total{resource="example.com/toy"} 1.0',
        'accelerator_device_plugin_registration_failures_total{resource="example.com/toy"} 0.0',
        'accelerator_device_plugin_kubelet_restarts_total{resource="example.com/toy"} 0.0',
        'accelerator_device_plugin_registered{resource="example.com/toy"} 1.0',
    ):
        assert line in text.splitlines()
    assert 'last_registration_timestamp_seconds{resource="example.com/toy"} 1.' in text
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    typed = {
        line.split()[2] for line in text.splitlines() if line.startswith("# TYPE") if "_created" not in line
    }
    assert typed <= named


def test_port_in_use_is_named(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    taken = start().app
    second = App(replace(taken.settings, http_port=taken.http_port))
    assert second.run() == 1
    assert f"--http-port {taken.http_port}: Address already in use" in caplog.text


def test_a_client_that_goes_away_leaves_no_traceback(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    plugin = start()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", plugin.app.http_port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by reset
            client.sendall(b"GET /devices HTTP/1.0\r\n\r\n")
    assert get(plugin, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_unknown_page_names_those_that_exist(start: Start) -> None:
    status, body = get(start(), "/nothing")
    assert status == 404
    assert "/devices" in body

# SPDX-License-Identifier: Apache-2.0
"""Several images at a time: how many, in which order they are answered, and what they share."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image, _image_tools, _image_work

NOTHING = {"auth_file": None, "ca_bundle": None, "proxy": None, "signing": None, "tls_verify": True, "timeout": 10}


def site(tmp_path: Path, **over: Any) -> _image_work.Site:
    return _image_work.Site({**NOTHING, **over}, tmp_path)


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_no_more_than_the_limit_at_a_time_and_answers_in_order(
    parallel: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, now, most = threading.Lock(), 0, 0
    together = threading.Barrier(parallel, timeout=60)

    def ensure(params: Any, _site: Any, _folder: Any, _check: bool, result: Any) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()  # broken after its time when fewer are at work at once
        time.sleep(0.01 * (params["number"] % 2))
        with lock:
            now -= 1
        result["number"] = params["number"]

    monkeypatch.setattr(_image_work, "ensure", ensure)
    images = [{"number": number} for number in range(6)]
    results = _image_work.attempt_all(images, site(tmp_path), tmp_path, parallel, False)
    assert [result["number"] for result in results] == list(range(6))
    assert most == parallel


@pytest.mark.parametrize(
    "error", [_image_tools.ToolError("no", "the key: AAAABBBBCCCCDDDDEEEE"), _image.ContextError("no"), OSError("no")]
)
def test_a_failure_is_one_result_and_holds_no_key(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(params: Any, *_rest: Any) -> None:
        if params["fails"]:
            raise error

    monkeypatch.setattr(_image_work, "ensure", ensure)
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\nAAAABBBBCCCCDDDDEEEE\nshort\n")
    (tmp_path / "certificate").write_text("c")
    signing = {"key": str(tmp_path / "key"), "certificate": str(tmp_path / "certificate")}
    mine = site(tmp_path, signing={**signing, "key_data": None, "certificate_data": None})
    first, second = _image_work.attempt_all([{"fails": True}, {"fails": False}], mine, tmp_path, 2, False)
    assert first["failed"]
    assert first["msg"].startswith("no")
    assert "AAAA" not in first["msg"]
    assert "failed" not in second


def test_a_base_is_asked_for_once_however_many_want_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def digest(self: Any, reference: str, next_step: str | None) -> str:
        time.sleep(0.02)
        asked.append(reference)
        return f"sha256:{reference}"

    monkeypatch.setattr(_image_tools.Registry, "digest", digest)
    mine = site(tmp_path)
    threads = [
        threading.Thread(target=lambda: mine.digest(mine.registry("r.example/x"), "r.example/base:1", None))
        for _number in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["r.example/base:1"]


def test_the_signer_is_known_by_its_certificate_alone(tmp_path: Path) -> None:
    import base64
    import hashlib

    data = {"key_data": base64.b64encode(b"KEY").decode(), "certificate_data": base64.b64encode(b"CERT").decode()}
    signer = site(tmp_path, signing={"key": None, "certificate": None, **data}).signer
    assert signer
    assert signer.digest == f"sha256:{hashlib.sha256(b'CERT').hexdigest()}"
    assert {name: Path(path).read_bytes() for name, path in signer.files.items()} == {
        "signing-key": b"KEY",
        "signing-certificate": b"CERT",
    }
    assert Path(signer.files["signing-key"]).stat().st_mode & 0o777 == 0o600


def test_what_is_no_base64_is_refused_and_not_shown(tmp_path: Path) -> None:
    data = {"key_data": "!secret!", "certificate_data": "!secret!"}
    with pytest.raises(_image.ContextError) as caught:
        site(tmp_path, signing={"key": None, "certificate": None, **data})
    assert str(caught.value) == "signing.key_data: expected base64, as in a Secret's data; seen something else"


@pytest.mark.parametrize(
    ("proxy", "environment"),
    [
        ({}, {}),
        (
            {"https": "http://p:1", "http": None, "no_proxy": ".svc"},
            {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://p:1", "no_proxy": ".svc", "NO_PROXY": ".svc"},
        ),
    ],
)
def test_a_proxy_reaches_tools_by_their_environment(proxy: Any, environment: Any) -> None:
    assert _image_work.proxy_environment(proxy) == environment

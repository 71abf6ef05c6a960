# SPDX-License-Identifier: Apache-2.0
"""kmod_image_info with real skopeo, registries and archives: poisoned images are refused, a good one is let through."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PASSWORD, ROOT, Registry, auth_file, free_port, running_registry

sys.path.insert(0, str(ROOT / ".ansible" / "collections"))
sys.path.append(str(ROOT / "tests" / "unit" / "plugins" / "module_utils"))

import kmods
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _kmod_image
from ansible_collections.ecosystem_edge.accelerator.plugins.modules import kmod_image_info

POISONED = kmods.poisoned()
BOUND = 60  # seconds for what must end; no promise of the module's
TOOK: list[float] = []  # seconds, for each image that was read
Options = dict[str, Any]


def options(**given: Any) -> Options:
    """Complete, as Ansible hands them to the module."""
    spec = kmod_image_info.argument_spec()
    asked = {"kernel": kmods.KERNEL, "architecture": "amd64", "modules": ["widget"], "tls_verify": False}
    return {name: field.get("default") for name, field in spec.items()} | asked | given


def report(**given: Any) -> dict[str, Any]:
    began = time.monotonic()
    found = _kmod_image.report(options(**given))
    TOOK.append(time.monotonic() - began)
    return found


def run(*wanted: Options, check: bool = False, **environment: str) -> list[dict[str, Any]]:
    """The results of the module for each set of options, as a play has them."""
    tasks = [{"ecosystem_edge.accelerator.kmod_image_info": w, "ignore_errors": True} for w in wanted]
    book = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "/dev/stdin"]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}", *(["--check"] if check else [])]
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    }
    environment = {**os.environ, **settings, **environment}
    done = subprocess.run(argv, env=environment, input=json.dumps(book), capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return [task["hosts"]["localhost"] for task in json.loads(done.stdout)["plays"][0]["tasks"]]


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., str]:
    def write(*trees: dict[str, Any], name: str = "image.tar", pack: Callable[[bytes], bytes] = gzip.compress) -> str:
        return str(kmods.oci_archive(tmp_path / name, *(pack(kmods.tar(tree)) for tree in trees)))

    return write


def push(archive: str, reference: str, *flags: str) -> str:
    argv = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", *flags, f"oci-archive:{archive}"]
    subprocess.run([*argv, f"docker://{reference}"], check=True, capture_output=True)
    return reference


@pytest.mark.parametrize("poison", POISONED)
def test_a_poisoned_image_is_refused_from_an_archive_and_from_a_registry(
    archive: Callable[..., str], registry: Registry, poison: str
) -> None:
    files, demands, code, words = POISONED[poison]
    path = archive({"etc/base": b"x"}, files)
    reference = push(path, f"{registry.host}/poisoned/{poison.translate(str.maketrans(' ', '-', chr(39)))}:1")
    for source in ({"archive": path}, {"image": reference}):
        found = report(**source, **demands)
        assert found["loadable"] is False
        [finding] = found["findings"]
        assert finding["code"] == code
        said = _kmod_image.refusal(options(**source), found["findings"])
        assert words in said
        assert f"would not load on kernel {kmods.KERNEL}: /opt/lib/modules/" in said
        assert "; next: " in said


def test_a_good_image_is_let_through(archive: Callable[..., str], registry: Registry) -> None:
    path = archive({"etc/base": b"x"}, kmods.good())
    for source in ({"archive": path}, {"image": push(path, f"{registry.host}/good:1")}):
        found = report(**source, require_signed=True, firmware=["widget/fw.bin"])
        assert (found["loadable"], found["findings"]) == (True, [])
        assert found["layers"] == {"count": 2, "read": 1}
        widget = next(module for module in found["modules"] if module["name"] == "widget")
        assert (widget["signer"], widget["signature_digest"]) == ("Build time key of the tests", "sha512")
        assert (widget["version"], widget["depends"], widget["loadable"]) == ("0.1.0", ["gadget"], True)


def test_as_a_play_has_it(archive: Callable[..., str]) -> None:
    """One message when it demands, a report when it does not; both with and without check mode."""
    bad, good = archive(POISONED["wrong kernel"][0], name="bad.tar"), archive(kmods.good(), name="good.tar")
    wanted = {"kernel": kmods.KERNEL, "architecture": "x86_64", "modules": ["widget"]}
    tasks = [
        {"archive": bad, **wanted, "demand": True},
        {"archive": bad, **wanted},
        {"archive": good, **wanted, "demand": True},
        {"archive": good},
        {"archive": good, "image": "a"},
    ]
    refused, told, fine, asked_nothing, wrong = run(*tasks, check=True)
    path = f"/opt/lib/modules/{kmods.KERNEL}/extra/widget.ko"
    assert refused["failed"]
    assert refused["msg"] == (
        f"{bad} would not load on kernel {kmods.KERNEL}: {path}: it is built for kernel {kmods.OTHER}, expected "
        f"{kmods.KERNEL}; next: build it against the headers of {kmods.KERNEL}"
    )
    assert refused["findings"] == told["findings"]
    assert (told.get("failed", False), told["changed"], told["loadable"]) == (False, False, False)
    assert [(r["loadable"], r["changed"], len(r["modules"])) for r in (fine, asked_nothing)] == [(True, False, 2)] * 2
    assert "mutually exclusive" in wrong["msg"]


def test_the_base_image_is_not_fetched(archive: Callable[..., str], tmp_path: Path) -> None:
    """It is not even there any more."""
    (tmp_path / "data").mkdir()
    with running_registry(tmp_path) as registry:
        path = archive({"usr/bin/base": os.urandom(1 << 20)}, kmods.good())
        reference = push(path, f"{registry.host}/with-base:1")
        blobs = (tmp_path / "data/docker/registry/v2/blobs").rglob("data")
        largest = max(blobs, key=lambda blob: blob.stat().st_size)
        assert largest.stat().st_size > 1 << 20
        shutil.rmtree(largest.parent)
        assert report(image=reference)["loadable"]
        with pytest.raises(
            _kmod_image.ImageError, match=r"/with-base:1 cannot be read: layer sha256:.* 404 \(Not Found\)"
        ):
            report(image=reference, firmware=["not/there"])


def test_each_kind_of_archive(archive: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    path = archive({"etc/base": b"x"}, kmods.good())
    for kind in ("oci", "docker-archive"):
        target = f"{kind}:{tmp_path / kind}" + (":widget:1" if kind == "docker-archive" else "")
        subprocess.run(["skopeo", "copy", "--quiet", f"oci-archive:{path}", target], check=True, capture_output=True)
        assert report(archive=str(tmp_path / kind))["loadable"], kind
    assert not list((tmp_path / "temporary").iterdir()), "what skopeo unpacks goes with it"


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd on this machine")
def test_layers_that_are_compressed_with_zstd(archive: Callable[..., str], registry: Registry) -> None:
    path = archive(kmods.good(), pack=lambda d: subprocess.run(["zstd", "-q"], input=d, capture_output=True).stdout)
    assert report(image=push(path, f"{registry.host}/zstd:1"))["loadable"]


def test_the_image_of_the_architecture_is_taken_from_a_list(registry: Registry, tmp_path: Path) -> None:
    trees = {"amd64": kmods.AMD64, "arm64": kmods.ARM64}
    host, entries = registry.host, []
    for name, machine in trees.items():
        blob = kmods.tar(kmods.tree(("widget", kmods.ko(machine=machine))))
        path = kmods.oci_archive(tmp_path / name, gzip.compress(blob), architecture=name)
        reference = push(str(path), f"{host}/many:{name}")
        raw = subprocess.run(
            ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}"],
            check=True,
            capture_output=True,
        ).stdout
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        kind = "application/vnd.oci.image.manifest.v1+json"
        platform = {"architecture": name, "os": "linux"}
        entries.append({"mediaType": kind, "digest": digest, "size": len(raw), "platform": platform})
    put_index(f"http://{host}/v2/many/manifests/all", {"schemaVersion": 2, "manifests": entries})
    for name in trees:
        found = report(image=f"{host}/many:all", architecture=name)
        assert [one["architecture"] for one in found["modules"]] == [name]
    for unreadable in ("fail", "warn"):
        with pytest.raises(_kmod_image.ImageError, match=r"is not there: .*no image found in .*s390x"):
            report(image=f"{host}/many:all", architecture="s390x", unreadable=unreadable)


def put_index(url: str, index: dict[str, Any]) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    request = urllib.request.Request(url, json.dumps({**index, "mediaType": kind}).encode(), method="PUT")
    request.add_header("Content-Type", kind)
    urllib.request.urlopen(request).close()


def test_an_image_that_is_not_there(registry: Registry) -> None:
    for unreadable in ("fail", "warn"):
        with pytest.raises(_kmod_image.ImageError) as error:
            report(image=f"{registry.host}/nothing/here:1", unreadable=unreadable)
        assert str(error.value).startswith(
            f"{registry.host}/nothing/here:1 is not there: registry {registry.host} says:"
        )
        assert str(error.value).endswith("; next: build and push it, or correct the reference")


def test_a_registry_that_is_not_there_fails_or_warns() -> None:
    image = f"localhost:{free_port()}/a:1"
    failed, warned = run({"image": image}, {"image": image, "unreadable": "warn", "demand": True})
    assert failed["failed"]
    assert f"does not give {image}: " in failed["msg"]
    assert f"connection refused; next: skopeo inspect docker://{image}" in failed["msg"]
    assert not warned.get("failed")
    assert (warned["loadable"], warned["modules"]) == (None, [])
    assert "it was not proven that the image loads on its kernel" in warned["unproven"]
    assert warned["unproven"] in warned["warnings"]


def test_a_registry_without_tls_is_refused_unless_allowed(archive: Callable[..., str], registry: Registry) -> None:
    reference = push(archive(kmods.good()), f"{registry.host}/plain:1")
    with pytest.raises(_kmod_image.ImageError, match="server gave HTTP response to HTTPS client"):
        report(image=reference, tls_verify=True)


def test_a_registry_that_wants_a_password(
    archive: Callable[..., str], locked_registry: Registry, tmp_path: Path
) -> None:
    auth = str(auth_file(tmp_path, locked_registry.host, PASSWORD))
    reference = push(archive(kmods.good()), f"{locked_registry.host}/locked:1", f"--authfile={auth}")
    assert report(image=reference, auth_file=auth)["loadable"]
    with pytest.raises(_kmod_image.ImageError, match=r"authentication required|unauthorized") as error:
        report(image=reference)
    assert PASSWORD not in str(error.value)
    with pytest.raises(_kmod_image.Unproven):
        report(image=reference, unreadable="warn")


WRONG = {
    "nothing": (lambda path: None, "archive: expected a file, or a folder with oci-layout, at .*; seen nothing"),
    "a folder": (lambda path: path.mkdir(), "seen a folder without it"),
    "a text": (lambda path: path.write_text("no archive\n" * 100), "archive: .* cannot be read: "),
    "another archive": (
        lambda path: path.write_bytes(kmods.tar({"a": b""})),
        "is no image: expected an OCI or docker archive",
    ),
    "half an archive": (lambda path: path.write_bytes(half(path)), "cannot be read"),
}


def half(path: Path) -> bytes:
    whole = kmods.oci_archive(path, kmods.tar({"opt/a": os.urandom(30000)})).read_bytes()
    return whole[:20000]


@pytest.mark.parametrize("case", WRONG)
def test_archives_that_are_none(tmp_path: Path, case: str) -> None:
    make, words = WRONG[case]
    make(tmp_path / "image.tar")
    with pytest.raises(_kmod_image.ImageError, match=words):
        report(archive=str(tmp_path / "image.tar"))


def test_a_layer_that_is_damaged(archive: Callable[..., str]) -> None:
    path = archive(kmods.good(), pack=lambda data: gzip.compress(data)[:-50])
    with pytest.raises(_kmod_image.ImageError, match=r"image\.tar cannot be read: layer sha256:.* gzip data end early"):
        report(archive=path)


def test_a_registry_that_hangs(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(_kmod_image.ImageError, match=r"skopeo did not end within 2 s \(option timeout\)"):
            report(image=f"127.0.0.1:{silent.getsockname()[1]}/a:1", timeout=2)
        assert time.monotonic() - began < BOUND
        with pytest.raises(_kmod_image.Unproven, match=r"did not end within 1 s"):
            report(image=f"127.0.0.1:{silent.getsockname()[1]}/a:1", timeout=1, unreadable="warn")


def test_symvers_that_are_none(archive: Callable[..., str], tmp_path: Path) -> None:
    path = archive(kmods.good())
    with pytest.raises(
        _kmod_image.ImageError, match=r"symvers: nothing at /nowhere: expected the kernel's Module\.symvers"
    ):
        report(archive=path, symvers="/nowhere")
    (tmp_path / "symvers").write_text("x\n")
    with pytest.raises(_kmod_image.ImageError, match=r"symvers: .* cannot be read: line 1: expected CRC"):
        report(archive=path, symvers=str(tmp_path / "symvers"))
    (tmp_path / "symvers").write_text("0x00000001\tgadget_close\tdrivers/gadget\tEXPORT_SYMBOL\t\n")
    found = report(archive=path, symvers=str(tmp_path / "symvers"))
    assert [one["code"] for one in found["findings"]] == ["symbol"]
    assert [one["loadable"] for one in found["modules"]] == [True, False]


def test_how_long_an_image_takes(archive: Callable[..., str], say: Callable[[str], None]) -> None:
    report(archive=archive(kmods.good()))
    say(f"{len(TOOK)} images read, {max(TOOK):.2f} s for the slowest; the goal is under 5 s")

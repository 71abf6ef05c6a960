# SPDX-License-Identifier: Apache-2.0
"""accelerator_images: several builds at a time, and what signs them, with real podman, skopeo and registries."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import ROOT, Builder

# Both builds must be at work before either goes on: one after the other, this would never end.
MEET = """#!/bin/sh
if [ "$1" = build ]; then
  : > {folder}/started.$$
  tries=0
  until [ "$(ls {folder} | grep -c started)" -ge 2 ]; do
    tries=$((tries + 1)); [ $tries -lt 600 ] || {{ echo "Error: no other build came" >&2; exit 1; }}
    sleep 0.1
  done
fi
exec {podman} "$@"
"""
USES_KEY = (
    "FROM scratch",
    "COPY sh /bin/sh",
    'ARG SIGNER=""',
    "RUN --mount=type=secret,id=signing-key --mount=type=secret,id=signing-certificate "
    "{command} /run/secrets/signing-key",
)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """A signing key and its certificate, as openssl makes them."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "2"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return {"key": str(key), "certificate": str(certificate)}


def key_lines(keys: dict[str, str]) -> list[str]:
    lines = [line for line in Path(keys["key"]).read_text().splitlines() if not line.startswith("-----")]
    assert len(lines) > 10
    return lines


def holding(folder: Path, lines: list[str]) -> list[str]:
    """The files below a folder that hold a line of the key, in the clear or in base64."""
    wanted = [form for line in lines for form in (line.encode(), base64.b64encode(line.encode())[:40])]
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files, f"nothing to look at in {folder}"
    return [str(path) for path in files if any(form in path.read_bytes() for form in wanted)]


def pushed(reference: str, folder: Path) -> Path:
    """What the registry has: configuration with history, and the layers unpacked."""
    argv = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{reference}", f"dir:{folder}"]
    subprocess.run(argv, check=True)
    for blob in list(folder.iterdir()):
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            plain = blob.with_suffix(".tar")
            plain.write_bytes(gzip.decompress(blob.read_bytes()))
            with tarfile.open(plain) as tar:
                # Python 3.11.2, Debian 12's, has no filter yet; what a build of ours made needs none.
                tar.extractall(folder / f"{blob.name}.files")
    return folder


def test_several_images_are_built_at_the_same_time_and_only_once(builder: Builder, tmp_path: Path) -> None:
    stub, meeting = tmp_path / "bin" / "podman", tmp_path / "meeting"
    stub.parent.mkdir()
    meeting.mkdir()
    stub.write_text(MEET.format(folder=meeting, podman=shutil.which("podman")))
    stub.chmod(0o755)
    images = [{"tag": "1.0-6.1.0", "build_args": {"K": "6.1.0"}}, {"tag": "1.0-6.12.0", "build_args": {"K": "6.12.0"}}]
    first = builder.run_all(*images, parallel=2, path=f"{stub.parent}:{os.environ['PATH']}")
    assert [result.get("msg") for result in first["results"]] == [None, None]
    assert [result["pushed"] for result in first["results"]] == [True, True]
    assert [result["image"].rpartition(":")[2] for result in first["results"]] == ["1.0-6.1.0", "1.0-6.12.0"]
    assert sorted(builder.registry.tags(builder.repository)) == ["1.0-6.1.0", "1.0-6.12.0"]
    again = builder.run_all(*images)
    assert (again["changed"], [result["built"] for result in again["results"]]) == (False, [False, False])


def test_one_that_fails_is_named_with_its_output_and_the_others_are_done(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "Broken").write_text("FROM scratch\nCOPY sh /bin/sh\nRUN fail\n")
    broken = {"tag": "broken", "title": "kernel 6.12.0", "containerfile": str(tmp_path / "Broken")}
    failed = builder.run_all(broken, {"tag": "good", "title": "kernel 6.1.0"}, parallel=1)
    lines = failed["msg"].splitlines()
    assert lines[0] == "1 of 2 images failed, the others are done"
    assert lines[1].startswith("kernel 6.12.0: the build of ")
    assert "device.c:3:5: error: implicit declaration of function 'class_create'" in lines
    assert "kernel 6.1.0:" not in failed["msg"]
    assert failed["changed"], "one was built"
    assert [result["pushed"] for result in failed["results"]] == [False, True]
    assert builder.registry.tags(builder.repository) == ["good"]


def test_the_signing_key_is_nowhere_but_in_the_build(builder: Builder, keys: dict[str, str], tmp_path: Path) -> None:
    """Not in a layer of any stage, nor in a configuration or history, nor in what is printed."""
    lines = key_lines(keys)
    recipe = [line.format(command="size") for line in USES_KEY]
    recipe[0] += " AS builder"
    builder.recipe(*recipe, "FROM scratch", "COPY --from=builder /bin/sh /bin/sh", "COPY content /")
    built = builder.run_all({"tag": "signed"}, signing=keys)
    [result] = built["results"]
    assert result["pushed"], built
    assert holding(builder.layers, lines) == []
    assert holding(pushed(result["image"], tmp_path / "pushed"), lines) == []
    assert [line for line in lines if line in builder.said] == []

    # The search finds a key that is there.
    shutil.copy(keys["key"], builder.context / "content")
    leaked = builder.run_all({"tag": "leaked"}, signing=keys)["results"][0]
    assert holding(builder.layers, lines) != []
    assert holding(pushed(leaked["image"], tmp_path / "leaked"), lines) != []


def test_a_build_that_prints_the_key_is_not_quoted(builder: Builder, keys: dict[str, str]) -> None:
    builder.recipe(*(line.format(command="betray") for line in USES_KEY))
    failed = builder.run_all({"title": "kernel 6.1.0"}, signing=keys)
    assert "error: ***" in failed["msg"], failed["msg"]
    assert [line for line in key_lines(keys) if line in builder.said] == []


def test_another_certificate_is_another_image(builder: Builder, keys: dict[str, str]) -> None:
    builder.recipe(*(line.format(command="size") for line in USES_KEY))
    unsigned = builder.run_all({"tag": "a"}, signing=None)
    assert "nothing there" in unsigned["msg"]
    first = builder.run_all({"tag": "a"}, signing=keys)["results"][0]
    assert not builder.run_all({"tag": "a"}, signing=keys)["changed"]
    Path(keys["certificate"]).write_text("another\n")
    other = builder.run_all({"tag": "a"}, signing=keys)["results"][0]
    assert other["built"]
    assert len({first["key"], other["key"], unsigned["results"][0]["key"]}) == 3


def test_keys_of_a_secret_are_given_by_their_content(builder: Builder, keys: dict[str, str]) -> None:
    builder.recipe(*(line.format(command="size") for line in USES_KEY))
    by_file = builder.run_all({"tag": "a"}, signing=keys)["results"][0]
    data = {f"{name}_data": base64.b64encode(Path(path).read_bytes()).decode() for name, path in keys.items()}
    by_data = builder.run_all({"tag": "a"}, signing=data)
    assert (by_data["changed"], by_data["results"][0]["key"]) == (False, by_file["key"])
    assert data["key_data"] not in builder.said
    assert list(builder.remote.rglob("accelerator-image-*")) == []


def test_the_proxy_is_there_while_building_and_nowhere_else(builder: Builder) -> None:
    proxy = {"https": "http://proxy.invalid:3128", "no_proxy": "localhost"}
    builder.recipe("FROM scratch", "COPY sh /bin/sh", "RUN environment https_proxy", "RUN environment NO_PROXY")
    without = builder.run_all({"tag": "a"})
    assert "error: https_proxy is not set" in without["msg"]
    built = builder.run_all({"tag": "a"}, proxy=proxy)["results"][0]
    assert built["pushed"]
    assert built["key"] == without["results"][0]["key"]
    argv = ["skopeo", "inspect", "--config", "--tls-verify=false", f"docker://{built['image']}"]
    assert "proxy.invalid" not in subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert "proxy.invalid" not in json.dumps(built)


def test_the_roles_build_on_each_host_and_export_in_order(builder: Builder, tmp_path: Path) -> None:
    """common/tasks/image.yml: what a play delegates to a build host, here the same machine under another name."""
    name = f"{builder.registry.host}/{builder.repository}"
    image = {"name": name, "context": str(builder.context), "build_args": {}, "bases": [], "component": "driver"}
    images = [{**image, "tag": "a", "host": "pi"}, {**image, "tag": "b"}, {**image, "tag": "c", "host": "pi"}]
    site = {"tls_verify": False, "push_auth_file": None, "ca_bundle": None, "proxy": {"http": None}}
    definition = {"driver": {"build": {"parallel": 2}}, "images": site}
    role = {"name": "ecosystem_edge.accelerator.common", "tasks_from": "image.yml"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.import_role": role, "vars": {"common_images": images}},
            {"ansible.builtin.debug": {"var": "common_built.results | map(attribute='image')"}, "name": "told"},
            {"ansible.builtin.import_role": role, "vars": {"common_images": []}},
            {"ansible.builtin.debug": {"var": "common_built.results"}, "name": "told"},
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    (tmp_path / "inventory").write_text(f"localhost {local}\npi {local}\n")
    environment = {**os.environ, **builder.environment, **builder.ansible}
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(tmp_path / "inventory")]
    done = subprocess.run(
        [*argv, str(tmp_path / "play.yml"), "-e", json.dumps({"accelerator_definition": definition})],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tasks = [task for run in json.loads(done.stdout)["plays"] for task in run["tasks"]]
    told = [task["hosts"]["localhost"] for task in tasks if task["task"]["name"] == "told"]
    assert told[0]["common_built.results | map(attribute='image')"] == [f"{name}:{tag}" for tag in "abc"]
    assert told[1]["common_built.results"] == []
    by_host = [item["__common_host"]["host"] for item in tasks[0]["hosts"]["localhost"]["results"]]
    assert by_host == ["pi", None]

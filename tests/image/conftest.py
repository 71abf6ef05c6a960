# SPDX-License-Identifier: Apache-2.0
"""Registries on loopback, a container storage of the tests' own, and the module as Ansible runs it.

Nothing here is skipped: a missing tool is a failure that names its package.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from measured import pytest_terminal_summary, say  # noqa: E402

__all__ = ("pytest_terminal_summary", "say")
TOOLS = {"podman": "podman", "skopeo": "skopeo", "docker-registry": "docker-registry", "gcc": "gcc"}
STARTS_SECONDS, MODULE_SECONDS = 60, 600  # no promise of anybody's: these tests run beside a lab, which comes first
USER, PASSWORD = "builder", "correct-horse"
HASHED = "$2b$04$8RsKShU4VJHNYMv.UiykSOnpUNqKOO0Jmsz/8PIfBxycwbG.HFirO"  # of PASSWORD, as htpasswd -B does


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if missing:
        pytest.fail(f"not on PATH: {missing}; next: apt-get install {' '.join(missing)}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Registry:
    host: str

    def tags(self, repository: str) -> list[str]:
        try:
            with urllib.request.urlopen(f"http://{self.host}/v2/{repository}/tags/list") as answer:
                return json.load(answer)["tags"] or []
        except urllib.error.HTTPError:
            return []


@contextmanager
def running_registry(folder: Path, storage: str = "", auth: str = "") -> Iterator[Registry]:
    host = f"localhost:{free_port()}"
    address = host.replace("localhost", "127.0.0.1")
    options = ", ".join(filter(None, [f"filesystem: {{rootdirectory: {folder}/data}}", storage]))
    config = folder / "config.yml"
    config.write_text(f"version: 0.1\nstorage: {{{options}}}\nhttp: {{addr: '{address}'}}\n{auth}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        for _try in range(STARTS_SECONDS * 10):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(host.split(":")[1]))) == 0:
                    break
            time.sleep(0.1)
        else:
            pytest.fail(f"no registry at {host} after {STARTS_SECONDS} s: {(folder / 'log').read_text()[-500:]}")
        yield Registry(host)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One that wants a password."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "htpasswd").write_text(f"{USER}:{HASHED}\n")
    auth = f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
    with running_registry(folder, auth=auth) as registry:
        yield registry


def auth_file(folder: Path, host: str, password: str) -> Path:
    path = folder / "auth.json"
    path.write_text(json.dumps({"auths": {host: {"auth": b64encode(f"{USER}:{password}".encode()).decode()}}}))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("shell") / "sh"
    subprocess.run(["gcc", "-static", "-Os", "-o", program, Path(__file__).with_name("fake_shell.c")], check=True)
    return program


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of podman with a storage of its own, which is removed afterwards."""
    folder = tmp_path_factory.mktemp("storage")
    config = folder / "storage.conf"
    config.write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n')
    environment = {"CONTAINERS_STORAGE_CONF": str(config), "BUILDAH_ISOLATION": "chroot"}
    yield environment
    # Not `podman system reset`: that deletes /run/libpod as well, which a play on the lab beside these tests may use.
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=False)


@dataclass
class Builder:
    """A build host: a context, and the module run on it."""

    context: Path
    registry: Registry
    environment: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    repository: str = ""
    said: str = ""  # all that Ansible printed in the last run

    @property
    def layers(self) -> Path:
        """Where podman has the layers of all stages, uncompressed, with each image's configuration and history."""
        return Path(self.environment["CONTAINERS_STORAGE_CONF"]).parent / "graph"

    @property
    def remote(self) -> Path:
        """Where Ansible and the module have their temporary files: other plays run on this machine, too."""
        return self.context.parent / "remote"

    @property
    def ansible(self) -> dict[str, str]:
        return {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "ANSIBLE_REMOTE_TMP": str(self.remote),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        }

    def run(self, check: bool = False, path: str | None = None, **options: Any) -> dict[str, Any]:
        """The module's result, which has `failed` when it failed."""
        name = f"{self.registry.host}/{self.repository}"
        wanted = {"name": name, "context": str(self.context), "tls_verify": False, **self.options, **options}
        return self.module("accelerator_image", wanted, check, path)

    def run_all(self, *images: dict[str, Any], path: str | None = None, **options: Any) -> dict[str, Any]:
        """The result of accelerator_images, of images with this context."""
        name = f"{self.registry.host}/{self.repository}"
        complete = [{"name": name, "context": str(self.context), **image} for image in images]
        return self.module("accelerator_images", {"images": complete, "tls_verify": False, **options}, False, path)

    def module(self, module: str, wanted: dict[str, Any], check: bool, path: str | None) -> dict[str, Any]:
        wanted = {key: value for key, value in wanted.items() if value is not None}
        argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "-i", "localhost,", "-c", "local"]
        argv += ["-e", f"ansible_python_interpreter={sys.executable}", *(["--check", "--diff"] if check else [])]
        argv += ["-m", f"ecosystem_edge.accelerator.{module}", "-a", json.dumps(wanted)]
        environment = {**os.environ, **self.environment, **self.ansible, **({"PATH": path} if path else {})}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=MODULE_SECONDS, cwd=ROOT)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        self.said = done.stdout + done.stderr
        return json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]["localhost"]

    def podman(self, *argv: str) -> str:
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            ["podman", *argv], env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def recipe(self, *lines: str) -> None:
        (self.context / "Containerfile").write_text("\n".join(lines) + "\n")


@pytest.fixture
def builder(
    tmp_path: Path, registry: Registry, storage: dict[str, str], shell: Path, request: pytest.FixtureRequest
) -> Builder:
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy(shell, context / "sh")
    (context / "content").write_text("one\n")
    builder = Builder(context, registry, storage, repository=request.node.name.replace("[", "-").replace("]", ""))
    builder.recipe("FROM scratch", "COPY sh /bin/sh", "COPY content /")
    return builder

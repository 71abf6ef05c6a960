# SPDX-License-Identifier: Apache-2.0
"""A real API server per purpose, started through the lab, which builds it when it is not there yet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GENUINE = ROOT.parent / "shared" / "crds"
# What tests share, the lab's packages, and the collection under its own name, by the link that `make setup` makes.
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "lab"), str(ROOT / ".ansible" / "collections")]

from cluster import FakeKubelet, api_server, report  # noqa: E402
from measured import pytest_terminal_summary, say  # noqa: E402
from plays import Roles  # noqa: E402
from scene import Scene  # noqa: E402
from stand_ins.controller import Controller, install_definitions  # noqa: E402
from stand_ins.kube import NAMESPACES, NODES, Kube, Object  # noqa: E402

__all__ = ("pytest_terminal_summary", "say")


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """The API server on which the stand-ins play."""
    with api_server(tmp_path_factory.mktemp("stand-ins")) as kube:
        yield kube


@pytest.fixture(scope="session")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kube, Path]]:
    """An API server with the definitions of all operators, and none of their controllers; and its kubeconfig."""
    folder = tmp_path_factory.mktemp("operators")
    with api_server(folder) as kube:
        for name in ("olm", "kmm", "nfd", "monitoring"):
            install_definitions(kube, name, "test")
        yield kube, next(folder.glob("kubeconfigs/*.yml"))


@pytest.fixture
def roles(operators: tuple[Kube, Path], tmp_path: Path) -> Roles:
    return Roles(operators[1], tmp_path)


@pytest.fixture
def scene(operators: tuple[Kube, Path]) -> Iterator[Scene]:
    scene = Scene(operators[0])
    yield scene
    scene.clear()


class Loader(yaml.CSafeLoader):
    """YAML 1.1 gives a lone = a meaning of its own; genuine definitions use it as a text."""

    yaml_implicit_resolvers = {c: r for c, r in yaml.CSafeLoader.yaml_implicit_resolvers.items() if c != "="}


@pytest.fixture(scope="session")
def genuine() -> dict[str, Object]:
    """The genuine definitions, by name."""
    if not GENUINE.is_dir():
        pytest.skip(f"genuine definitions not found in {GENUINE}: nothing is compared with them")
    files = [file for group in ("nfd", "kmm", "olm", "monitoring") for file in (GENUINE / group).glob("*.yaml")]
    documents = [d for file in files for d in yaml.load_all(file.read_text(), Loader) if d]
    return {d["metadata"]["name"]: d for d in documents}


@pytest.fixture
def play() -> Iterator[Callable[..., None]]:
    """Starts controllers; they end with the test."""
    started: list[Controller] = []

    def start(*controllers: Controller) -> None:
        for controller in controllers:
            controller.start()
            started.append(controller)

    yield start
    for controller in started:
        controller.stop()


@pytest.fixture
def namespace(kube: Kube) -> str:
    """A namespace of the test's own, with the account that a controller manager would make."""
    name = f"test-{time.time_ns() % 10**9}"
    kube.create(NAMESPACES, NAMESPACES.new(name))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
    kube.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
    return name


@pytest.fixture
def node(kube: Kube) -> Iterator[Object]:
    """A Node as the kubelet would report it, ready, with an accelerator's label."""
    node = NODES.new("worker-1")
    node["metadata"]["labels"] = {"accelerator": "present"}
    kube.create(NODES, node)
    report(kube, "boot-1")
    yield node
    kube.delete(NODES, "worker-1")


@pytest.fixture
def kubelet(kube: Kube, play: Callable[..., None]) -> FakeKubelet:
    kubelet = FakeKubelet(kube)
    play(kubelet)
    return kubelet

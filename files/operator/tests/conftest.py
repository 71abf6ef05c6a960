# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from accelerator_site import Site
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition
from cluster import Cluster, Obj, eventually, served

ROOT = Path(__file__).resolve().parents[3]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ROOT / "lab" / "lab"), "api-server", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            kubeconfig = server.stdout.readline().strip()
            assert kubeconfig, f"{' '.join(command)} printed no kubeconfig"
            try:
                cluster = Cluster(Path(kubeconfig))
                crds = yaml.safe_load((ROOT / "lab/stand_ins/crds/kmm.yaml").read_text())
                for crd in crds["items"]:
                    cluster.apply(crd)
                eventually(lambda: served(cluster, "Module"))
                yield cluster
            finally:
                server.terminate()


def make_definition(name: str) -> Obj:
    return _definition.load(
        {
            "name": name,
            "resource": f"example.com/{name}",
            "hardware": {"node_label": {f"example.com/{name}": "yes"}},
            "driver": {"module": f"{name}_mod"},
            "images": {
                "registry": f"registry.example/{name}",
                "driver": f"registry.example/{name}/driver:1-${{KERNEL_FULL_VERSION}}",
                "device_plugin": f"registry.example/{name}/device-plugin:1",
                "operator": f"registry.example/{name}/operator:1",
                "consumer": f"registry.example/{name}/consumer:1",
            },
            "devices": {"count": 5},
            "consumer": {"command": ["consume"]},
        },
        overrides={},
        folder="",
    )


@pytest.fixture
def definition() -> Obj:
    return make_definition(f"accel{next(_numbers)}")


@pytest.fixture
def site(cluster: Cluster, definition: Obj, tmp_path: Path) -> Iterator[Site]:
    site = Site(cluster, definition, tmp_path)
    site.install()
    try:
        yield site
    finally:
        site.stop()

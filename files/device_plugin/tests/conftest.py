# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_kubelet import FakeKubelet, until
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from accelerator_device_plugin.app import App, Settings
from accelerator_device_plugin.service import Grant

RESOURCE = "example.com/toy"

# How long an example takes says how busy the machine is, and nothing of us. Each run tries the same ones.
hypothesis_settings.register_profile(
    "ours", deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("ours")


@dataclass
class Host:
    """A node: /dev with real device nodes, /sys that names the drivers' devices, the kubelet's folder."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("root/dev", "sys/dev/char", "plugins"):
            (self.folder / name).mkdir(parents=True)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def sysfs(self) -> Path:
        return self.folder / "sys"

    @property
    def plugins(self) -> Path:
        return self.folder / "plugins"

    def add(self, key: int, name: str | None = None, minor: int | None = None) -> None:
        name, minor = name or f"toy-{key}", 200 + key if minor is None else minor
        driver = self.sysfs / f"dev/char/10:{minor}"
        driver.mkdir(exist_ok=True)
        (driver / "uevent").write_text(f"MAJOR=10\nMINOR={minor}\nDEVNAME={name}\n")
        node = self.root / "dev" / name
        node.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(10, minor))
        except PermissionError:
            pytest.skip("needs the right to make device nodes: run as root")

    def say(self, key: int, word: str) -> None:
        """What the driver says of a device, in one write like its own: never empty in between."""
        file = self.sysfs / f"dev/char/10:{200 + key}/health"
        with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o644), "w") as health:
            health.write(f"{word:<20}\n")

    def remove(self, key: int) -> None:
        (self.root / f"dev/toy-{key}").unlink()
        shutil.rmtree(self.sysfs / f"dev/char/10:{200 + key}")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def kubelet(host: Host) -> Iterator[FakeKubelet]:
    kubelet = FakeKubelet(host.plugins)
    yield kubelet
    kubelet.stop()


@dataclass
class Running:
    app: App
    thread: threading.Thread
    codes: list[int]

    def stop(self) -> int:
        self.app.stop()
        self.thread.join(timeout=10)
        assert not self.thread.is_alive(), "the plugin did not stop within 10 s"
        return self.codes[0]


@pytest.fixture
def start(host: Host) -> Iterator[Callable[..., Running]]:
    """Starts plugins in threads; `interval` is long, so that what a test sees was brought by events."""
    plugins: list[Running] = []

    def run(
        interval: float = 3600,
        glob: str = "/dev/toy-*",
        grant: Grant = Grant("rw", "toy"),  # noqa: B008
        **settings: object,
    ) -> Running:
        app = App(
            Settings(
                resource=RESOURCE,
                device_glob=glob,
                grant=grant,
                interval=interval,
                http_port=0,
                plugin_dir=host.plugins,
                root=host.root,
                sysfs=host.sysfs,
                node="worker-1",
                **settings,  # type: ignore[arg-type]
            )
        )
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(app.run()))
        plugins.append(Running(app, thread, codes))
        thread.start()
        until(lambda: app.http_port > 0 and app.kubelet.socket.exists(), "the plugin's socket")
        return plugins[-1]

    yield run
    for plugin in plugins:
        plugin.stop()

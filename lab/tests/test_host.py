# SPDX-License-Identifier: Apache-2.0
"""Parts of the lab that use the host: files, ports, certificates, processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accelerator_lab import cache, kubeconfig, ports, processes, ssh
from accelerator_lab.instance import Instance
from accelerator_lab.pki import Authority

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
BOUND = 120  # seconds; no promise of the lab's: beside other tests a Python may start for ten


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.stop(tmp_path, grace=1)


@pytest.fixture
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.usefixtures("_own_cache")
def test_a_product_is_made_once_by_many_threads() -> None:
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: cache.produce("kind", "key", made.append)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


@pytest.mark.usefixtures("_own_cache")
def test_a_product_that_failed_is_made_anew() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        cache.produce("kind", "key", fail)
    made = cache.produce("kind", "key", lambda folder: (folder / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]


def test_a_file_is_whole_also_when_many_write_it(tmp_path: Path) -> None:
    """kubeconfigs are written by every command, and commands run at the same time."""
    texts = [str(number) * 5000 for number in range(8)]
    found, over = set(), threading.Event()

    def write(text: str) -> None:
        while not over.is_set():
            kubeconfig.write(tmp_path / "file", text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    wait_for(lambda: (tmp_path / "file").exists())
    for _ in range(300):
        found.add((tmp_path / "file").read_text())
    over.set()
    for thread in threads:
        thread.join()
    assert found <= set(texts)
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("file", 0o600)]


def test_who_waits_for_a_lock_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    with cache.locked(tmp_path / "lock", lambda: told.append("first")):
        waiter = threading.Thread(target=wait, args=(tmp_path / "lock", told))
        waiter.start()
        wait_for(lambda: told == ["second"])
    waiter.join()
    assert told == ["second", "in"]


def wait(lock: Path, told: list[str]) -> None:
    with cache.locked(lock, lambda: told.append("second")):
        told.append("in")


def test_a_port_is_kept_unless_a_stranger_has_it(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = ports.assign(file, "seed", ["one", "two"])
    assert ports.assign(file, "seed", ["one", "two"]) == first
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", first["one"]))
        stranger.listen()
        assert ports.assign(file, "seed", ["one"], in_use=["one"])["one"] == first["one"]
        moved = ports.assign(file, "seed", ["one", "two"])
    assert moved["one"] not in (first["one"], first["two"])
    assert moved["two"] == first["two"] == json.loads(file.read_text())["two"]


def test_certificates_serve_and_identify(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "test")
    server = authority.issue("server", "server", hosts=("127.0.0.1", "kubernetes.default.svc"))
    user = authority.issue("user", "system:node:node-1", ("system:nodes",))
    assert Authority(tmp_path, "test").issue("user", "another") == user, "made once"
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(server.certificate, server.key)
    there.load_verify_locations(authority.pair.certificate)
    there.verify_mode = ssl.CERT_REQUIRED
    here = ssl.create_default_context(cafile=authority.pair.certificate)
    here.verify_flags |= ssl.VERIFY_X509_STRICT
    here.load_cert_chain(user.certificate, user.key)
    near, far = socket.socketpair()
    serving = threading.Thread(target=lambda: subjects.append(there.wrap_socket(far, server_side=True).getpeercert()))
    subjects: list[object] = []
    serving.start()
    here.wrap_socket(near, server_hostname="127.0.0.1")
    serving.join()
    (subject,) = (item["subject"] for item in subjects if isinstance(item, dict))
    assert dict(pair[0] for pair in subject) == {
        "organizationName": "system:nodes",
        "commonName": "system:node:node-1",
    }


def test_a_certificate_and_its_key_belong_together(tmp_path: Path) -> None:
    """Also when several commands need one for the first time."""
    authority = Authority(tmp_path, "test")
    threads = [threading.Thread(target=Authority(tmp_path, "test").issue, args=("user", "user")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pair = authority.issue("user", "user")
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(pair.certificate, pair.key)


def test_the_same_command_is_kept_another_replaces_it(folder: Path) -> None:
    assert processes.ensure(folder, "one", SLEEP)
    before = processes.leader(folder, "one")
    assert before
    assert not processes.ensure(folder, "one", SLEEP)
    assert processes.ensure(folder, "one", [*SLEEP, "other"])
    after = processes.leader(folder, "one")
    assert after
    assert after.pid != before.pid


def test_stop_ends_the_stubborn_and_their_children_and_nobody_else(folder: Path, tmp_path: Path) -> None:
    stubborn = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    child = f"{stubborn} subprocess.Popen(['sleep', '600']); print('up', flush=True); time.sleep(600)"
    processes.start(folder, "parent", [sys.executable, "-c", child])
    processes.start(tmp_path / "other", "parent", SLEEP)
    log = processes.log_file(folder, "parent")
    wait_for(lambda: log.exists() and "up" in log.read_text())
    assert len(processes.running(folder)) == 2
    assert processes.stop(folder, grace=0.3) == ["parent"]
    assert processes.running(folder) == []
    assert processes.stop(tmp_path / "other") == ["parent"]


def test_a_tied_process_ends_with_who_started_it(folder: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(cache.LAB)!r}); from pathlib import Path; import time;"
        f"from accelerator_lab import processes; processes.start(Path({str(folder)!r}), 'tied', {SLEEP!r}, tied=True);"
        "print('up', flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout
    assert owner.stdout.readline() == b"up\n"
    wait_for(lambda: (found := processes.leader(folder, "tied")) is not None and found.argv == tuple(SLEEP))
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert processes.wait_end(folder, "tied", BOUND)


def test_a_shared_connection_is_not_taken_for_who_opened_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh's master leaves the session of its parent and goes on after it; here a script plays it."""
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    opens = (
        f"import subprocess, time; subprocess.Popen({ssh.argv(Instance(folder), 'node-1')!r}, start_new_session=True)"
    )
    processes.start(folder, "opener", [sys.executable, "-c", f"{opens}; time.sleep(600)"])
    wait_for(lambda: processes.leader(folder, ssh.NAME) is not None)
    opener = processes.leader(folder, "opener")
    assert opener
    os.kill(opener.pid, signal.SIGKILL)
    assert processes.wait_end(folder, "opener", BOUND)
    assert processes.stop(folder) == [ssh.NAME]

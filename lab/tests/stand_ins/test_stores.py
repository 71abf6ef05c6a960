# SPDX-License-Identifier: Apache-2.0
"""Stores and the loop over them, on an API server that is a list of answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from stand_ins import controller
from stand_ins.controller import Controller, served, until_done
from stand_ins.kube import PODS, ApiError, Kube, Object, Store


def pod(name: str, version: int, **fields: Any) -> Object:
    return PODS.new(name, "ns", **fields) | {
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}
    }


class Watched(Kube):
    """One list, then these events, then nothing more."""

    def __init__(self, listed: list[Object], version: int, *events: tuple[str, Object]) -> None:
        self._answer = {"items": listed, "metadata": {"resourceVersion": str(version)}}
        self._events = [{"type": kind, "object": obj} for kind, obj in events]

    def request(self, *_: Any, **__: Any) -> Object:
        return self._answer

    def watch(self, *_: Any) -> Iterator[Object]:
        yield from self._events


def store(kube: Kube) -> Store:
    watching = Store(kube, PODS, lambda: None)
    watching._follow(watching._list())
    return watching


def names(watching: Store) -> dict[str, str]:
    return {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in watching.all()}


def test_a_store_follows_the_watch() -> None:
    kube = Watched([pod("a", 1)], 5, ("ADDED", pod("b", 6)), ("MODIFIED", pod("a", 7)), ("DELETED", pod("b", 8)))
    assert names(store(kube)) == {"a": "7"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (pod("b", 6), {"a": "1"}),  # made and deleted before our own answer was put: it does not come back
        (pod("b", 9), {"a": "1", "b": "9"}),  # one of the same name, made after that
        (pod("c", 4), {"a": "1"}),  # was gone when the list was made
        (pod("c", 9), {"a": "1", "c": "9"}),
    ],
)
def test_what_a_write_returned_is_not_newer_than_the_watch(written: Object, expected: dict[str, str]) -> None:
    watching = store(Watched([pod("a", 1)], 5, ("ADDED", pod("b", 6)), ("DELETED", pod("b", 8))))
    watching.put(written)
    assert names(watching) == expected


DEFINITION: Object = {
    "metadata": {"name": "things.example.com"},
    "spec": {"group": "example.com", "versions": [{"name": "v1"}], "names": {"plural": "things", "kind": "Thing"}},
}


class Starting(Kube):
    """Establishes a definition, and answers for it a while later."""

    def __init__(self) -> None:
        self.lists = 0

    def get(self, *_: Any) -> Object:
        return {"status": {"conditions": [{"type": "Established", "status": "True"}]}}

    def list(self, *_: Any) -> list[Object]:
        self.lists += 1
        if self.lists < 3:
            raise ApiError("GET", "/apis/example.com/v1/things", 404, "not found")
        return []


def test_established_is_not_yet_served() -> None:
    kube = Starting()
    served(kube, [DEFINITION])
    assert kube.lists == 3


def test_a_busy_api_server_is_asked_again_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "RETRY_SECONDS", 0)
    answers = iter([ApiError("PATCH", "/", 500, "etcdserver: request timed out"), OSError("refused"), None])

    def step() -> None:
        if error := next(answers):
            raise error

    until_done(step, threading.Event())
    assert list(answers) == []


class Mistaken(Controller):
    name = "mistaken"

    def __init__(self, over: threading.Event) -> None:
        super().__init__(Watched([], 1))
        self._over, self.rounds = over, 0

    def reconcile(self) -> None:
        self.rounds += 1
        if self.rounds == 1:
            raise TypeError("'NoneType' object is not iterable")
        self._over.set()


def test_a_mistake_in_a_reconcile_does_not_end_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "RETRY_SECONDS", 0.01)
    over = threading.Event()
    playing = Mistaken(over)
    playing.start()
    assert over.wait(60)
    playing.stop()
    stopped_at = playing.rounds
    playing._wake.set()
    assert playing.rounds == stopped_at, "stop returns when the last reconcile is over"


class StoppedWhileItSettles(threading.Event):
    """The wake that stop() gives comes between the end of the pause and the clearing of what woke the loop."""

    def __init__(self, playing: Controller) -> None:
        super().__init__()
        self._playing = playing

    def wait(self, timeout: float | None = None) -> bool:
        was_set = self.is_set()
        self.set()
        self._playing._wake.set()
        return was_set


def test_a_stop_at_any_moment_ends_the_loop() -> None:
    playing = Mistaken(threading.Event())
    playing._stop = StoppedWhileItSettles(playing)
    playing._wake.set()
    loop = threading.Thread(target=playing._run, daemon=True)
    loop.start()
    loop.join(10)
    assert not loop.is_alive(), "it waits for a wake that was given already"

# SPDX-License-Identifier: Apache-2.0
"""extended_resource_absent against a kubelet that brings the key back until it has forgotten the plugin."""

from __future__ import annotations

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _leftovers as module
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    ClusterError,
    Refused,
    Unreachable,
)

RESOURCE = "example.com/a~b"
AT = "/status/capacity/example.com~1a~0b"


class Kubelet:
    """One node. Its kubelet writes the capacity every 10 seconds until it forgets the resource."""

    def __init__(self, capacity, forgets, zero=0.0):
        self.now, self.forgets, self.zero, self.patches = 0.0, forgets, zero, []
        self.status = {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"}}
        if capacity is not None:
            self.status["capacity"][RESOURCE] = self.status["allocatable"][RESOURCE] = capacity

    def pause(self, seconds):
        for _second in range(int(seconds)):
            self.now += 1
            if self.now % 10 == 0 and self.now < self.forgets:
                number = "0" if self.now >= self.zero else "5"
                self.status["capacity"][RESOURCE] = self.status["allocatable"][RESOURCE] = number

    def node(self):
        return {"metadata": {"name": "n"}, "status": self.status}

    def pages(self, _path, keep):
        return [kept for kept in [keep(self.node())] if kept], "1"

    def get(self, _path):
        return self.node()

    def json_patch(self, path, operations):
        assert path == "/api/v1/nodes/n/status"
        self.patches.append(operations)
        for operation in operations:
            where = self.status[operation["path"].split("/")[2]]
            if operation["op"] == "test" and where[RESOURCE] != operation["value"]:
                raise Refused("test failed", 422, "")
            if operation["op"] == "remove":
                del where[RESOURCE]


@pytest.fixture
def play(monkeypatch):
    def play(kubelet, timeout=600):
        monkeypatch.setattr(module, "pause", kubelet.pause)
        monkeypatch.setattr(module.time, "monotonic", lambda: kubelet.now)
        return module.clear(kubelet, RESOURCE, timeout)

    return play


def test_nothing_to_do_takes_one_look(play):
    kubelet = Kubelet(None, forgets=0)
    assert play(kubelet) == []
    assert (kubelet.now, kubelet.patches) == (0, [])


@pytest.mark.parametrize(
    ("capacity", "forgets", "zero"),
    [("0", 0, 0), ("0", 200, 0), ("5", 300, 300 - 10)],
    ids=["forgotten long ago", "empty before it is forgotten", "capacity until it is forgotten"],
)
def test_it_is_gone_for_good(play, capacity, forgets, zero):
    kubelet = Kubelet(capacity, forgets, zero)
    assert play(kubelet) == ["n"]
    assert kubelet.now >= forgets
    assert RESOURCE not in kubelet.status["capacity"]
    assert RESOURCE not in kubelet.status["allocatable"]
    kubelet.pause(100)
    assert RESOURCE not in kubelet.status["capacity"]


def test_a_capacity_that_is_not_0_is_never_removed(play):
    kubelet = Kubelet("5", forgets=10_000, zero=10_000)
    with pytest.raises(ClusterError, match=r"seen capacity n: 5; next: "):
        play(kubelet)
    assert kubelet.patches == []


def test_the_key_is_escaped_and_tested_first(play):
    kubelet = Kubelet("0", forgets=0)
    play(kubelet)
    assert kubelet.patches[0][:2] == [
        {"op": "test", "path": AT, "value": "0"},
        {"op": "remove", "path": AT},
    ]


@pytest.mark.parametrize(("status", "raises"), [(404, False), (409, False), (422, False), (403, True)])
def test_what_went_meanwhile_is_fine_and_a_refusal_is_not(status, raises):
    kubelet = Kubelet("0", forgets=0)

    def refuse(_path, _operations):
        raise Refused("no", status, "")

    kubelet.json_patch = refuse
    if raises:
        with pytest.raises(Refused):
            module.remove(kubelet, "n", RESOURCE)
    else:
        module.remove(kubelet, "n", RESOURCE)


def test_an_api_server_that_is_away_for_a_while_is_survived(play):
    kubelet = Kubelet("0", forgets=0)
    answers = iter([None, Unreachable("away"), Refused("busy", 429, ""), Refused("restarts", 503, "")])
    pages, get = kubelet.pages, kubelet.get

    def hiccup(path, keep):
        if error := next(answers, None):
            raise error
        return pages(path, keep)

    def gone(path):
        kubelet.get = get
        raise Refused("not found", 404, "")

    kubelet.pages, kubelet.get = hiccup, gone
    assert play(kubelet) == ["n"]
    assert RESOURCE not in kubelet.status["capacity"]


def test_one_that_never_answered_is_told_at_once(play):
    kubelet = Kubelet(None, forgets=0)

    def away(_path, keep):
        raise Unreachable("nobody there")

    kubelet.pages = away
    with pytest.raises(Unreachable, match="nobody there"):
        play(kubelet)
    assert kubelet.now == 0

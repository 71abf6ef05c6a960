# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time

import pytest
from fake_kubelet import until

from accelerator_device_plugin.bounded import Bounded


def test_one_that_hangs_holds_up_no_other_and_is_asked_once() -> None:
    gates = {2: threading.Event(), 4: threading.Event()}
    asked: list[int] = []
    freed = threading.Event()

    def work(key: int) -> int:
        asked.append(key)
        if key in gates:
            gates[key].wait(10)
        return key * key

    bounded = Bounded(work, 0.05, freed.set)
    assert bounded.all(range(6)) == {0: 0, 1: 1, 2: None, 3: 9, 4: None, 5: 25}
    assert bounded.all(range(6)) == {0: 0, 1: 1, 2: None, 3: 9, 4: None, 5: 25}
    assert asked.count(2) == asked.count(4) == 1, "no second thread may hang at the same key"
    gates[2].set()
    assert freed.wait(5)
    gates.pop(2)
    assert bounded.all([2, 4]) == {2: 4, 4: None}
    gates[4].set()
    until(lambda: bounded.all([4]) == {4: 16}, "the end of the other")


def test_the_more_hang_the_less_time_each_gets() -> None:
    gate = threading.Event()
    bounded: Bounded[int, bool] = Bounded(lambda key: key == 99 or gate.wait(30), 0.5)
    began = time.monotonic()
    found = bounded.all(range(100))
    assert time.monotonic() - began < 10, "half a second for each would be 50"
    assert [key for key, result in found.items() if result] == [99]
    gate.set()


def test_an_error_is_the_callers() -> None:
    def invert(key: int) -> float:
        return 1 / key

    with pytest.raises(ZeroDivisionError):
        Bounded(invert, 1).all([1, 0])
    assert Bounded(invert, 1).all([]) == {}

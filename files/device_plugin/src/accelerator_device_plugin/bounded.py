# SPDX-License-Identifier: Apache-2.0
"""Does something for each of many keys, and does not wait for those where it never ends.

A driver that hangs holds whoever reads its attributes, and nothing takes a thread back from the kernel. So
one thread does the work in order; when it is stuck it is left behind with its key, and another goes on with
the rest. There are never more threads left behind than there are keys that hang.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

_LEAST = 0.01  # seconds for a key, however many hang

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class Bounded(Generic[Key, Result]):
    """`freed` is called when a key that was given up on comes to its end after all."""

    def __init__(
        self, work: Callable[[Key], Result], seconds: float, freed: Callable[[], None] = lambda: None
    ) -> None:
        self._work = work
        self._seconds = seconds
        self._freed = freed
        self._stuck: set[Key] = set()
        self._lock = threading.Lock()

    def all(self, keys: Iterable[Key]) -> dict[Key, Result | None]:
        """The results by key; None where the work did not end within the bound, now or in an earlier call."""
        with self._lock:
            left = [key for key in keys if key not in self._stuck]
        results: dict[Key, Result | None] = dict.fromkeys(keys)
        hung = 0
        while left:
            run = _Run(self._work, left)
            # Less patience with each that hangs: when all of a thousand do, this still ends soon. One that
            # was only slow is seen by the next call.
            done = run.wait(max(self._seconds / (1 + hung) ** 2, _LEAST))
            results.update(done)
            if run.error is not None:
                raise run.error
            if len(done) == len(left):
                break
            hung += 1
            self._leave(run, left[len(done)])
            left = left[len(done) + 1 :]
        return results

    def _leave(self, run: _Run[Key, Result], key: Key) -> None:
        with self._lock:
            self._stuck.add(key)
        run.abandon(lambda: self._free(key))

    def _free(self, key: Key) -> None:
        with self._lock:
            self._stuck.discard(key)
        self._freed()


class _Run(Generic[Key, Result]):
    """One thread's way through the keys."""

    def __init__(self, work: Callable[[Key], Result], keys: list[Key]) -> None:
        self.error: Exception | None = None
        self._work, self._keys = work, keys
        self._done: dict[Key, Result] = {}
        self._ended = False
        self._left: Callable[[], None] | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._go, name="look", daemon=True).start()

    def wait(self, seconds: float) -> dict[Key, Result]:
        """What was done, when all is or when one key took longer than `seconds`."""
        with self._changed:
            count = -1
            while not self._ended and count != len(self._done):
                count = len(self._done)
                self._changed.wait_for(lambda: self._ended, seconds)
            return dict(self._done)

    def abandon(self, freed: Callable[[], None]) -> None:
        """Nobody waits any more; `freed` is called when the key that holds the thread lets it go."""
        with self._changed:
            self._left = freed
            ended = self._ended
        if ended:
            freed()

    def _go(self) -> None:
        try:
            for key in self._keys:
                result = self._work(key)
                with self._changed:
                    if self._left is not None:
                        break
                    self._done[key] = result
        except Exception as error:
            self.error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            left = self._left
        if left is not None:
            left()

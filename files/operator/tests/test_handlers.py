# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import kopf
import pytest
from accelerator_operator import handlers
from accelerator_operator.api import ApiFailure
from accelerator_operator.handlers import Loops


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "SECONDS_TO_SETTLE", 0.0)
    monkeypatch.setattr(handlers, "SECONDS_OF_BACKOFF", (0.01, 0.04))


class Told:
    """A reconcile that answers as it was told, then for ever with the last answer, and remembers its calls."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers, self.calls = list(answers), []

    async def __call__(self, name: str) -> float | None:
        self.calls.append(name)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(reconcile: Callable[[str], Awaitable[float | None]], scenario: Callable[[Loops], Awaitable[None]]) -> None:
    async def main() -> None:
        loops = Loops(reconcile)
        await scenario(loops)
        await loops.stop()

    asyncio.run(asyncio.wait_for(main(), 5))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_an_event_wakes_before_the_time_is_over() -> None:
    told = Told(1000.0)

    async def scenario(loops: Loops) -> None:
        loops.wake("a")
        await until(lambda: len(told.calls) == 1)
        loops.wake_all()
        await until(lambda: len(told.calls) == 2)

    run(told, scenario)


def test_many_events_make_one_reconcile() -> None:
    told = Told(1000.0)

    async def scenario(loops: Loops) -> None:
        for _ in range(100):
            loops.wake("a")
        await asyncio.sleep(0.05)
        assert told.calls == ["a"]

    run(told, scenario)


def test_without_events_the_time_wakes() -> None:
    told = Told(0.01)

    async def scenario(loops: Loops) -> None:
        loops.wake("a")
        await until(lambda: len(told.calls) > 2)

    run(told, scenario)


@pytest.mark.parametrize("error", [ApiFailure("get", "refused"), RuntimeError("a bug")])
def test_an_error_is_tried_again(error: Exception) -> None:
    told = Told(error, error, 1000.0)

    async def scenario(loops: Loops) -> None:
        loops.wake("a")
        await until(lambda: len(told.calls) == 3)

    run(told, scenario)


def test_one_that_hangs_does_not_block_another() -> None:
    seen: list[str] = []

    async def reconcile(name: str) -> float:
        seen.append(name)
        if name == "stuck":
            await asyncio.Event().wait()
        return 1000.0

    async def scenario(loops: Loops) -> None:
        loops.wake("stuck")
        await until(lambda: seen == ["stuck"])
        loops.wake("other")
        await until(lambda: seen == ["stuck", "other"])

    run(reconcile, scenario)


def test_a_name_that_is_gone_can_come_back() -> None:
    told = Told(None, 1000.0)

    async def scenario(loops: Loops) -> None:
        loops.wake("a")
        await until(lambda: not loops._tasks)
        loops.wake("a")
        await until(lambda: len(told.calls) == 2)

    run(told, scenario)


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("10.96.0.1", "https://10.96.0.1:443"),
        ("fd00::1", "https://[fd00::1]:443"),
        (None, "https://kubernetes.default.svc"),
    ],
)
def test_in_a_pod_the_server_is_found_without_dns(
    monkeypatch: pytest.MonkeyPatch, host: str | None, server: str
) -> None:
    found = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t")
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: found)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if host:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    info = handlers.login()
    assert info is not None
    assert (info.server, info.token) == (server, "t")

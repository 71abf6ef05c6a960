# SPDX-License-Identifier: Apache-2.0
"""For conftest.py: what tests measure is told at the end of the run, in a section that tests/closing.py reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

MEASURED = pytest.StashKey[list[str]]()


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells a measured figure at the end of the run: what is printed before that, pytest keeps to itself."""
    told = request.config.stash.setdefault(MEASURED, [])
    return lambda text: told.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if told := config.stash.get(MEASURED, []):
        terminalreporter.section("measured")
        for line in told:
            terminalreporter.line(line)

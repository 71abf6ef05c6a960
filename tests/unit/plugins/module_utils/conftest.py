# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _cluster
from fake_api import FakeApi, serve
from kubernetes.client import Configuration


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with serve(FakeApi()) as api:
        yield api


@pytest.fixture
def api(fake: FakeApi) -> _cluster.Api:
    return _cluster.Api(Configuration(host=fake.host, api_key={"authorization": "Bearer secret"}))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of what comes back do not wait for it as long as users do."""
    monkeypatch.setattr(_cluster.time, "sleep", lambda _seconds: None)

# SPDX-License-Identifier: Apache-2.0
"""What counts, what fails, what the messages say, and that the loop survives the API server's bad days."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _wait, _wait_rules
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api, Refused, Unreachable
from fake_api import Cut, FakeApi, Status, Stream, listing, serve, thing
from kubernetes.client import Configuration

PODS = {"resources": [{"kind": "Pod", "name": "pods", "namespaced": True}]}
PATH = "/api/v1/namespaces/ns/pods"
TARGET = _wait.Target("v1", "Pod", namespace="ns", labels=["a=b"])
RUNNING = "status.phase == 'Running'"


def pod(name: str, phase: str) -> Any:
    return thing(name, "ns", status={"phase": phase})


def rules(until: str = RUNNING, expected: int | None = None, fail_when: str | None = None) -> _wait.Rules:
    failing = _wait.Expression("fail_when", fail_when) if fail_when else None
    return _wait.Rules(_wait.Expression("until", until), expected, failing)


@pytest.mark.parametrize(
    ("phases", "expected", "done"),
    [
        ([], None, False),  # nothing is not success
        (["Running"], None, True),
        (["Running", "Pending"], None, False),
        (["Running", "Pending"], 1, True),
        (["Running", "Running"], 1, True),  # at least
        (["Running"], 2, False),
        ([], 0, True),
        (["Pending"], 0, True),
        (["Running"], 0, False),
    ],
)
def test_the_expected_number(phases: list[str], expected: int | None, done: bool) -> None:
    seen = _wait.Seen(rules(expected=expected), [pod(f"p{n}", phase) for n, phase in enumerate(phases)])
    assert seen.done is done


@pytest.mark.parametrize(
    ("until", "holds"),
    [
        ("@", True),
        ("status", True),
        ("status.counters.ready", False),  # none ready is not ready, though JMESPath's own && takes 0 for true
        ("status.empty", False),
        ("status.none", False),
        ("status.no", False),
        ("metadata.labels.\"example.com/a.b\" == ''", True),
        ("contains(status.nothing, 'x')", False),  # no status yet
        ("contains(keys(metadata.labels), 'example.com/a.b')", True),
        ("status.counters.ready == `0` && status.observedGeneration == metadata.generation", True),
        ("status.conditions[?type=='Ready' && status=='True']", True),
        ("status.conditions[?type=='Ready' && status=='False']", False),
    ],
)
def test_what_holds(until: str, holds: bool) -> None:
    item = thing("x", metadata={"labels": {"example.com/a.b": ""}, "generation": 3})
    item["status"] = {"counters": {"ready": 0}, "empty": [], "none": None, "no": False, "observedGeneration": 3}
    item["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    assert _wait.Expression("until", until).holds(item) is holds


def test_a_wrong_expression_names_the_option_and_the_cure() -> None:
    with pytest.raises(ValueError, match="fail_when is no JMESPath expression") as caught:
        _wait.Expression("fail_when", "metadata.labels.example.com/key")
    assert 'quoted like metadata.labels."example.com/key"' in str(caught.value)


def test_an_unknown_function_is_no_reason_to_wait() -> None:
    with pytest.raises(ValueError, match=r"'nosuch\(@\)' cannot be applied to ns/a: Unknown function"):
        _wait.Expression("until", "nosuch(@)").holds(pod("a", "Running"))


def test_an_object_that_changed_is_judged_again() -> None:
    seen = _wait.Seen(rules(), [pod("a", "Pending")])
    seen.put(pod("a", "Running"))
    assert seen.done
    seen.remove(pod("a", "Running"))
    assert not seen.done


def wait(api: Api, timeout: float = 5, **kwargs: Any) -> _wait.Outcome:
    return _wait.wait(api, TARGET, rules(**kwargs), timeout)


def event(kind: str, item: Any) -> Any:
    return {"type": kind, "object": item}


def test_it_lists_once_then_watches_from_there(fake: FakeApi, api: Api) -> None:
    fake.on("/api/v1", PODS)
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    fake.on(PATH, [listing(pod("a", "Pending"), version="7"), Stream(bookmark, event("MODIFIED", pod("a", "Running")))])
    assert wait(api).seen.done
    assert fake.paths() == ["/api/v1", PATH, PATH]
    assert fake.asked[1][1] == {"limit": "500", "labelSelector": "a=b"}
    assert fake.asked[2][1]["resourceVersion"] == "7"


def test_it_waits_until_no_more_of_them_come(fake: FakeApi, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many nodes have the hardware, nobody knows beforehand: the first one is not all."""
    clock = [1.0]
    monkeypatch.setattr(_wait_rules, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    fake.on("/api/v1", PODS)
    first, second = pod("a", "Running"), pod("b", "Running")
    answers = iter([listing(), Stream(event("ADDED", first)), listing(first), Stream(event("ADDED", second))])

    def later(query: Any) -> Any:
        if answer := next(answers, None):
            return answer
        clock[0] += 6 if "watch" in query else 0
        return Stream() if "watch" in query else listing(first, second)

    fake.on(PATH, later)
    outcome = _wait.wait(api, TARGET, rules(), 600, settle=10)
    assert [item["metadata"]["name"] for item in outcome.seen.items] == ["a", "b"]
    assert clock == [13.0]
    assert [query["timeoutSeconds"] for _path, query, _headers in fake.asked if "watch" in query][1:] == [
        "10",
        "10",
        "4",
    ]


def test_what_does_not_settle_ends_with_the_time(fake: FakeApi, api: Api) -> None:
    fake.on("/api/v1", PODS)
    fake.on(PATH, lambda query: Stream() if "watch" in query else listing(pod("a", "Running")))
    assert _wait.wait(api, TARGET, rules(), 0.5, settle=600).seen.done


def test_it_fails_at_once_when_waiting_is_in_vain(fake: FakeApi, api: Api) -> None:
    fake.on("/api/v1", PODS)
    fake.on(PATH, [listing(pod("a", "Pending")), Stream(event("MODIFIED", pod("a", "Failed")))])
    outcome = wait(api, 600, fail_when="status.phase == 'Failed'")
    assert outcome.seen.failed == pod("a", "Failed")
    assert outcome.elapsed < 5


@pytest.mark.parametrize(
    "trouble",
    [
        Stream(event("ERROR", {"code": 410, "message": "too old resource version"})),
        Stream(event("ERROR", {"code": 500, "message": "etcd is away"})),
        Stream(),  # the server ends a watch whenever it likes
        Cut(event("ADDED", pod("b", "Pending"))),
        Status(503, "shutting down"),
        Status(429, "too many requests"),
    ],
    ids=["expired", "error", "ended", "cut", "unavailable", "throttled"],
)
def test_trouble_with_a_watch_is_survived(fake: FakeApi, api: Api, trouble: Any) -> None:
    fake.on("/api/v1", PODS)
    fake.on(PATH, [listing(pod("a", "Pending")), trouble, listing(pod("a", "Running"))])
    outcome = wait(api)
    assert [item["metadata"]["name"] for item in outcome.seen.items] == ["a"]
    assert outcome.seen.done


def test_a_watch_that_always_expires_is_begun_anew_with_pauses(
    fake: FakeApi, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(_wait, "pause", pauses.append)
    fake.on("/api/v1", PODS)
    expired = Stream(event("ERROR", {"code": 410, "message": "too old resource version"}))
    fake.on(PATH, lambda query: expired if "watch" in query else listing(pod("a", "Pending")))
    assert not wait(api, 0.5).seen.done
    assert fake.paths().count(PATH) <= 2 * (len(pauses) + 1)


def test_a_restart_of_the_api_server_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = FakeApi(), FakeApi()
    for served in (before, after):
        served.on("/api/v1", PODS)
    before.on(PATH, [listing(pod("a", "Pending")), Cut()])
    after.on(PATH, listing(pod("a", "Running")))
    running = ExitStack()
    running.enter_context(serve(before))
    port = int(before.host.rsplit(":", 1)[1])
    restart = iter([running.close, lambda: running.enter_context(serve(after, port))])
    monkeypatch.setattr(_wait, "pause", lambda _seconds: next(restart)())
    with running:
        assert _wait.wait(Api(Configuration(host=before.host)), TARGET, rules(), 10).seen.done
    assert next(restart, None) is None, "it was tried while the server was away"


def test_a_server_that_never_answered_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wait, "FIRST_CONTACT", 0.05)
    with serve(FakeApi()) as gone:
        api = Api(Configuration(host=gone.host))
    with pytest.raises(Unreachable):
        _wait.wait(api, TARGET, rules(), 600)


def test_a_kind_that_is_not_served_yet_is_waited_for(fake: FakeApi, api: Api) -> None:
    fake.on("/api/v1", [Status(404), {"resources": []}, PODS])
    fake.on(PATH, listing(pod("a", "Running")))
    assert wait(api).seen.done
    assert api.requests == 4


def test_a_kind_that_is_never_served_is_named(fake: FakeApi, api: Api) -> None:
    outcome = wait(api, 0.05)
    message = _wait.timed_out("pods run", rules(), None, outcome, None)
    assert f"{fake.host} does not serve kind Pod in v1; is its CRD installed?" in message


def test_absence_of_a_kind_that_is_not_served_is_absence(api: Api) -> None:
    assert wait(api, 600, until="@", expected=0).seen.done


def test_no_permission_is_no_reason_to_wait(fake: FakeApi, api: Api) -> None:
    fake.on("/api/v1", PODS)
    fake.on(PATH, Status(403, "pods is forbidden"))
    with pytest.raises(Refused, match="forbids GET"):
        wait(api, 600)


def test_the_message_of_a_timeout_says_all() -> None:
    items = [pod("good", "Running"), pod("bad", "Pending")]
    outcome = _wait.Outcome(_wait.Seen(rules(), items), 12.3, "")
    message = _wait.timed_out(str(TARGET), rules(expected=2), None, outcome, "kubectl -n ns get pods")
    assert message == (
        "Pod a=b in namespace ns: not so after 12 s; expected 2 with status.phase == 'Running'; "
        "seen 1 of 2 (ns/bad: Pending); next: kubectl -n ns get pods"
    )


def test_a_long_list_is_cut() -> None:
    outcome = _wait.Outcome(_wait.Seen(rules(), [pod(f"p{n:02}", "Pending") for n in range(12)]), 1, "")
    message = _wait.timed_out("pods", rules(), _wait.Expression("show", "status"), outcome, None)
    assert 'ns/p09: {"phase": "Pending"}, and 2 more)' in message
    assert "p10" not in message


def test_the_message_of_a_failure_says_what_the_object_says() -> None:
    seen = _wait.Seen(rules(fail_when="status.phase == 'Failed'"), [pod("a", "Failed")])
    seen.failed["status"]["message"] = "no such image"  # type: ignore[index]
    outcome = _wait.Outcome(seen, 1, "")
    said = _wait.Expression("fail_message", "status.message")
    ours = rules(fail_when="status.phase == 'Failed'")
    assert _wait.in_vain("pods run", ours, said, None, outcome, "look") == (
        "pods run: waiting is in vain; object ns/a: no such image; next: look"
    )
    assert "status.phase == 'Failed' holds; seen Failed" in _wait.in_vain("pods", ours, None, None, outcome, None)


def test_what_an_expression_does_not_find_is_told_by_the_phase() -> None:
    assert _wait.brief(pod("a", "Pending"), _wait.Expression("show", "status.message")) == "Pending"


def test_book_keeping_is_left_out() -> None:
    item = thing("a", metadata={"managedFields": [1]})
    assert _wait.trimmed(item) == thing("a")

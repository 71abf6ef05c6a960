# SPDX-License-Identifier: Apache-2.0
"""An alert's expression, on what was scraped; the expressions are those that ship."""

from __future__ import annotations

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill import metrics, outcome
from definitions import example
from hypothesis import given, settings
from hypothesis import strategies as st

PAGE = """\
# HELP accelerator_device_plugin_devices Devices by health as told to the kubelet.
# TYPE accelerator_device_plugin_devices gauge
accelerator_device_plugin_devices{health="Healthy",resource="example.com/ptemplate"} 4.0
accelerator_device_plugin_devices{resource="example.com/ptemplate",health="Unhealthy"} %s
accelerator_device_plugin_devices{resource="other.example/npu",health="Unhealthy"} 1.0
process_open_fds 12 1767225600000
nonsense{
Ptemplate_consumers %s
"""
TARGET = {"job": "ptemplate-operator", "namespace": "ptemplate", "node": "worker-1"}


@pytest.mark.parametrize(
    ("seen_by", "unhealthy", "consumers", "expected"),
    [
        ("plugin", "0.0", "1.0", False),
        ("plugin", "1.0", "1.0", True),
        ("consumer", "0.0", "1.0", False),
        ("consumer", "0.0", "0.0", True),
    ],
)
def test_the_shipped_alerts(seen_by: str, unhealthy: str, consumers: str, expected: bool) -> None:
    definition = example()
    rule = outcome.alert_of(definition, seen_by)
    assert rule
    target = outcome.target(definition, seen_by, "worker-1")
    found = metrics.samples(PAGE % (unhealthy, consumers))
    assert metrics.true_of(rule["expr"], found, target) is expected


def test_labels_of_the_target_count() -> None:
    found = metrics.samples("up 1\n")
    assert metrics.true_of('up{job="a"} == 1', found, {"job": "a"})
    assert not metrics.true_of('up{job="b"} == 1', found, {"job": "a"})


def test_samples_as_prometheus_writes_them() -> None:
    text = 'a{x="1,2\\"}\\n",y="z"} +Inf\nb 1e3 1767225600000\nc{} NaN\n# d 1\ne one\n'
    assert metrics.samples(text)[:2] == [("a", {"x": '1,2"}\n', "y": "z"}, float("inf")), ("b", {}, 1000.0)]
    assert [name for name, _labels, _value in metrics.samples(text)] == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["up == 0 or absent(up)", "sum by (node) (a) < 5", 'a{x=~"b"} > 0', ""])
def test_what_it_cannot_judge_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="expected an expression like"):
        metrics.true_of(text, [], {})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(alphabet='ab{}",=\\ 1\n#', max_size=60))
def test_no_page_breaks_it(text: str) -> None:
    for name, labels, value in metrics.samples(text):
        assert isinstance(value, float)
        metrics.true_of('a{b="1"} > 0', [(name, labels, value)], {})

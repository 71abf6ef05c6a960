# SPDX-License-Identifier: Apache-2.0
"""Pure: what a node's own text says about its hardware, and what NodeFeatureRules make of that.

Plays facts.md "What NFD does" and the fields of NodeFeature and NodeFeatureRule; no I/O.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

Object = dict[str, Any]
PREFIX = "feature.node.kubernetes.io/"

# One run in the node gives everything: a call costs far more than its output on an emulated machine.
READ_NODE = r"""
uname -r
echo ==; for d in /sys/bus/pci/devices/*; do [ -e "$d" ] || continue
  for f in class vendor device subsystem_vendor subsystem_device; do printf '%s ' "$(cat "$d/$f")"; done; echo; done
echo ==; grep -m1 -E '^(flags|Features)' /proc/cpuinfo
echo ==; [ ! -e /proc/modules ] || cut -d' ' -f1 /proc/modules
"""
PCI_FIELDS = ("class", "vendor", "device", "subsystem_vendor", "subsystem_device")

# A node need not bear a hundred labels: these families are labelled; rules see every flag.
LABELLED_CPU = ("AESNI", "AMX", "ASIMD", "AVX", "FMA", "SVE", "VMX")
# NFD names CPU features as Go's cpuid package does: mostly the kernel's flag in capitals. The exceptions that we know.
CPU_NAMES = {
    "aes": "AESNI",
    "pni": "SSE3",
    "sse4_1": "SSE4",
    "sse4_2": "SSE42",
    "pclmulqdq": "CLMUL",
    "rdrand": "RDRAND",
}


def parse(text: str) -> Object:
    """READ_NODE's output as NodeFeature.spec.features."""
    try:
        release, pci, cpu, modules = (part.strip() for part in text.split("==\n"))
    except ValueError as error:
        raise ValueError(f"node's answer: expected 4 parts divided by '==', seen {text[:200]!r}") from error
    devices = [dict(zip(PCI_FIELDS, map(_hex, line.split()), strict=True)) for line in pci.splitlines()]
    flags = cpu.partition(":")[2].split()
    major, minor, revision = [*re.findall(r"\d+", release), "0", "0", "0"][:3]
    version = {"full": _label_value(release), "major": major, "minor": minor, "revision": revision}
    return {
        "attributes": {"kernel.version": {"elements": version}},
        "flags": {
            "cpu.cpuid": {"elements": {CPU_NAMES.get(flag, flag.upper()): {} for flag in flags}},
            "kernel.loadedmodule": {"elements": {module: {} for module in modules.splitlines()}},
        },
        "instances": {"pci.device": {"elements": [{"attributes": device} for device in devices]}},
    }


def _label_value(release: str) -> str:
    """NFD's kernel.version: what no label's value may hold is an underscore, and both ends are letters or digits."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", re.sub(r"[^-A-Za-z0-9_.]", "_", release))


def _hex(value: str) -> str:
    """sysfs says 0x00ff00 for a class and 0x1234 for a vendor; NFD says 00ff and 1234."""
    return value.removeprefix("0x")[:4]


class WorkerConfig:
    """NodeFeatureDiscovery.spec.workerConfig.configData: what nfd-worker reads from its file."""

    def __init__(self, data: str) -> None:
        config = yaml.safe_load(data) or {}
        pci = config.get("sources", {}).get("pci", {})
        self.classes: list[str] = pci.get("deviceClassWhitelist", ["03", "0b40", "12"])
        self.fields: list[str] = pci.get("deviceLabelFields", ["class", "vendor"])
        self.interval = _seconds(config.get("core", {}).get("sleepInterval", "60s"))


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+)([hms])", text)
    return float(sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts))


def own_labels(features: Object, config: WorkerConfig) -> dict[str, str]:
    """NodeFeature.spec.labels: the worker's own (facts.md: pci-00ff_1234_11e8.present, kernel-version.full)."""
    cpu = features["flags"]["cpu.cpuid"]["elements"]
    labels = {f"{PREFIX}cpu-cpuid.{flag}": "true" for flag in cpu if flag.startswith(LABELLED_CPU)}
    version = features["attributes"]["kernel.version"]["elements"]
    labels |= {f"{PREFIX}kernel-version.{part}": value for part, value in version.items()}
    for instance in features["instances"]["pci.device"]["elements"]:
        device = instance["attributes"]
        if any(device["class"].startswith(prefix.lower()) for prefix in config.classes):
            labels[f"{PREFIX}pci-{'_'.join(device[field] for field in config.fields)}.present"] = "true"
    return labels


def rule_labels(rules: list[Object], features: Object) -> dict[str, str]:
    """NodeFeatureRule.spec.rules[]: the labels of those that match, with NFD's prefix where a label has none."""
    labels: dict[str, str] = {}
    for rule in rules:
        if matches(rule, features):
            labels |= {name if "/" in name else PREFIX + name: value for name, value in rule.get("labels", {}).items()}
    return {name: value for name, value in labels.items() if _allowed(name.partition("/")[0])}


def _allowed(domain: str) -> bool:
    """facts.md: NFD may not write KMM's version label; its own two are the only exceptions in kubernetes.io."""
    own = ("feature.node.kubernetes.io", "profile.node.kubernetes.io")
    return domain.endswith(own) or not f".{domain}".endswith(".kubernetes.io")


def matches(rule: Object, features: Object) -> bool:
    """All of matchFeatures, and one of matchAny if there is one."""
    anything = [group["matchFeatures"] for group in rule.get("matchAny", [])]
    required = all(_term(term, features) for term in rule.get("matchFeatures", []))
    return required and (not anything or any(all(_term(t, features) for t in terms) for terms in anything))


def _term(term: Object, features: Object) -> bool:
    name, expressions = term["feature"], term.get("matchExpressions", {})
    if name in features["instances"]:  # one instance must satisfy all expressions
        elements = features["instances"][name]["elements"]
        return any(_all(expressions, element["attributes"]) for element in elements)
    for kind in ("attributes", "flags"):
        if name in features[kind]:
            values = {k: v if isinstance(v, str) else "" for k, v in features[kind][name]["elements"].items()}
            by_name = "matchName" not in term or any(holds(term["matchName"], key) for key in values)
            return by_name and _all(expressions, values)
    return False


def _all(expressions: Object, values: dict[str, str]) -> bool:
    return all(holds(expression, values.get(name)) for name, expression in expressions.items())


def holds(expression: Object, seen: str | None) -> bool:
    """MatchExpression.op of the NodeFeatureRule CRD; only the first two can hold for what is absent."""
    op, values = expression["op"], expression.get("value", [])
    if op == "Exists":
        return seen is not None
    if op == "DoesNotExist":
        return seen is None
    if seen is None:
        return False
    if op in ("Gt", "Lt", "GtLt"):
        return _ordered(op, seen, values)
    return {
        "In": seen in values,
        "NotIn": seen not in values,
        "InRegexp": any(re.search(pattern, seen) for pattern in values),
        "IsTrue": seen == "true",
        "IsFalse": seen == "false",
    }[op]


def _ordered(op: str, seen: str, values: list[str]) -> bool:
    try:
        number, limits = int(seen), [int(value) for value in values]
    except ValueError:
        return False
    if op == "GtLt":
        return limits[0] < number < limits[1]
    return number > limits[0] if op == "Gt" else number < limits[0]

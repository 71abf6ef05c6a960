# SPDX-License-Identifier: Apache-2.0
"""What texts may look like, for the definition's check and for the custom resource's schema. PRIVATE.

Patterns are such that Python's re.fullmatch and the API server's (RE2, anchored by us) agree. None of them lets a line
break, a quote or a `$` through but where KMM's placeholder is meant, so that what passes may reach modprobe or a shell.
"""

from __future__ import annotations

import re
import typing as t

Json = t.Dict[str, t.Any]


class Syntax(t.NamedTuple):
    pattern: str
    expected: str
    longest: int


_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_LABEL_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?"
_PART = r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
_TAG = r"([A-Za-z0-9_]|\$\{KERNEL_FULL_VERSION\})([A-Za-z0-9_.-]|\$\{KERNEL_FULL_VERSION\})*"
_DIGEST = r"@sha256:[0-9a-f]{64}"
_IMAGE = rf"{_HOST}(/{_PART})+(:{_TAG}|(:{_TAG})?{_DIGEST})"
_NO_PROXY = r"\*?\.?[A-Za-z0-9][A-Za-z0-9.:/*-]*"

SYNTAX: t.Dict[str, Syntax] = {
    "name": Syntax(r"[a-z]([-a-z0-9]*[a-z0-9])?", "a DNS label: a-z, 0-9 and -, a letter first", 63),
    "namespace": Syntax(_LABEL, "a DNS label: a-z, 0-9 and -", 63),
    "object": Syntax(_DOMAIN, "a DNS name: a-z, 0-9, - and .", 253),
    "domain": Syntax(rf"{_LABEL}(\.{_LABEL})+", "a DNS name with a dot, such as acme.example", 253),
    "resource": Syntax(rf"{_LABEL}(\.{_LABEL})+/{_NAME}", "domain/name, such as acme.example/widget", 244),
    "hex4": Syntax(r"[0-9a-fA-F]{4}", 'four hexadecimal digits in quotes, such as "11e8"', 4),
    "kernel_module": Syntax(r"[A-Za-z0-9_][A-Za-z0-9_-]*", "a kernel module's name without .ko", 55),
    "parameter": Syntax(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", "a module parameter's name", 63),
    "parameter_text": Syntax(r"[^\x00-\x1f\x7f\"'\\]*", "text without quotes, backslashes and line breaks", 1024),
    "cpu_feature": Syntax(r"[A-Z0-9_]+", "a flag as NFD names it, such as AVX512F", 63),
    "version": Syntax(_NAME, "a label value: letters, digits, -, _ and .", 63),
    "label_key": Syntax(rf"({_DOMAIN}/)?{_LABEL_NAME}", "a label's name, such as acme.example/widget", 317),
    "label_value": Syntax(rf"({_NAME})?", "a label value in quotes: letters, digits, -, _ and .", 63),
    "file_in_image": Syntax(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*", "a relative path", 255),
    "path": Syntax(r"[^\x00-\x1f\x7f\"'\\$`;&|<>*?!]+", "a path without quotes and other shell characters", 4096),
    "node_folder": Syntax(
        r"(/[A-Za-z0-9_+][A-Za-z0-9_.+-]*)+", "a folder of the node, such as /sys/kernel/debug/widget", 255
    ),
    "glob": Syntax(r"/dev/[A-Za-z0-9_.*?\[\]/-]+", "an absolute pattern below /dev, such as /dev/widget-*", 255),
    "permissions": Syntax(r"rw?m?|wm?|m", "some of r, w and m, in this order", 3),
    "image": Syntax(_IMAGE, "registry/name with a tag or digest, such as quay.io/acme/widget:1.0", 512),
    "registry": Syntax(rf"{_HOST}(/{_PART})*", "a registry and path without a tag, such as host:5000/team", 255),
    "git_url": Syntax(
        r"(https|ssh|git)://[A-Za-z0-9._~/:-]+|git@[A-Za-z0-9.-]+:[A-Za-z0-9._~/-]+",
        "a git URL without a password in it",
        512,
    ),
    "git_ref": Syntax(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*", "a tag, branch or commit", 255),
    "kernel": Syntax(r"[0-9]+\.[0-9]+[A-Za-z0-9_.+-]*", "a kernel's version, as uname -r says it", 128),
    "arch": Syntax(r"amd64|arm64|ppc64le|s390x|riscv64", "an architecture as Kubernetes names it, such as arm64", 16),
    "host": Syntax(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", "a host's name in the inventory", 253),
    "proxy": Syntax(rf"https?://{_HOST}/?", "a proxy's URL without a password in it, such as http://proxy:3128", 255),
    "no_proxy": Syntax(rf"{_NO_PROXY}(,{_NO_PROXY})*", "hosts, domains and networks, separated by commas", 4096),
    "kind": Syntax(r"[A-Z][A-Za-z0-9]*", "a kind, such as Widget", 63),
    "api_version": Syntax(r"v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?", "an API version, such as v1alpha1", 20),
    "field": Syntax(r"[a-z][A-Za-z0-9]*", "a field's name, such as maxDevices", 63),
}


def fits(kind: str, value: str) -> bool:
    syntax = SYNTAX[kind]
    return len(value) <= syntax.longest and re.fullmatch(syntax.pattern, value) is not None


def schema(kind: str) -> Json:
    """The same as an OpenAPI schema."""
    return {"type": "string", "maxLength": SYNTAX[kind].longest, "pattern": f"^({SYNTAX[kind].pattern})$"}

# SPDX-License-Identifier: Apache-2.0
"""Sharing: with N replicas the kubelet knows each device N times, as `3::0`, `3::1`, … Pure.

Nothing keeps those who share a device apart but the device itself: it must be made for that.
"""

from __future__ import annotations

import re

_SHARE = re.compile(r"(?P<device>.+)::\d+", re.DOTALL)


def shares(device: str, replicas: int) -> list[str]:
    """The IDs under which the kubelet knows a device."""
    return [device] if replicas == 1 else [f"{device}::{number}" for number in range(replicas)]


def device_of(share: str, replicas: int) -> str:
    """The device of which this is a share; what is no share is given back as it is."""
    match = _SHARE.fullmatch(share) if replicas > 1 else None
    return match["device"] if match else share

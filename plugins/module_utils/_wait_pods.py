# SPDX-License-Identifier: Apache-2.0
"""Pods that do the work which is waited for, and how to tell that they fail. PRIVATE to this collection."""

from __future__ import annotations

import typing as t
from time import monotonic

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api, Json

# The kubelet's reasons for a container that it will try again, later and later.
BACK_OFF = {"CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"}


# Seconds for which a pod has to go on failing: whoever replaces one of an earlier run needs a moment.
PATIENCE = 30.0


def trouble(pod: Json) -> str:
    """Why a pod fails, in its own words; empty when it does not, or is on its way out."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return ""
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    backing_off = [container for container in containers if _backs_off(container)]
    if status.get("phase") != "Failed" and not backing_off:
        return ""
    said = [text for container in backing_off or containers if (text := _said(container))]
    return (said or [status.get("message") or status.get("reason") or "it failed without a word"])[0].strip()


def _backs_off(container: Json) -> bool:
    """The kubelet may show a container that it will start again as ended, all the minutes until it does."""
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    return waiting.get("reason") in BACK_OFF or bool(ended.get("exitCode"))


def _said(container: Json) -> str:
    """What a container said before it was restarted is in lastState."""
    state, last = container.get("state") or {}, container.get("lastState") or {}
    ended, before, waiting = (s or {} for s in (state.get("terminated"), last.get("terminated"), state.get("waiting")))
    code = ended.get("exitCode", 0) and f"exit code {ended['exitCode']}"
    return str(ended.get("message") or before.get("message") or waiting.get("message") or code or "")


class Pods:
    """Pods by label selectors, any of which may match, looked at now and then."""

    def __init__(self, namespace: str | None, selectors: t.Sequence[str]) -> None:
        self._path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        self._selectors = selectors
        self._stale: dict[str, str] | None = None
        self._since: dict[str, float] = {}
        self.seen: list[str] = []  # every pod that fails, stale or not, with its words

    def look(self, api: Api) -> str:
        """The first pod that goes on failing, with its words; empty when there is none.

        A pod that failed before the first look, with what has been mended meanwhile, counts only once it has tried
        again; and any pod only after PATIENCE, since it may be about to be replaced.
        """
        failing: dict[str, tuple[str, str]] = {}
        for selector in self._selectors:
            items, _version = api.pages(self._path, labelSelector=selector)
            for pod in items:
                if said := trouble(pod):
                    meta = pod["metadata"]
                    failing[meta["uid"]] = (meta["resourceVersion"], f"Pod {meta['namespace']}/{meta['name']}: {said}")
        self.seen = [text for _version, text in failing.values()]
        if self._stale is None:
            self._stale = {uid: version for uid, (version, _text) in failing.items()}
        now = monotonic()
        fresh = {uid: text for uid, (version, text) in failing.items() if self._stale.get(uid) != version}
        for uid in fresh:
            self._since.setdefault(uid, now)
        return next((text for uid, text in fresh.items() if now - self._since[uid] >= PATIENCE), "")


__all__ = ("Pods", "trouble")

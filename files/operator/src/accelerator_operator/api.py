# SPDX-License-Identifier: Apache-2.0
"""The only module that talks to the API server. Objects are plain dicts on this side of it."""

from __future__ import annotations

from typing import Any, cast

import httpx2
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names
from lightkube import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import CascadeType, PatchType

from accelerator_operator.objects import EVENT, NODE, OWNED_KINDS, POD, Kind, Obj


class ApiFailure(Exception):
    """A request that the API server refused or never answered; the text says which and why."""

    def __init__(self, what: str, why: str, code: int | None = None) -> None:
        super().__init__(f"{what}: {why}")
        self.code = code

    @property
    def inner(self) -> bool:
        """The server's own fault, or that of a webhook that it asks."""
        return self.code is not None and self.code >= 500

    @property
    def final(self) -> bool:
        """A refusal, which repeating does not mend; no answer, a conflict, overload and inner errors pass."""
        return self.code is not None and 400 <= self.code < 500 and self.code not in (409, 429)


def _resource(kind: str, where: Kind) -> Any:
    create = create_namespaced_resource if where.namespaced else create_global_resource
    return create(where.group, where.version, kind, where.plural)


class Api:
    """Requests within one namespace, to Nodes, and to pods anywhere that have our devices."""

    def __init__(self, namespace: str, custom_kind: str, custom: Kind) -> None:
        # An emulated node answers slowly, and a request that is given up is sent again.
        self._client = AsyncClient(timeout=httpx2.Timeout(30.0), field_manager=_names.OPERATOR)
        self._namespace = namespace
        kinds = {**OWNED_KINDS, "Pod": POD, "Node": NODE, "Event": EVENT, custom_kind: custom}
        self._resources = {kind: _resource(kind, where) for kind, where in kinds.items()}

    async def get(self, kind: str, name: str) -> Obj | None:
        return await self._get(kind, self._namespace, name)

    async def pod(self, namespace: str, name: str) -> Obj | None:
        """A pod of any namespace."""
        return await self._get("Pod", namespace, name)

    async def _get(self, kind: str, namespace: str, name: str) -> Obj | None:
        try:
            return cast(Obj, await self._client.get(self._resources[kind], name, namespace=namespace))
        except httpx2.HTTPError as error:
            failure = _failure(f"get {kind} {namespace}/{name}", error)
            if failure.code == 404:
                return None
            raise failure from error

    async def create_event(self, obj: Obj) -> None:
        """One that is there already was told before; in a namespace that goes, nobody reads it any more."""
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        try:
            # A generic resource has no type that lightkube's overloads know.
            await cast(Any, self._client).create(self._resources["Event"].from_dict(obj), namespace=namespace)
        except httpx2.HTTPError as error:
            failure = _failure(f"create Event {namespace}/{name}", error)
            if failure.code not in (404, 409):
                raise failure from error

    async def list(self, kind: str, labels: dict[str, str] | None = None) -> list[Obj]:
        """The kind is put back on each item: lists come without."""
        found = self._client.list(self._resources[kind], namespace=self._namespace, labels=cast(Any, labels))
        try:
            return [{**item, "kind": kind} async for item in found]
        except httpx2.HTTPError as error:
            raise _failure(f"list {kind} in {self._namespace}", error) from error

    async def uids(self, kind: str) -> set[str]:
        """Of all objects of a kind, read piece by piece."""
        where: Any = {} if kind == "Node" else {"namespace": self._namespace}
        found = self._client.list(self._resources[kind], **where, chunk_size=500)
        try:
            return {item["metadata"]["uid"] async for item in found}
        except httpx2.HTTPError as error:
            raise _failure(f"list {kind}", error) from error

    async def apply(self, obj: Obj, status: bool = False) -> Obj:
        """Server-side apply. Forced: what is applied here has one writer, so another's value is drift."""
        kind, name = obj["kind"], obj["metadata"]["name"]
        resource = self._resources[kind].Status if status else self._resources[kind]
        where: Any = {} if kind == "Node" else {"namespace": self._namespace}
        try:
            live = await self._client.patch(resource, name, obj, **where, patch_type=PatchType.APPLY, force=True)
            return cast(Obj, live)
        except httpx2.HTTPError as error:
            failure = _failure(f"apply {kind} {name}", error)
            if failure.code == 404 and kind in OWNED_KINDS:
                served = f"{OWNED_KINDS[kind].group}/{OWNED_KINDS[kind].version}"
                raise ApiFailure(
                    f"apply {kind} {name}",
                    f"{served} is not served; is it installed? kubectl api-resources | grep {OWNED_KINDS[kind].plural}",
                    404,
                ) from error
            raise failure from error

    async def delete(self, obj: Obj) -> None:
        kind, name = obj["kind"], obj["metadata"]["name"]
        try:
            await self._client.delete(
                self._resources[kind], name, namespace=self._namespace, cascade=CascadeType.BACKGROUND
            )
        except httpx2.HTTPError as error:
            failure = _failure(f"delete {kind} {self._namespace}/{name}", error)
            if failure.code != 404:
                raise failure from error

    async def close(self) -> None:
        await self._client.close()


def _failure(what: str, error: httpx2.HTTPError) -> ApiFailure:
    if isinstance(error, ApiError):
        return ApiFailure(what, error.status.message or error.status.reason or "no message", error.status.code)
    if isinstance(error, httpx2.HTTPStatusError):
        return ApiFailure(what, str(error), error.response.status_code)
    return ApiFailure(what, f"{type(error).__name__}: {error}")

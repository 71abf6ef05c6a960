# SPDX-License-Identifier: Apache-2.0
"""Filters over lists of Kubernetes objects: which can be sent, which would be made, which may be deleted."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._names import OURS

Json = t.Dict[str, t.Any]

CRD = "CustomResourceDefinition"


def sendable(objects: t.Iterable[Json], facts: Json) -> t.List[Json]:
    """Those whose kind is served and whose namespace is there: the API server refuses even a dry run of others."""
    apis, namespaces = facts["apis"], facts["namespaces"]

    def fits(item: Json) -> bool:
        namespace = item["metadata"].get("namespace")
        return item["kind"] in apis.get(item["apiVersion"], ()) and (namespace is None or namespace in namespaces)

    return [item for item in objects if fits(item)]


def would_be_created(objects: t.Iterable[Json], dry_run: t.Optional[Json] = None) -> t.List[Json]:
    """Those that a dry run found missing, or that were no part of it. Only what is stored has a resourceVersion."""
    answer = (dry_run or {}).get("result") or {}
    stored = {_key(item) for item in map(_object, answer.get("results", [answer])) if _is_stored(item)}
    return [item for item in objects if _key(item) not in stored]


def removable(objects: t.Sequence[Json], facts: Json) -> t.List[Json]:
    """What a teardown may delete, the last made first: no Node, and no namespace that was there before."""

    def ours(item: Json) -> bool:
        if item["kind"] == "Namespace":
            return (facts["namespaces"].get(item["metadata"]["name"]) or "").startswith(OURS)
        return item["kind"] != "Node"

    return [item for item in reversed(sendable(objects, facts)) if ours(item)]


def uninstalled(
    install: t.Sequence[Json],
    users: t.Sequence[Json],
    csvs: t.Sequence[Json],
    shared: t.Sequence[Json],
    definitions: t.Sequence[str] = (),
) -> t.List[Json]:
    """What goes with an accelerator of an operator that it uses, in the order in which it was made.

    While somebody else uses the operator that is our own record, and otherwise everything: install, the definitions
    that OLM leaves behind, its ClusterServiceVersions, and the shared objects of the operator's API. definitions: their
    names as OLM's label tells them, also where an earlier teardown got as far as the ClusterServiceVersions.
    """
    if users:
        return [item for item in [*install, *shared] if item["kind"] == "ConfigMap"]
    owned = [crd["name"] for csv in csvs for crd in csv["spec"].get("customresourcedefinitions", {}).get("owned") or []]
    crds = [
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": CRD, "metadata": {"name": name}}
        for name in dict.fromkeys([*owned, *(definitions if install else ())])
    ]
    # The Subscription goes before what it would have installed again.
    subscriptions = [item for item in install if item["kind"] == "Subscription"]
    return [*(item for item in install if item not in subscriptions), *crds, *csvs, *subscriptions, *shared]


def not_gone(result: Json, timeout: int) -> str:
    """Why kubernetes.core.k8s did not delete an object: what, expected, seen, next step."""
    said, item = result.get("msg") or "it cannot be deleted", result.get("result") or {}
    again = "then run the play again, it goes on from here"
    metadata = item.get("metadata") or {}
    if not metadata.get("name"):  # it was refused, not held
        return f"{said}; next: mend that, {again}"
    held = ", ".join(metadata.get("finalizers") or []) or "none"
    place = f"-n {metadata['namespace']} " if metadata.get("namespace") else ""
    look = f"kubectl {place}get {item['kind'].lower()} {metadata['name']} -o yaml"
    if item["kind"] == "Module":
        look += (
            "; KMM unloads a driver when no pod holds a device, and on ready nodes only: "
            "kubectl get nodemodulesconfigs -o yaml; kubectl get pods -A -o wide"
        )
    return (
        f"{said}; expected {title(item)} to be gone with its pods within {timeout} s; seen it there, "
        f"finalizers {held}; next: {look}; {again}"
    )


def title(item: Json) -> str:
    """Kind and name, to read."""
    meta = item["metadata"]
    return f"{item['kind']} {'/'.join(filter(None, [meta.get('namespace'), meta['name']]))}"


def _object(result: Json) -> Json:
    """The object in one of kubernetes.core.k8s's results; a single one is not wrapped."""
    return result.get("result", result)


def _is_stored(item: Json) -> bool:
    return bool(item.get("metadata", {}).get("resourceVersion"))


def _key(item: Json) -> t.Tuple[str, str, str]:
    meta = item["metadata"]
    return item["kind"], meta.get("namespace", ""), meta["name"]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {
            "not_gone": not_gone,
            "removable": removable,
            "sendable": sendable,
            "title": title,
            "uninstalled": uninstalled,
            "would_be_created": would_be_created,
        }

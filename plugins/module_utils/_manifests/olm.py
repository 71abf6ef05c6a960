# SPDX-License-Identifier: Apache-2.0
"""Installing NFD and KMM by OLM. Pure. PRIVATE to this collection.

These objects are shared by all accelerators of a cluster, so they bear no accelerator's name; the install record does.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import Json, Scope
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.namespace import claim, foreign


class Catalog(t.NamedTuple):
    """What differs between the two, and between platforms."""

    component: str
    package: str
    namespace: str
    own_namespace: bool  # the operator watches its own namespace only


NFD = Catalog("nfd", names.NFD_PACKAGE, names.NFD, True)
KMM = Catalog("kmm", names.KMM_PACKAGE, names.KMM, False)


def package_of(definition: Json, catalog: Catalog) -> str:
    return definition[catalog.component]["package"] or catalog.package


def component_label(package: str, namespace: str) -> str:
    """OLM puts it on all that an operator consists of: its ClusterServiceVersions, its CRDs and more."""
    return "operators.coreos.com/" + f"{package}.{namespace}"[:63].rstrip("._-")


def place_of_ours(scope: Scope, catalog: Catalog) -> t.Optional[str]:
    """The namespace in which we installed it, or began to, or have not removed all yet; None when it is not ours.

    Where the Subscription is gone, its OperatorGroup or the namespace says it: these are the last to go.
    """
    subscribed = _subscribed(scope, catalog)
    if subscribed:
        return next((item["namespace"] for item in subscribed if item["managed_by"] == scope.manager), None)
    place = scope.definition[catalog.component]["namespace"] or catalog.namespace
    begun = _groups(scope, place, package_of(scope.definition, catalog))[0]
    made = place != scope.namespace and (scope.facts.get("namespaces") or {}).get(place) == scope.manager
    return place if begun or made else None


def install(scope: Scope, catalog: Catalog) -> t.List[Json]:
    """Nothing when the cluster has it already and not from us, or when the definition says not to install.

    Of what another accelerator installed, and we would not have, we are a user: the record alone.
    """
    wanted, seen = scope.definition[catalog.component], scope.facts[catalog.component]
    subscribed, ours = _subscribed(scope, catalog), place_of_ours(scope, catalog)
    if not wanted["install"]:
        return [record(scope, catalog, ours)] if subscribed and ours else []
    # What OLM brought for us, without anything that runs, is left from an uninstall that was not finished.
    left = ours and seen.get("definitions") and not seen.get("phase")
    if (subscribed and not ours) or (seen["api"] and not subscribed and not left):
        return []
    return _objects(scope, catalog, ours or wanted["namespace"] or catalog.namespace)


def installed(scope: Scope, catalog: Catalog) -> t.List[Json]:
    """What of an install is ours to take away, also of one that was not finished."""
    place = place_of_ours(scope, catalog)
    if not place:
        return []
    package = package_of(scope.definition, catalog)
    guests = [
        item
        for item in scope.facts["olm"]["subscriptions"]
        if item["namespace"] == place and item["package"] != package
    ]
    needed = ("Namespace", "OperatorGroup") if guests else ()
    return [item for item in _objects(scope, catalog, place) if item["kind"] not in needed]


def _objects(scope: Scope, catalog: Catalog, place: str) -> t.List[Json]:
    package, targets = package_of(scope.definition, catalog), _targets(catalog, place)
    ours_there, others_there = _groups(scope, place, package)
    common = {names.LABEL_NAME: package, names.LABEL_COMPONENT: catalog.component}
    common[names.LABEL_MANAGED_BY] = scope.manager

    def made(api: str, kind: str, name: str, **rest: t.Any) -> Json:
        metadata = {"name": name, "namespace": place, "labels": common}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}

    spec = {"targetNamespaces": targets} if targets else {}
    group = made("operators.coreos.com/v1", "OperatorGroup", package, spec=spec)
    source = _source(scope, scope.definition[catalog.component])
    return [
        *([] if foreign(scope, place) else [claim(place, common)]),
        # With a second one OLM fails every operator of the namespace.
        *([group] if ours_there or not others_there else []),
        made(
            "operators.coreos.com/v1alpha1",
            "Subscription",
            next((item["name"] for item in _subscribed(scope, catalog)), package),
            spec={"name": package, "installPlanApproval": "Automatic", **source},
        ),
        record(scope, catalog, place),
    ]


def awaited(scope: Scope, catalog: Catalog) -> Json:
    """The Subscription that brings the operator, ours or another's: name, namespace, package. Empty without one."""
    ours = [item["metadata"] for item in install(scope, catalog) if item["kind"] == "Subscription"]
    theirs = [] if scope.facts[catalog.component]["api"] else _subscribed(scope, catalog)
    found = next(iter([*ours, *theirs]), None)
    if not found:
        return {}
    package = package_of(scope.definition, catalog)
    return {"name": found["name"], "namespace": found["namespace"], "package": package}


def _subscribed(scope: Scope, catalog: Catalog) -> t.List[Json]:
    """The Subscriptions to its package, ours first."""
    package = package_of(scope.definition, catalog)
    found = [item for item in scope.facts["olm"]["subscriptions"] if item["package"] == package]
    return sorted(found, key=lambda item: item["managed_by"] != scope.manager)


def obstacle(scope: Scope, catalog: Catalog) -> t.Optional[str]:
    """Why the operator would not work where it is to be installed; None when it would."""
    subscription = next((item for item in install(scope, catalog) if item["kind"] == "Subscription"), None)
    if not subscription:
        return None
    place, package = subscription["metadata"]["namespace"], subscription["spec"]["name"]
    ours, others = _groups(scope, place, package)
    targets = _targets(catalog, place)
    if not others or (not ours and len(others) == 1 and others[0]["targets"] == targets):
        return None
    seen = ", ".join(f"{item['name']} for {_watched(item['targets'])}" for item in [*others, *ours])
    return (
        f"{catalog.component}: namespace {place} has another OperatorGroup: expected only {package} for "
        f"{_watched(targets)}, since OLM fails operators with a second one or with other namespaces; seen {seen}; "
        f"nothing was changed; next: kubectl -n {place} get operatorgroups, or name another namespace in "
        f"{catalog.component}.namespace"
    )


def _targets(catalog: Catalog, place: str) -> t.List[str]:
    """The namespaces that the operator watches; none means all."""
    return [place] if catalog.own_namespace else []


def _groups(scope: Scope, place: str, package: str) -> t.Tuple[t.List[Json], t.List[Json]]:
    """The OperatorGroups of the namespace: the one that we made for this package, and others."""
    there = [item for item in scope.facts["olm"].get("operator_groups") or [] if item["namespace"] == place]
    ours = [item for item in there if (item["name"], item["managed_by"]) == (package, scope.manager)]
    return ours, [item for item in there if item not in ours]


def _watched(targets: t.Sequence[str]) -> str:
    return ", ".join(targets) or "all namespaces"


def record(scope: Scope, catalog: Catalog, place: str) -> Json:
    """Says that this accelerator needs what we made there for all of them."""
    name = names.install_record(scope.definition)
    data = {"accelerator": scope.definition["name"], "package": package_of(scope.definition, catalog)}
    metadata = {"name": name, "namespace": place, "labels": scope.labels(name, catalog.component)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _source(scope: Scope, wanted: Json) -> Json:
    default = ("redhat-operators", "openshift-marketplace") if scope.openshift() else ("operatorhubio-catalog", "olm")
    return {
        "channel": wanted["channel"] or "stable",
        "source": wanted["source"] or default[0],
        "sourceNamespace": wanted["source_namespace"] or default[1],
    }

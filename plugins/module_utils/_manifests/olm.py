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


def install(scope: Scope, catalog: Catalog) -> t.List[Json]:
    """Nothing when the cluster has it already and not from us, or when the definition says not to install.

    Of what another accelerator installed, and we would not have, we are a user: the record alone.
    """
    wanted = scope.definition[catalog.component]
    package = wanted["package"] or catalog.package
    subscribed = [item for item in scope.facts["olm"]["subscriptions"] if item["package"] == package]
    ours = next((item for item in subscribed if item["managed_by"] == scope.manager), None)
    if ours and not wanted["install"]:
        return [record(scope, catalog, ours["namespace"])]
    present = bool(subscribed or scope.facts[catalog.component]["api"])
    if not wanted["install"] or (present and not ours):
        return []
    place = ours["namespace"] if ours else wanted["namespace"] or catalog.namespace
    targets = _targets(catalog, place)
    ours_there, others_there = _groups(scope, place, package)
    common = {names.LABEL_NAME: package, names.LABEL_COMPONENT: catalog.component}
    common[names.LABEL_MANAGED_BY] = scope.manager

    def made(api: str, kind: str, name: str, **rest: t.Any) -> Json:
        metadata = {"name": name, "namespace": place, "labels": common}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}

    spec = {"targetNamespaces": targets} if targets else {}
    group = made("operators.coreos.com/v1", "OperatorGroup", package, spec=spec)
    return [
        *([] if foreign(scope, place) else [claim(place, common)]),
        # With a second one OLM fails every operator of the namespace.
        *([group] if ours_there or not others_there else []),
        made(
            "operators.coreos.com/v1alpha1",
            "Subscription",
            ours["name"] if ours else package,
            spec={"name": package, "installPlanApproval": "Automatic", **_source(scope, wanted)},
        ),
        record(scope, catalog, place),
    ]


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
    data = {
        "accelerator": scope.definition["name"],
        "package": scope.definition[catalog.component]["package"] or catalog.package,
    }
    metadata = {"name": name, "namespace": place, "labels": scope.labels(name, catalog.component)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _source(scope: Scope, wanted: Json) -> Json:
    default = ("redhat-operators", "openshift-marketplace") if scope.openshift() else ("operatorhubio-catalog", "olm")
    return {
        "channel": wanted["channel"] or "stable",
        "source": wanted["source"] or default[0],
        "sourceNamespace": wanted["source_namespace"] or default[1],
    }

# SPDX-License-Identifier: Apache-2.0
"""What the play needs to be allowed, and what the API server's reviews say of it. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._facts import (
    NFD_APIS,
    OLM_API,
    OPENSHIFT_API,
    served,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import (
    awaited,
    operators_of_ours,
    render,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._ownership import IMAGES, kept_queries

Json = t.Dict[str, t.Any]

APPLY = ("get", "create", "patch")
WATCH = ("get", "list", "watch")
PRUNE = ("get", "list", "delete")
STAGES = {  # what the roles apply, by who manages
    "operator": ("namespace", "nfd_install", "nfd", "kmm_install", "operator", "monitoring"),
    "playbook": ("namespace", "nfd_install", "nfd", "kmm_install", "kmm", "device_plugin", "consumer", "monitoring"),
}
PRUNED = {  # where the roles look for what is no longer wanted, one group a look
    "operator": (("kmm", "device_plugin", "consumer"), ("monitoring",)),
    "playbook": (("device_plugin", "consumer"), ("monitoring",)),
}
OLM_GROUP = OLM_API[0].rpartition("/")[0]
OF_AN_INSTALL = ("subscriptions", "installplans", "clusterserviceversions")


class Need(t.NamedTuple):
    """One verb on one resource; without a namespace it is cluster-wide."""

    verb: str
    group: str
    resource: str
    namespace: t.Optional[str] = None

    def __str__(self) -> str:
        where = f"namespace {self.namespace}" if self.namespace else "cluster-wide"
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''} ({where})"


def needs(definition: Json, facts: Json) -> t.List[Need]:
    """Every verb that site.yml uses: it applies what the manifests say, and reads and watches what it waits for."""
    manager = definition["managed_by"]
    items = [item for stage in STAGES[manager] for item in render(stage, definition, facts, IMAGES)]
    found = [
        Need(verb, group_of(item["apiVersion"]), plural(item["kind"]), item["metadata"].get("namespace"))
        for item in items
        for verb in APPLY
        if (item["kind"], verb) != ("Node", "create")  # a part of a Node that is there
    ]

    def add(verbs: t.Iterable[str], group: str, resources: t.Iterable[str], place: t.Optional[str] = None) -> None:
        found.extend(Need(verb, group, resource, place) for resource in resources for verb in verbs)

    namespace = definition["namespace"]
    found += _of_builds(definition, facts)
    add(WATCH, "", ["nodes"])
    add(["list"], "", ["namespaces"])
    add(WATCH, "", ["pods"], namespace)
    add(["get"], "", ["pods/log", "pods/proxy"], namespace)
    for stages in PRUNED[manager]:
        for query in kept_queries(definition, facts, stages):
            add(PRUNE, group_of(query["api_version"]), [plural(query["kind"])], query["namespace"])
    api = definition["operator"]["api"]
    if manager == "operator":
        add(WATCH, "apps", ["deployments"], namespace)
        add(WATCH, "apiextensions.k8s.io", ["customresourcedefinitions"])
        add([*APPLY, *WATCH], api["group"], [api["plural"]], namespace)
    else:
        add(["patch"], "", ["nodes"])
        add(WATCH, "apps", ["daemonsets", "deployments"], namespace)
        add(WATCH, "kmm.sigs.x-k8s.io", ["modules"], namespace)
        if served(facts["apis"], (f"{api['group']}/{api['version']}", api["kind"])):  # its operator goes first
            add([*WATCH, "patch"], api["group"], [api["plural"]], namespace)
            for item in render("operator", definition, facts, IMAGES):
                place = item["metadata"].get("namespace")
                add(["get", "delete"], group_of(item["apiVersion"]), [plural(item["kind"])], place)
    return list(dict.fromkeys([*found, *_to_await(definition, facts), *to_read(definition, facts)]))


def _to_await(definition: Json, facts: Json) -> t.Iterator[Need]:
    """While OLM installs."""
    for component in ("nfd", "kmm"):
        place = awaited(definition, facts, component).get("namespace")
        for resource in OF_AN_INSTALL if place else ():
            yield from (Need(verb, OLM_GROUP, resource, place) for verb in ("list", "watch"))


def to_read(definition: Json, facts: Json) -> t.Iterator[Need]:
    """For the facts."""
    if served(facts["apis"], OLM_API):
        yield from (Need("list", OLM_GROUP, resource) for resource in ("subscriptions", "operatorgroups"))
    for place, _label in operators_of_ours(definition, facts).values():
        yield Need("list", OLM_GROUP, "clusterserviceversions", place)
        yield Need("list", "apiextensions.k8s.io", "customresourcedefinitions")
    if served(facts["apis"], OPENSHIFT_API):
        yield Need("get", group_of(OPENSHIFT_API[0]), "clusterversions")
    if served(facts["apis"], NFD_APIS[0]):
        yield Need("list", group_of(NFD_APIS[0][0]), plural(NFD_APIS[0][1]))


def grants(definition: Json, facts: Json) -> t.List[t.Tuple[Need, t.List[Need]]]:
    """Who writes a role has to hold what it grants, or may escalate: that need and those, for each role."""
    items = [item for stage in STAGES[definition["managed_by"]] for item in render(stage, definition, facts, IMAGES)]
    found = []
    for item in items:
        if item["kind"] in ("Role", "ClusterRole"):
            place = item["metadata"].get("namespace")
            escalate = Need("escalate", group_of(item["apiVersion"]), plural(item["kind"]), place)
            found.append((escalate, [need for rule in item["rules"] for need in _granted(rule, place)]))
    return found


def _granted(rule: Json, place: t.Optional[str]) -> t.List[Need]:
    """A right on certain names cannot be asked for as easily; there is one, to bind OpenShift's own role."""
    if rule.get("resourceNames"):
        return []
    pairs = [(group, resource) for group in rule["apiGroups"] for resource in rule["resources"]]
    return [Need(verb, group, resource, place) for group, resource in pairs for verb in rule["verbs"]]


def _of_builds(definition: Json, facts: Json) -> t.List[Need]:
    """What driver_build does in the cluster."""
    namespace, driver, images = definition["namespace"], definition["driver"], definition["images"]
    strategy, found = driver["build"]["strategy"], []
    if strategy == "podman" and (driver["signing"] or {}).get("secret"):
        found.append(Need("get", "", "secrets", namespace))
    if strategy in ("podman", "buildconfig") and facts["platform"] == "openshift" and not images["builder"]:
        found.append(Need("get", "image.openshift.io", "imagestreams", "openshift"))
    for item in render("driver_build", definition, facts, IMAGES):
        group, resource = group_of(item["apiVersion"]), plural(item["kind"])
        found += [Need(verb, group, resource, namespace) for verb in APPLY]
    if strategy == "buildconfig":
        found += [Need(verb, "build.openshift.io", "builds", namespace) for verb in WATCH]
        found += [Need(verb, "build.openshift.io", "buildconfigs", namespace) for verb in PRUNE]
        found += [Need(verb, "image.openshift.io", "imagestreams", namespace) for verb in PRUNE]
    return found


def kept(definition: Json, facts: Json, removal: bool) -> t.List[Json]:
    """How to find what playbooks wrote in the stages in which the roles look for what is no longer wanted."""
    groups = () if removal else PRUNED[definition["managed_by"]]
    builds = removal or definition["driver"]["build"]["strategy"] == "buildconfig"
    stages = [*(("driver_build",) if builds else ()), *(stage for group in groups for stage in group)]
    return kept_queries(definition, facts, stages)


def group_of(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def plural(kind: str) -> str:
    """The resource of a kind; a CRD that is still to be installed cannot be asked."""
    word = kind.lower()
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def everything_review() -> Json:
    """Asks whether the user may do everything, as a cluster administrator may."""
    return _review({"verb": "*", "group": "*", "version": "*", "resource": "*"})


def access_review(need: Need) -> Json:
    resource, _slash, sub = need.resource.partition("/")
    attributes = {"verb": need.verb, "group": need.group, "resource": resource}
    if sub:
        attributes["subresource"] = sub
    if need.namespace:
        attributes["namespace"] = need.namespace
    return _review(attributes)


def _review(attributes: Json) -> Json:
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


def rules_review(namespace: str) -> Json:
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }


def settle(needed: t.Iterable[Need], namespace: str, status: Json) -> t.Tuple[t.List[Need], t.List[Need]]:
    """Sorts needs by the rules of one namespace into those surely denied and those still to be asked one by one.

    The rules hold what the user may do there, cluster-wide grants included. So what they lack is denied, cluster-wide
    too, unless the review is incomplete; what they have is granted in that namespace only.
    """
    denied, unknown = [], []
    complete = not status.get("incomplete")
    for need in needed:
        granted = any(_covers(rule, need) for rule in status.get("resourceRules") or [])
        if granted and need.namespace == namespace:
            continue
        if complete and not granted and need.namespace in (namespace, None):
            denied.append(need)
        else:
            unknown.append(need)
    return denied, unknown


def _covers(rule: Json, need: Need) -> bool:
    """Whether a rule grants a need for every name."""
    resources = rule.get("resources") or []
    return (
        not rule.get("resourceNames")
        and bool({"*", need.verb} & set(rule.get("verbs") or []))
        and bool({"*", need.group} & set(rule.get("apiGroups") or []))
        and bool({"*", need.resource, "*/" + need.resource.rpartition("/")[2]} & set(resources))
    )


def denied_message(server: str, denied: t.Sequence[Need]) -> str:
    """One line a missing permission would be long: verbs are gathered by resource and place."""
    gathered: dict[tuple[str, str, t.Optional[str]], list[str]] = {}
    for need in denied:
        gathered.setdefault((need.group, need.resource, need.namespace), []).append(need.verb)
    lines = [
        str(Need(",".join(verbs), group, resource, namespace))
        for (group, resource, namespace), verbs in gathered.items()
    ]
    example = denied[0]
    resource, _slash, sub = example.resource.partition("/")
    ask = f"{example.verb} {resource}{'.' + example.group if example.group else ''}"
    ask += f" --subresource={sub}" if sub else ""
    ask += f" -n {example.namespace}" if example.namespace else ""
    return (
        f"{server} denies {len(denied)} of the permissions that the play needs: {'; '.join(lines)}; "
        f"nothing was changed; next: kubectl auth can-i {ask}, "
        "then ask the cluster's administrator for a role with these"
    )


__all__ = (
    "PRUNE",
    "WATCH",
    "Need",
    "access_review",
    "denied_message",
    "everything_review",
    "grants",
    "group_of",
    "kept",
    "needs",
    "plural",
    "rules_review",
    "settle",
    "to_read",
)

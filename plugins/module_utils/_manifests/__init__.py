# SPDX-License-Identifier: Apache-2.0
"""Definition and facts -> Kubernetes objects. Pure, standard library only. PRIVATE to this collection.

The roles use this through the filter `manifests`; the operator's image holds the same files under the same import path.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import olm
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import Json, Scope
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.consumer import consumer
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.custom_resource import (
    crd,
    custom_resource,
    effective,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.device_plugin import device_plugin
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.kmm import kmm, kmm_install
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.monitoring import monitoring
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.namespace import (
    going,
    namespace,
    released,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.nfd import nfd, nfd_install
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.operator import operator

component_label = olm.component_label
CATALOGS = {catalog.component: catalog for catalog in (olm.NFD, olm.KMM)}
STAGES: t.Dict[str, t.Callable[[Scope], t.List[Json]]] = {
    "namespace": namespace,
    "nfd_install": nfd_install,
    "nfd": nfd,
    "kmm_install": kmm_install,
    "kmm": kmm,
    "device_plugin": device_plugin,
    "consumer": consumer,
    "operator": operator,
    "monitoring": monitoring,
    # Of a teardown: what was installed, as far as it is ours.
    "nfd_installed": lambda scope: olm.installed(scope, olm.NFD),
    "kmm_installed": lambda scope: olm.installed(scope, olm.KMM),
}


def render(stage: str, definition: Json, facts: Json, images: Json, manager: str = names.PLAYBOOK) -> t.List[Json]:
    """The objects of one stage, in the order in which they are applied."""
    if stage not in STAGES:
        raise ValueError(f"stage: expected one of {', '.join(STAGES)}, seen {stage}")
    return STAGES[stage](Scope(definition, facts, images, manager))


def _wanted(definition: Json) -> t.List[olm.Catalog]:
    """The operators that an accelerator needs."""
    return [olm.KMM] if definition["hardware"].get("node_label") else [olm.NFD, olm.KMM]


def obstacles(definition: Json, facts: Json) -> t.List[str]:
    """What in the cluster stands in the way of an install, before anything is changed."""
    scope = Scope(definition, facts, {}, names.PLAYBOOK)
    made = [*namespace(scope), *(item for catalog in _wanted(definition) for item in olm.install(scope, catalog))]
    groups = (olm.obstacle(scope, catalog) for catalog in _wanted(definition))
    return [*going(facts, made), *(text for text in groups if text)]


def awaited(definition: Json, facts: Json, component: str) -> Json:
    """The Subscription that brings NFD or KMM: name, namespace, package. Empty when none does, or is not needed."""
    catalog = CATALOGS[component]
    return olm.awaited(Scope(definition, facts, {}, names.PLAYBOOK), catalog) if catalog in _wanted(definition) else {}


def operators_of_ours(definition: Json, facts: Json) -> t.Dict[str, t.Tuple[str, str]]:
    """Component -> (namespace, label of all that OLM made for it), for what this collection installed, or began to."""
    scope = Scope(definition, facts, {}, names.PLAYBOOK)
    places = {name: olm.place_of_ours(scope, catalog) for name, catalog in CATALOGS.items()}
    return {
        name: (place, olm.component_label(olm.package_of(definition, CATALOGS[name]), place))
        for name, place in places.items()
        if place
    }


__all__ = (
    "STAGES",
    "awaited",
    "component_label",
    "crd",
    "custom_resource",
    "effective",
    "obstacles",
    "operators_of_ours",
    "released",
    "render",
)

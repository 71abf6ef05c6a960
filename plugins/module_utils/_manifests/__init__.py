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
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.driver_build import driver_build
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.kmm import kmm, kmm_install
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.monitoring import monitoring
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.namespace import (
    namespace,
    released,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.nfd import nfd, nfd_install
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.operator import operator

STAGES: t.Dict[str, t.Callable[[Scope], t.List[Json]]] = {
    "namespace": namespace,
    "driver_build": driver_build,
    "nfd_install": nfd_install,
    "nfd": nfd,
    "kmm_install": kmm_install,
    "kmm": kmm,
    "device_plugin": device_plugin,
    "consumer": consumer,
    "operator": operator,
    "monitoring": monitoring,
}


def render(stage: str, definition: Json, facts: Json, images: Json, manager: str = names.PLAYBOOK) -> t.List[Json]:
    """The objects of one stage, in the order in which they are applied."""
    if stage not in STAGES:
        raise ValueError(f"stage: expected one of {', '.join(STAGES)}, seen {stage}")
    return STAGES[stage](Scope(definition, facts, images, manager))


def obstacles(definition: Json, facts: Json) -> t.List[str]:
    """What in the cluster stands in the way of an install, before anything is changed."""
    scope = Scope(definition, facts, {}, names.PLAYBOOK)
    wanted = [olm.KMM] if definition["hardware"].get("node_label") else [olm.NFD, olm.KMM]
    return [text for text in (olm.obstacle(scope, catalog) for catalog in wanted) if text]


__all__ = ("STAGES", "crd", "custom_resource", "effective", "obstacles", "released", "render")

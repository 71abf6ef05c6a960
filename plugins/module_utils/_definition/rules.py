# SPDX-License-Identifier: Apache-2.0
"""What must hold between the values of a definition whose form is right. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.fill import fill
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import _taints
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.custom_resource import FIELDS

Json = t.Dict[str, t.Any]
Mistakes = t.Iterator[str]

HARDWARE = ("pci", "loaded_module", "cpu_feature", "node_label")
IN_CLUSTER = ("kmm", "buildconfig")  # strategies that build there
RESERVED = ("kubernetes.io", "k8s.io")
KMM_LONGEST = 39  # of the label kmm.node.kubernetes.io/<namespace>.<name>.ready
TYPES: t.Dict[str, type] = {"string": str, "integer": int, "boolean": bool}


def check(given: Json) -> t.List[str]:
    """The rules see the defaults too: a mistake may lie between a given value and one that was left out."""
    definition = fill(given)
    return [mistake for rule in RULES for mistake in rule(definition)]


def _reserved(domain: str) -> bool:
    return any(domain == own or domain.endswith(f".{own}") for own in RESERVED)


def _names(definition: Json) -> Mistakes:
    both = f"{definition['namespace']}.{definition['name']}"
    if len(both) > KMM_LONGEST:
        yield (
            f"name: expected <namespace>.<name> of at most {KMM_LONGEST} characters, for KMM's node labels; "
            f"seen {both}, {len(both)} characters"
        )
    domain = definition["resource"].partition("/")[0]
    if _reserved(domain):
        yield f"resource: expected a domain of your own; seen {domain}, which is Kubernetes' own"
    group = definition["operator"]["api"]["group"]
    if _reserved(group) and not _reserved(domain):
        yield f"operator.api.group: expected a domain of your own; seen {group}, which is Kubernetes' own"


def _tolerations(definition: Json) -> Mistakes:
    yield from _taints.mistakes(definition["tolerations"])


def _hardware(definition: Json) -> Mistakes:
    given = [name for name in HARDWARE if definition["hardware"][name]]
    if len(given) != 1:
        yield f"hardware: expected exactly one of {', '.join(HARDWARE)}; seen {', '.join(given) or 'none'}"
    if definition["hardware"]["loaded_module"] == definition["driver"]["module"]:
        yield (
            "hardware.loaded_module: expected a module that is loaded before the driver is; "
            f"seen {definition['driver']['module']}, which is the driver itself"
        )


def _driver(definition: Json) -> Mistakes:
    driver, image = definition["driver"], definition["images"]["driver"]
    given = [f"driver.{name}" for name in ("source", "git") if driver[name]]
    if len(given) == 2:
        yield "driver: expected either source or git; seen both"
    if not given and not image:
        yield "driver: expected one of driver.source, driver.git, images.driver; seen none"
    yield from _build(driver["build"]["strategy"], driver, image)
    if driver["signing"]:
        yield from _signing(driver["build"]["strategy"], driver["signing"])


def _build(strategy: str, driver: Json, image: t.Optional[str]) -> Mistakes:
    where = "driver.build.strategy"
    if strategy == "prebuilt" and not image:
        yield f"{where}: prebuilt takes the images that are there; expected images.driver; seen none"
    if strategy != "prebuilt" and image:
        yield f"{where}: expected prebuilt, because images.driver names what is there; seen {strategy}"
    if strategy == "kmm" and driver["source"]:
        yield (
            f"{where}: KMM builds in the cluster, where it clones driver.git; a folder of the build host is not there; "
            "expected driver.git; seen driver.source"
        )
    if strategy in IN_CLUSTER and driver["build"]["hosts"]:
        yield f"driver.build.hosts: expected only with strategy podman; seen strategy {strategy}"
    if strategy == "kmm" and driver["build"]["kernels"]:
        yield "driver.build.kernels: KMM builds for the kernels that its nodes run; expected none; seen some"


def _signing(strategy: str, signing: Json) -> Mistakes:
    given = [name for name in ("key", "certificate", "secret") if signing[name]]
    if given not in (["key", "certificate"], ["secret"]):
        seen = " and ".join(given) or "none"
        yield f"driver.signing: expected either key and certificate, or secret; seen {seen}"
    elif strategy in IN_CLUSTER and given != ["secret"]:
        yield f"driver.signing: strategy {strategy} signs in the cluster; expected secret; seen key and certificate"


def _images(definition: Json) -> Mistakes:
    images = definition["images"]
    wanted = ["driver", "device_plugin"]
    wanted += ["operator"] if definition["managed_by"] == "operator" else []
    wanted += ["consumer"] if definition["consumer"] else []
    built = [f"images.{name}" for name in wanted if not images[name]]
    if built and not images["registry"]:
        yield (
            "images.registry: expected a registry and path to push to, or references for all images; "
            f"seen nothing for {', '.join(built)}"
        )


def _consumer(definition: Json) -> Mistakes:
    consumer, most = definition["consumer"], names.offered(definition)
    if not consumer:
        return
    if not consumer["source"] and not definition["images"]["consumer"]:
        yield "consumer: expected consumer.source or images.consumer; seen neither"
    if most and consumer["devices"] > most:
        shared = " times device_plugin.replicas" if definition["device_plugin"]["replicas"] > 1 else ""
        yield f"consumer.devices: expected at most devices.count{shared}, {most}; seen {consumer['devices']}"


def _installs(definition: Json) -> Mistakes:
    """OLM takes one OperatorGroup a namespace, and the two watch different namespaces."""
    nfd, kmm = definition["nfd"], definition["kmm"]
    place = nfd["namespace"] or names.NFD
    if nfd["install"] and kmm["install"] and place == (kmm["namespace"] or names.KMM):
        yield f"nfd.namespace: expected another than kmm.namespace, OLM takes one OperatorGroup in each; seen {place}"


def _fields(definition: Json) -> Mistakes:
    seen: t.Dict[str, str] = {}
    for name, field in definition["operator"]["fields"].items():
        path, parameter = f"operator.fields.{name}", field["parameter"]
        if name in FIELDS:
            yield f"{path}: expected another name; {', '.join(FIELDS)} are fields of every custom resource"
        if parameter in seen:
            yield f"{path}.parameter: expected a parameter that no other field sets; {seen[parameter]} sets {parameter}"
        seen.setdefault(parameter, name)
        limits = [key for key in ("minimum", "maximum") if field[key] is not None]
        if limits and field["type"] != "integer":
            yield f"{path}.{limits[0]}: expected only with type integer; seen type {field['type']}"
        if len(limits) == 2 and field["minimum"] > field["maximum"]:
            yield f"{path}.minimum: expected at most maximum, {field['maximum']}; seen {field['minimum']}"
        if field["counts_devices"] and field["type"] != "integer":
            yield f"{path}.counts_devices: expected only with type integer; seen type {field['type']}"
        yield from _value_of_field(definition, path, field)


def _value_of_field(definition: Json, path: str, field: Json) -> Mistakes:
    value = definition["driver"]["parameters"].get(field["parameter"])
    if value is None:
        return
    where = f"driver.parameters.{field['parameter']}"
    is_boolean = isinstance(value, bool)  # which Python takes for a number too
    if not isinstance(value, TYPES[field["type"]]) or is_boolean is not (field["type"] == "boolean"):
        yield f"{where}: expected a value of type {field['type']}, as {path} says; seen {value!r}"
    elif field["type"] == "integer":
        if field["minimum"] is not None and value < field["minimum"]:
            yield f"{where}: expected at least {field['minimum']}, as {path} says; seen {value}"
        if field["maximum"] is not None and value > field["maximum"]:
            yield f"{where}: expected at most {field['maximum']}, as {path} says; seen {value}"


def _health(definition: Json) -> Mistakes:
    health = definition["health"]
    if health["file"] and not health["words"]:
        yield "health.words: expected at least one word that health.file holds when a device is well; seen none"
    if health["probe"] == "open" and definition["device_plugin"]["deploy"] != "kmm":
        yield (
            "health.probe: expected device_plugin.deploy kmm with open, because our own plugin is not privileged "
            f"and may not open devices; seen deploy {definition['device_plugin']['deploy']}"
        )


def _device_plugin(definition: Json) -> Mistakes:
    plugin = definition["device_plugin"]
    if plugin["pre_start"] == "reset" and plugin["replicas"] > 1:
        yield (
            "device_plugin.pre_start: expected none or look where pods share a device, since a reset takes it from all "
            f"of them; seen reset and replicas {plugin['replicas']}"
        )


def _drill(definition: Json) -> Mistakes:
    drill = definition["health"]["drill"]
    if drill["faults"] and not drill["clear"]:
        yield "health.drill.clear: expected the command that ends the faults of health.drill.faults; seen none"


RULES = (
    _names,
    _tolerations,
    _hardware,
    _driver,
    _images,
    _health,
    _device_plugin,
    _drill,
    _consumer,
    _installs,
    _fields,
)

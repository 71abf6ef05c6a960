# SPDX-License-Identifier: Apache-2.0
"""The custom resource: its definition, the one that the playbook writes, and what follows from one. Pure. PRIVATE."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import _taints
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._syntax import schema

Json = t.Dict[str, t.Any]

# Fields that every accelerator's custom resource has; operator.fields may not use these names.
FIELDS = ("consumer", "deviceplugin", "driver", "imagePullSecret", "requiredDevices", "selector", "tolerations")


def crd(definition: Json, manager: str = names.PLAYBOOK) -> Json:
    api = definition["operator"]["api"]
    name = f"{api['plural']}.{api['group']}"
    version = {
        "name": api["version"],
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(),
        "schema": {
            "openAPIV3Schema": _object(
                f"{api['kind']}: driver, device plugin and consumer of {definition['resource']}.",
                {"spec": _spec(definition), "status": _status()},
                ["spec"],
            )
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "labels": names.labels(definition, name, "operator", manager)},
        "spec": {
            "group": api["group"],
            "scope": "Namespaced",
            "names": {
                "kind": api["kind"],
                "listKind": f"{api['kind']}List",
                "plural": api["plural"],
                "singular": api["kind"].lower(),
            },
            "versions": [version],
        },
    }


def custom_resource(definition: Json, images: Json, manager: str = names.PLAYBOOK) -> Json:
    """What the definition says, in the custom resource's words."""
    api, driver, consumer = definition["operator"]["api"], definition["driver"], definition["consumer"]
    by_field = {field["parameter"]: name for name, field in definition["operator"]["fields"].items()}
    parameters = driver["parameters"]
    spec: Json = {
        "selector": names.selector(definition),
        "deviceplugin": images["device_plugin"],
        "driver": {
            "image": images["driver"],
            "module": driver["module"],
            "version": driver["version"],
            "parameters": {key: _number_or_text(value) for key, value in parameters.items() if key not in by_field},
            "replaces": driver["replaces"],
            "firmware": driver["firmware"],
            "insecureRegistry": not definition["images"]["tls_verify"],
        },
        **{by_field[key]: value for key, value in parameters.items() if key in by_field},
    }
    if definition["tolerations"]:
        spec["tolerations"] = names.tolerations(definition)
    if consumer:
        spec["consumer"] = images["consumer"]
        spec["requiredDevices"] = consumer["devices"]
    if definition["images"]["pull_secret"]:
        spec["imagePullSecret"] = {"name": definition["images"]["pull_secret"]}
    name = definition["name"]
    return {
        "apiVersion": f"{api['group']}/{api['version']}",
        "kind": api["kind"],
        "metadata": {
            "name": name,
            "namespace": definition["namespace"],
            "labels": names.labels(definition, name, "operator", manager),
        },
        "spec": spec,
    }


def effective(definition: Json, spec: Json) -> t.Tuple[Json, Json]:
    """(definition, images) with what a custom resource's spec says put over it. Raises ValueError, for the user."""
    if not spec["selector"]:
        raise ValueError("spec.selector: expected at least one label of the nodes with the hardware, seen none")
    made, driver = copy.deepcopy(definition), spec["driver"]
    made["tolerations"] = spec.get("tolerations", [])
    mistake = next(_taints.mistakes(made["tolerations"]), None)
    if mistake:
        raise ValueError(f"spec.{mistake}")
    made["nodes"], made["hardware"] = {}, {"node_label": dict(spec["selector"])}
    made["images"]["pull_secret"] = spec.get("imagePullSecret", {}).get("name")
    made["images"]["tls_verify"] = not driver.get("insecureRegistry", False)
    for key in ("module", "version"):
        made["driver"][key] = driver.get(key, definition["driver"][key])
    made["driver"]["replaces"] = driver.get("replaces", [])
    made["driver"]["firmware"] = driver.get("firmware", [])
    made["driver"]["parameters"] = dict(driver.get("parameters", {}))
    for name, field in definition["operator"]["fields"].items():
        if name in spec:
            made["driver"]["parameters"][field["parameter"]] = spec[name]
            if field["counts_devices"]:
                made["devices"]["count"] = spec[name]
    made["consumer"] = _consumer(definition["consumer"], spec)
    most, wanted = names.offered(made), made["consumer"] and made["consumer"]["devices"]
    if most and wanted and wanted > most:
        raise ValueError(
            f"spec.requiredDevices: expected at most {most}, what each node has by {_counted_by(definition, spec)}; "
            f"seen {wanted}"
        )
    images = {"driver": driver["image"], "device_plugin": spec["deviceplugin"], "consumer": spec.get("consumer")}
    return made, images


def _counted_by(definition: Json, spec: Json) -> str:
    """What says how many devices a node has."""
    fields = definition["operator"]["fields"].items()
    return next((f"spec.{name}" for name, field in fields if field["counts_devices"] and name in spec), "devices.count")


def _consumer(consumer: t.Optional[Json], spec: Json) -> t.Optional[Json]:
    if not spec.get("consumer"):
        return None
    given = consumer or {"command": None, "replicas": 1, "devices": 1}
    return {**given, "devices": spec.get("requiredDevices", given["devices"])}


def _number_or_text(value: t.Any) -> t.Union[int, str]:
    """A kernel module takes 1 for a bool; a float is text to the API."""
    return int(value) if isinstance(value, (bool, int)) else str(value)


def _object(text: str, properties: Json, required: t.Sequence[str] = ()) -> Json:
    made: Json = {"type": "object", "description": text, "properties": properties}
    return {**made, "required": list(required)} if required else made


def _array(text: str, kind: str) -> Json:
    return {"type": "array", "description": text, "items": schema(kind), "maxItems": 64}


def _integer(text: str, minimum: int = 0) -> Json:
    return {"type": "integer", "description": text, "minimum": minimum}


def _spec(definition: Json) -> Json:
    number_or_text = {**schema("parameter_text"), "x-kubernetes-int-or-string": True}
    del number_or_text["type"]
    driver = {
        "image": {**schema("image"), "description": f"Driver image; {names.KERNEL} stands for each node's kernel."},
        "module": {**schema("kernel_module"), "description": "Kernel module; the operator's default if not given."},
        "version": {**schema("version"), "description": "KMM reloads the driver when it changes."},
        "parameters": {
            "type": "object",
            "description": "Parameters of the module.",
            "additionalProperties": number_or_text,
        },
        "replaces": _array("In-tree modules that are removed first.", "kernel_module"),
        "firmware": _array("Firmware files in the image.", "file_in_image"),
        "insecureRegistry": {"type": "boolean", "description": "The registry has no valid TLS certificate."},
    }
    fields = {name: _field(field) for name, field in sorted(definition["operator"]["fields"].items())}
    labels = {"type": "object", "minProperties": 1, "additionalProperties": schema("label_value")}
    secret = _object("Secret with the registry's credentials, in this namespace.", {"name": schema("object")}, ["name"])
    tolerations = {"type": "array", "items": _toleration(), "maxItems": 64}
    properties = {
        **fields,
        "consumer": {**schema("image"), "description": "Image of a workload that uses devices; none runs without it."},
        "deviceplugin": {**schema("image"), "description": "Image of the device plugin."},
        "driver": _object("The kernel module.", driver, ["image"]),
        "imagePullSecret": secret,
        "requiredDevices": _integer("Devices that the consumer asks for.", 1),
        "selector": {**labels, "description": "Labels of the nodes that have the hardware."},
        "tolerations": {**tolerations, "description": "Taints of these nodes that are tolerated, as in a pod's spec."},
    }
    return _object("What is wanted.", properties, ["deviceplugin", "driver", "selector"])


def _toleration() -> Json:
    fields = {
        "key": schema("label_key"),
        "operator": {"type": "string", "enum": list(_taints.OPERATORS)},
        "value": schema("label_value"),
        "effect": {"type": "string", "enum": list(_taints.EFFECTS)},
    }
    return _object("A toleration.", fields, ["key"])


def _field(field: Json) -> Json:
    text = f"Sets the module's parameter {field['parameter']}."
    made = schema("parameter_text") if field["type"] == "string" else {"type": field["type"]}
    limits = {key: field[key] for key in ("minimum", "maximum") if field[key] is not None}
    return {**made, **limits, "description": field["description"] or text}


def _status() -> Json:
    condition = _object(
        "As in all of Kubernetes.",
        {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": _integer("The generation that it is about."),
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "reason": {"type": "string", "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
        },
        ["type", "status", "lastTransitionTime", "reason", "message"],
    )
    conditions = {
        "type": "array",
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }
    nodes = {
        "matching": _integer("Nodes that the selector selects."),
        "moduleLoaded": _integer("Those with the driver loaded."),
        "devicesReady": _integer("Those with all their devices allocatable."),
    }
    devices = {"expected": _integer("On all matching nodes."), "allocatable": _integer("As the kubelets say.")}
    return _object(
        "What was seen.",
        {
            "observedGeneration": _integer("The generation that was last looked at."),
            "conditions": conditions,
            "consumers": {"type": "array", "description": "Running consumer pods.", "items": {"type": "string"}},
            "nodes": _object("Counts of nodes.", nodes),
            "devices": _object("Counts of devices.", devices),
        },
    )


def _columns() -> t.List[Json]:
    ready = '.status.conditions[?(@.type=="Ready")]'
    columns = [
        ("Ready", "string", f"{ready}.status"),
        ("Reason", "string", f"{ready}.reason"),
        ("Nodes", "integer", ".status.nodes.devicesReady"),
        ("Expected", "integer", ".status.devices.expected"),
        ("Allocatable", "integer", ".status.devices.allocatable"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ]
    return [{"name": name, "type": kind, "jsonPath": path} for name, kind, path in columns]

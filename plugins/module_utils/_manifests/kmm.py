# SPDX-License-Identifier: Apache-2.0
"""Kernel Module Management: the driver, loaded on the nodes that have the hardware. Pure. PRIVATE."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests import olm
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import Json, Scope
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.device_plugin import by_kmm
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.driver_build import proxy_arguments

FIRMWARE = "/firmware"
SIGNED = "/opt/lib/modules/${KERNEL_FULL_VERSION}/extra/*.ko"


def kmm_install(scope: Scope) -> t.List[Json]:
    return olm.install(scope, olm.KMM)


def kmm(scope: Scope) -> t.List[Json]:
    account = names.driver(scope.definition)
    return [
        scope.service_account(account, "driver"),
        *scope.privileged_scc(account, "driver"),
        _module(scope),
        *version_labels(scope.definition, scope.facts),
    ]


def version_labels(definition: Json, facts: Json) -> t.List[Json]:
    """KMM loads nothing on a node without the version's label, and leaves it to the Module's owner to write it."""
    label = {names.version_label(definition): definition["driver"]["version"]}
    return [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": label}}
        for name in names.matching(definition, facts["nodes"])
    ]


def _module(scope: Scope) -> Json:
    driver, images = scope.definition["driver"], scope.definition["images"]
    modprobe: Json = {"moduleName": driver["module"]}
    if driver["parameters"]:
        modprobe["parameters"] = [f"{name}={_text(value)}" for name, value in sorted(driver["parameters"].items())]
    if driver["firmware"]:
        modprobe["firmwarePath"] = FIRMWARE
    container: Json = {
        # The webhook refuses a later change from or to no version.
        "version": driver["version"],
        "kernelMappings": [{"regexp": "^.+$", "containerImage": scope.images["driver"], **_build(scope)}],
        "modprobe": modprobe,
    }
    if driver["replaces"]:
        container["inTreeModulesToRemove"] = driver["replaces"]
    if not images["tls_verify"]:
        container["registryTLS"] = {"insecure": True, "insecureSkipTLSVerify": True}
    spec: Json = {
        "selector": names.selector(scope.definition),
        "moduleLoader": {"serviceAccountName": names.driver(scope.definition), "container": container},
    }
    tolerations = names.tolerations(scope.definition)
    if tolerations:
        spec["tolerations"] = tolerations
    if images["pull_secret"]:
        spec["imageRepoSecret"] = {"name": images["pull_secret"]}
    if scope.definition["device_plugin"]["deploy"] == "kmm":
        spec["devicePlugin"] = by_kmm(scope)
    return scope.make("kmm.sigs.x-k8s.io/v1beta1", "Module", scope.definition["name"], "driver", spec=spec)


def _build(scope: Scope) -> Json:
    """What KMM does when the image is not there. It pushes with the secret that it pulls with."""
    definition = scope.definition
    images, signing = definition["images"], definition["driver"]["signing"]
    if definition["driver"]["build"]["strategy"] != "kmm":
        return {}
    build: Json = {"dockerfileConfigMap": {"name": names.driver_build(definition)}}
    proxy = proxy_arguments(images["proxy"])
    if proxy:
        build["buildArgs"] = proxy
    bases = [image for image in (images["builder"], images["driver_base"]) if image]
    host = (images["registry"] or "").partition("/")[0]
    if not images["tls_verify"] and host in {image.partition("/")[0] for image in bases}:
        build["baseImageRegistryTLS"] = {"insecure": True, "insecureSkipTLSVerify": True}
    if not signing:
        return {"build": build}
    secret = {"name": signing["secret"]}
    return {"build": build, "sign": {"keySecret": secret, "certSecret": secret, "filesToSign": [SIGNED]}}


def _text(value: t.Any) -> str:
    """As the kernel reads it: 1 and 0 are good for its bool and for its int."""
    return str(int(value)) if isinstance(value, bool) else str(value)

# SPDX-License-Identifier: Apache-2.0
"""Filters: which images to build and with what, as options of accelerator_image, and what came of it."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names

Json = t.Dict[str, t.Any]
COMPONENTS = ("device_plugin", "consumer", "operator")


def driver_builds(
    definition: Json, facts: Json, context: str, source: str, toolkit: t.Optional[Json] = None
) -> t.List[Json]:
    """For each kernel: what it is, its builder image or None, and the image to build."""
    return [_driver_build(definition, kernel, context, source, toolkit or {}) for kernel in facts["kernels"]]


def _driver_build(definition: Json, kernel: Json, context: str, source: str, toolkit: Json) -> Json:
    driver, builder, base = (
        definition["driver"],
        _builder(definition, kernel, toolkit),
        definition["images"]["driver_base"],
    )
    image = {
        "name": names.repository(definition, "driver"),
        "tag": names.for_kernel(names.driver_tag(definition), kernel["version"].removesuffix("+")),
        "context": context,
        "extra_context": {"source": source},
        "build_args": {
            "BUILDER": builder,
            "BASE": base,
            "KERNEL_VERSION": kernel["version"],
            "MODULE_NAME": driver["module"],
            "DRIVER_VERSION": driver["version"],
            "FIRMWARE": " ".join(driver["firmware"]),
        },
        "bases": [builder, base],
        "base_next_step": f"set images.builder to an image with the headers of {kernel['version']}",
    }
    return {**kernel, "builder": builder, "image": image}


def _builder(definition: Json, kernel: Json, toolkit: Json) -> t.Optional[str]:
    """The definition's builder, or else the Driver Toolkit whose tag is the release in the node's OS image."""
    if definition["images"]["builder"]:
        return names.for_kernel(definition["images"]["builder"], kernel["version"])
    tags = toolkit.get("spec", {}).get("tags") or []
    return next((tag["from"]["name"] for tag in tags if tag["name"] in kernel["os_image"]), None)


def driver_proofs(
    definition: Json,
    facts: Json,
    template: str,
    coming: t.Iterable[str] = (),
    nodes: t.Optional[t.Iterable[str]] = None,
) -> t.List[Json]:
    """For each kernel the image that is to load there, as options of kmod_image_info.

    template: the reference, with the kernel's placeholder. coming: references that check mode only would build.
    nodes: those that will load it, when they are known.
    """
    driver, absent = definition["driver"], set(coming)
    loading = None if nodes is None else set(nodes)
    proofs = [
        {
            "image": names.for_kernel(template, kernel["version"].removesuffix("+")),
            "kernel": kernel["version"],
            "architecture": kernel["arch"],
            "modules": [driver["module"]],
            "firmware": driver["firmware"],
        }
        for kernel in facts["kernels"]
        if loading is None or loading & set(kernel["nodes"])
    ]
    return [proof for proof in proofs if proof["image"] not in absent]


def image_builds(definition: Json, contexts: t.Mapping[str, Json]) -> t.List[Json]:
    """Of the components in `contexts`, those that are wanted and for which the definition gives no image."""
    base = definition["images"]["base"]
    return [
        {
            "component": component,
            "name": names.repository(definition, component),
            **context,
            "build_args": {"BASE": base},
            "bases": [base],
            "base_next_step": "set images.base to an image with python3 and pip",
        }
        for component, context in contexts.items()
        if not definition["images"][component] and (component != "consumer" or definition["consumer"])
    ]


def built_images(definition: Json, results: t.Iterable[Json]) -> Json:
    """Component -> reference: what was built, and what the definition gives."""
    given = {name: definition["images"][name] for name in COMPONENTS if definition["images"][name]}
    return {**given, **{result["__common_image"]["component"]: result["image"] for result in results}}


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {
            "built_images": built_images,
            "driver_builds": driver_builds,
            "driver_proofs": driver_proofs,
            "image_builds": image_builds,
        }

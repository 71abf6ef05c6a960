# SPDX-License-Identifier: Apache-2.0
"""Filters: which images to build and with what, as options of accelerator_image, and what came of it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _toolkits as toolkits
from ansible_collections.ecosystem_edge.accelerator.plugins.plugin_utils._deferred import deferred

Json = t.Dict[str, t.Any]
# What the roles know of an image, and accelerator_images does not take.
ROLES_OWN = ("component", "host")
COMPONENTS = ("device_plugin", "consumer", "operator")


def driver_builds(
    definition: Json,
    facts: Json,
    context: str,
    source: str,
    toolkit: t.Optional[Json] = None,
    releases: t.Sequence[Json] = (),
    remote: str = "",
) -> t.List[Json]:
    """For each kernel: what it is, its builder image or None, and the image to build."""
    try:
        wanted = toolkits.kernels(facts, definition["driver"]["build"]["kernels"])
    except ValueError as error:
        raise AnsibleFilterError(f"driver_builds: {error}") from error
    return [
        _driver_build(
            definition, kernel, toolkits.builder(definition, kernel, toolkit or {}, releases), context, source, remote
        )
        for kernel in wanted
    ]


def _driver_build(
    definition: Json, kernel: Json, builder: t.Optional[str], context: str, source: str, remote: str
) -> Json:
    driver, base = definition["driver"], definition["images"]["driver_base"]
    host = driver["build"]["hosts"].get(kernel["arch"])
    if host:
        context, source = f"{remote}/context", f"{remote}/source"
    image = {
        "title": f"kernel {kernel['version']}",
        "host": host,
        "name": names.repository(definition, "driver"),
        "tag": names.driver_for_kernel(names.driver_tag(definition), kernel["version"]),
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


def builders_missing(
    plan: t.Sequence[Json], definition: Json, toolkit: t.Optional[Json] = None, releases: t.Sequence[Json] = ()
) -> str:
    """What to say when a kernel has no builder; empty when each has one."""
    return toolkits.missing(plan, definition, toolkit or {}, releases)


def driver_references(definition: Json, facts: Json) -> t.List[Json]:
    """Where the driver of each kernel is, whoever builds it."""
    template = names.driver_image(definition)
    return [
        {
            "kernel": kernel["version"],
            "arch": kernel["arch"],
            "image": names.driver_for_kernel(template, kernel["version"]),
        }
        for kernel in toolkits.kernels(facts, definition["driver"]["build"]["kernels"])
    ]


def by_host(images: t.Sequence[Json]) -> t.List[Json]:
    """The images of each build host; host None is the one that the play runs on."""
    hosts = dict.fromkeys(image.get("host") for image in images)
    return [
        {
            "host": host,
            "images": [
                {key: value for key, value in image.items() if key not in ROLES_OWN}
                for image in images
                if image.get("host") == host
            ],
        }
        for host in hosts
    ]


def in_order(images: t.Sequence[Json], results: t.Iterable[Json]) -> t.List[Json]:
    """The results of all hosts as one list in the order of `images`, each with the image's options beside it."""
    left = {result["__common_host"]["host"]: iter(result["results"]) for result in results}
    return [{**next(left[image.get("host")]), "__common_image": image} for image in images]


def driver_proofs(
    definition: Json,
    facts: Json,
    template: str,
    coming: t.Iterable[str] = (),
    nodes: t.Optional[t.Iterable[str]] = None,
) -> t.List[Json]:
    """For each kernel the image that is to load there, as options of kmod_image_info.

    template: the reference, with the kernel's placeholder. coming: references that check mode only would build.
    nodes: those that will load it, when they are known; otherwise kernels that the definition names count, too.
    """
    driver, absent = definition["driver"], set(coming)
    loading = None if nodes is None else set(nodes)
    proofs = [
        {
            "image": names.driver_for_kernel(template, kernel["version"]),
            "kernel": kernel["version"],
            "architecture": kernel["arch"],
            "modules": [driver["module"]],
            "firmware": driver["firmware"],
        }
        for kernel in toolkits.kernels(facts, driver["build"]["kernels"] if loading is None else ())
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
            "builders_missing": builders_missing,
            "built_images": built_images,
            "by_host": by_host,
            "driver_builds": driver_builds,
            "driver_proofs": driver_proofs,
            "driver_references": driver_references,
            "image_builds": image_builds,
            "in_order": in_order,
            "proxy_environment": deferred("_image_work", "proxy_environment"),
        }

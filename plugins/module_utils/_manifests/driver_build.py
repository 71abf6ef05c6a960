# SPDX-License-Identifier: Apache-2.0
"""Builds of the driver's images inside the cluster: by KMM, or by OpenShift's BuildConfig. Pure. PRIVATE.

scope.images holds, beside references: driver_files, the texts of files/driver_container; driver_builds, what is to be
built (the filter driver_builds). The operator has neither and needs neither: the playbook writes these objects.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._containerfile import containerfile
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import Json, Scope

COMPONENT = "driver-build"
EVERY = "every"  # strategy of a definition that stands for all that an earlier one may have wanted
INTERNAL_REGISTRY = "image-registry.openshift-image-registry.svc:5000"
SECRETS = "/run/secrets/accelerator"
BUILD_API, IMAGE_API = "build.openshift.io/v1", "image.openshift.io/v1"


def driver_build(scope: Scope) -> t.List[Json]:
    strategy = scope.definition["driver"]["build"]["strategy"]
    made: t.List[Json] = []
    if strategy in ("kmm", EVERY):
        made.append(_config_map(scope))
    if strategy in ("buildconfig", EVERY):
        made += _image_stream(scope)
        made += [_build_config(scope, build) for build in scope.images.get("driver_builds") or [NOTHING]]
    return made


# What _build_config renders for the kinds alone, where nothing is to be built.
NOTHING: Json = {"version": "0.0", "arch": "amd64", "builder": "registry.invalid/any:1", "image": {"tag": "0"}}


def _files(scope: Scope) -> t.Dict[str, str]:
    return scope.images.get("driver_files") or {}


def _config_map(scope: Scope) -> Json:
    """KMM takes the recipe from the key `dockerfile`, and has no other file for it: all else must stand in it."""
    definition = scope.definition
    builder = definition["images"]["builder"] or "${DTK_AUTO}"  # KMM's argument, on OpenShift: the node's own toolkit
    text = containerfile(definition, _files(scope), builder, kernel="${KERNEL_FULL_VERSION}", clone=True)
    return scope.make("v1", "ConfigMap", names.driver_build(definition), COMPONENT, data={"dockerfile": text})


def _image_stream(scope: Scope) -> t.List[Json]:
    """Only the cluster's own registry has image streams; and a definition for all kinds stands for it, too."""
    if not internal(scope.definition) and scope.definition["driver"]["build"]["strategy"] != EVERY:
        return []
    name = names.repository(scope.definition, "driver").rpartition("/")[2]
    spec = {"lookupPolicy": {"local": False}}
    return [scope.make(IMAGE_API, "ImageStream", name, COMPONENT, spec=spec)]


def internal(definition: Json) -> bool:
    return definition["images"]["registry"] == f"{INTERNAL_REGISTRY}/{definition['namespace']}"


def _build_config(scope: Scope, build: Json) -> Json:
    """Its name has a digest of what it says: one that says something else is another, and a new one builds at once."""
    definition = scope.definition
    spec: Json = {
        "source": _source(scope, build),
        "strategy": {"type": "Docker", "dockerStrategy": _strategy(scope, build)},
        "output": _output(definition, build["image"]["tag"]),
        "nodeSelector": {"kubernetes.io/arch": build["arch"]},
        "runPolicy": "Serial",
        "triggers": [{"type": "ConfigChange"}] if definition["driver"]["git"] else [],
        "successfulBuildsHistoryLimit": 1,
        "failedBuildsHistoryLimit": 1,
        "completionDeadlineSeconds": definition["timeout"],
    }
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    spec["output"]["imageLabels"] = [{"name": names.CONTENT_KEY, "value": digest}]
    name = f"{names.driver_build(definition)}-{digest[:10]}"
    made = scope.make(BUILD_API, "BuildConfig", name, COMPONENT, spec=spec)
    made["metadata"]["annotations"] = {"ecosystem-edge.github.io/kernel": build["version"]}
    return made


def _source(scope: Scope, build: Json) -> Json:
    definition = scope.definition
    git = definition["driver"]["git"]
    text = containerfile(
        definition,
        _files(scope),
        build["builder"],
        kernel=build["version"],
        clone=False,
        secrets=SECRETS if definition["driver"]["signing"] else "",
    )
    if not git:  # `oc start-build --from-dir` brings the folder
        return {"type": "Binary", "binary": {}, "dockerfile": text}
    proxy = definition["images"]["proxy"]
    fields = {"httpProxy": proxy["http"], "httpsProxy": proxy["https"], "noProxy": proxy["no_proxy"]}
    source: Json = {
        "type": "Git",
        "git": {"uri": git["url"], "ref": git["ref"], **{key: value for key, value in fields.items() if value}},
        "dockerfile": text,
    }
    if git["subdir"]:
        source["contextDir"] = git["subdir"]
    return source


def _strategy(scope: Scope, build: Json) -> Json:
    images, signing = scope.definition["images"], scope.definition["driver"]["signing"]
    made: Json = {}
    proxy = proxy_arguments(images["proxy"])
    if proxy:
        made["buildArgs"] = proxy
    if images["pull_secret"]:
        made["pullSecret"] = {"name": images["pull_secret"]}
    if signing:
        items = [{"key": "key", "path": "signing-key"}, {"key": "cert", "path": "signing-certificate"}]
        secret = {"secretName": signing["secret"], "items": items, "defaultMode": 0o400}
        made["volumes"] = [
            {
                "name": "signing",
                "source": {"type": "Secret", "secret": secret},
                "mounts": [{"destinationPath": SECRETS}],
            }
        ]
    return made


def proxy_arguments(proxy: Json) -> t.List[Json]:
    """As build arguments that every builder knows: they reach its commands and no history."""
    names_of = {"http": "http_proxy", "https": "https_proxy", "no_proxy": "no_proxy"}
    return [{"name": argument, "value": proxy[key]} for key, argument in names_of.items() if proxy[key]]


def _output(definition: Json, tag: str) -> Json:
    repository = names.repository(definition, "driver")
    if internal(definition):
        return {"to": {"kind": "ImageStreamTag", "name": f"{repository.rpartition('/')[2]}:{tag}"}}
    made: Json = {"to": {"kind": "DockerImage", "name": f"{repository}:{tag}"}}
    if definition["images"]["push_secret"]:
        made["pushSecret"] = {"name": definition["images"]["push_secret"]}
    return made

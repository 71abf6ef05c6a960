# SPDX-License-Identifier: Apache-2.0
"""What may be rendered of OpenShift's build.openshift.io/v1 and image.openshift.io/v1, as its reference has it.

These kinds have no CustomResourceDefinition that a test could ask: OpenShift's own API server serves them.
A field that ends in ! is required. A list with one element is a list of such; a set is what the value may be.
"""

from __future__ import annotations

from typing import Any

REFERENCE = {"name!": str}
NAME_VALUE = [{"name!": str, "value": str}]
METADATA = {"name!": str, "namespace!": str, "labels": dict, "annotations": dict}

BUILD_CONFIG = {
    "apiVersion!": {"build.openshift.io/v1"},
    "kind!": {"BuildConfig"},
    "metadata!": METADATA,
    "spec!": {
        "source!": {
            "type!": {"Git", "Binary"},
            "binary": {"asFile": str},
            "contextDir": str,
            "dockerfile": str,
            "git": {"uri!": str, "ref": str, "httpProxy": str, "httpsProxy": str, "noProxy": str},
            "sourceSecret": REFERENCE,
        },
        "strategy!": {
            "type!": {"Docker"},
            "dockerStrategy!": {
                "buildArgs": NAME_VALUE,
                "env": NAME_VALUE,
                "noCache": bool,
                "pullSecret": REFERENCE,
                "volumes": [
                    {
                        "name!": str,
                        "mounts!": [{"destinationPath!": str}],
                        "source!": {
                            "type!": {"Secret", "ConfigMap"},
                            "secret": {
                                "secretName!": str,
                                "defaultMode": int,
                                "items": [{"key!": str, "path!": str, "mode": int}],
                            },
                        },
                    }
                ],
            },
        },
        "output!": {
            "to!": {"kind!": {"DockerImage", "ImageStreamTag"}, "name!": str, "namespace": str},
            "pushSecret": REFERENCE,
            "imageLabels": NAME_VALUE,
        },
        "nodeSelector": dict,
        "runPolicy": {"Serial", "Parallel", "SerialLatestOnly"},
        "triggers!": [{"type!": {"ConfigChange", "ImageChange", "Generic", "GitHub", "GitLab", "Bitbucket"}}],
        "successfulBuildsHistoryLimit": int,
        "failedBuildsHistoryLimit": int,
        "completionDeadlineSeconds": int,
    },
}
IMAGE_STREAM = {
    "apiVersion!": {"image.openshift.io/v1"},
    "kind!": {"ImageStream"},
    "metadata!": METADATA,
    "spec": {"lookupPolicy": {"local!": bool}},
}
SCHEMAS = {"BuildConfig": BUILD_CONFIG, "ImageStream": IMAGE_STREAM}


def objections(obj: Any, schema: Any, path: str = "") -> list[str]:
    """Why OpenShift would not take it, or would drop a field of it."""
    if isinstance(schema, dict):
        if not isinstance(obj, dict):
            return [f"{path}: expected a mapping; seen {obj!r}"]
        known = {name.rstrip("!"): part for name, part in schema.items()}
        found = [f"{path}.{name}: unknown" for name in obj if name not in known]
        found += [f"{path}.{name[:-1]}: missing" for name in schema if name.endswith("!") and name[:-1] not in obj]
        for name, part in known.items():
            found += objections(obj[name], part, f"{path}.{name}") if name in obj else []
        return found
    if isinstance(schema, list):
        if not isinstance(obj, list):
            return [f"{path}: expected a list; seen {obj!r}"]
        return [text for index, item in enumerate(obj) for text in objections(item, schema[0], f"{path}[{index}]")]
    if isinstance(schema, set):
        return [] if obj in schema else [f"{path}: expected one of {sorted(schema)}; seen {obj!r}"]
    right = isinstance(obj, schema) and (schema is bool or not isinstance(obj, bool))
    return [] if right else [f"{path}: expected {schema.__name__}; seen {obj!r}"]

# SPDX-License-Identifier: Apache-2.0
"""What discovery says of the served kinds. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t
from urllib.parse import quote

Json = t.Dict[str, t.Any]

# Aggregated discovery: all groups, versions and kinds in one answer (v2 since 1.30, v2beta1 since 1.26).
ACCEPT = ",".join(
    [f"application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList" for v in ("v2", "v2beta1")]
    + ["application/json"]
)


class Resource(t.NamedTuple):
    """What discovery says of a kind."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        middle = f"/namespaces/{quote(namespace)}" if namespace and self.namespaced else ""
        return f"{root}{middle}/{self.plural}" + (f"/{quote(name)}" if name else "")


def aggregated(answer: Json) -> t.Dict[str, t.List[Resource]]:
    found = {}
    for entry in answer.get("items", []):
        group = entry.get("metadata", {}).get("name", "")
        for version in entry.get("versions", []):
            found[f"{group}/{version['version']}" if group else version["version"]] = [
                Resource(
                    group,
                    version["version"],
                    kind["responseKind"]["kind"],
                    kind["resource"],
                    kind["scope"] == "Namespaced",
                )
                for kind in version.get("resources", [])
                if kind.get("responseKind", {}).get("kind")  # a virtual resource has only subresources
            ]
    return found


def unaggregated(answer: Json) -> t.List[t.Tuple[str, str]]:
    if answer["kind"] == "APIVersions":
        return [("/api", version) for version in answer["versions"]]
    return [("/apis", version["groupVersion"]) for group in answer["groups"] for version in group["versions"]]


def resources(api_version: str, answer: Json) -> t.List[Resource]:
    group, _slash, version = api_version.rpartition("/")
    return [
        Resource(group, version, entry["kind"], entry["name"], entry["namespaced"])
        for entry in answer.get("resources", [])
        if "/" not in entry["name"]
    ]


def brief(query: Json, item: Json) -> Json:
    """As much of what a query found as it takes to tell whose it is, and to delete it."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace") if item["metadata"].get(key)}
    metadata["labels"] = item["metadata"].get("labels") or {}
    return {"apiVersion": query["api_version"], "kind": query["kind"], "metadata": metadata}


__all__ = ("ACCEPT", "Resource", "aggregated", "brief", "resources", "unaggregated")

# SPDX-License-Identifier: Apache-2.0
"""Pure: the packages that the lab's catalog offers, and what OLM says of a Subscription that it cannot resolve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
CATALOG, CATALOG_NAMESPACE = "operatorhubio-catalog", "olm"


@dataclass(frozen=True)
class Package:
    """One operator: the definitions it brings (a file in crds/), and where OLM lets it be installed."""

    name: str
    display: str
    version: str
    definitions: str
    modes: tuple[str, ...]
    channels: tuple[str, ...] = ("stable",)

    @property
    def csv(self) -> str:
        return f"{self.name}.v{self.version}"


PACKAGES = {
    package.name: package
    for package in (
        Package("nfd", "Node Feature Discovery (stand-in)", "4.20.0", "nfd", ("OwnNamespace", "AllNamespaces")),
        Package("kernel-module-management", "Kernel Module Management (stand-in)", "2.5.0", "kmm", ("AllNamespaces",)),
    )
}


def unresolved(subscription: Object, catalogs: list[tuple[str, str]], stray_csv: bool) -> str:
    """Why OLM does not resolve a Subscription (condition ResolutionFailed), or nothing.

    stray_csv: the CSV is there and no Subscription installed it, what a Subscription deleted without its CSV leaves.
    """
    name, spec = subscription["metadata"]["name"], subscription["spec"]
    source, namespace = spec["source"], spec["sourceNamespace"]
    exists = f"subscription {name} exists"
    if (namespace, source) not in catalogs or (namespace, source) != (CATALOG_NAMESPACE, CATALOG):
        where = f"from catalog {source} in namespace {namespace}"
        return f"no operators found {where} referenced by subscription {name}, {exists}"
    package = PACKAGES.get(spec["name"])
    if package is None:
        return (
            f"no operators found in package {spec['name']} in the catalog referenced by subscription {name}, {exists}"
        )
    if spec.get("channel", package.channels[0]) not in package.channels:
        where = f"in channel {spec['channel']} of package {package.name}"
        return f"no operators found {where} in the catalog referenced by subscription {name}, {exists}"
    if spec.get("startingCSV", package.csv) != package.csv:
        where = f"with name {spec['startingCSV']} in channel {package.channels[0]} of package {package.name}"
        return f"no operators found {where} in the catalog referenced by subscription {name}, {exists}"
    if stray_csv:
        return f"clusterserviceversion {package.csv} exists and is not referenced by a subscription, {exists}"
    return ""


def group_problem(namespace: str, groups: list[Object], package: Package) -> tuple[str, str]:
    """Reason and message when the namespace's OperatorGroups do not allow this operator there; empty when they do."""
    if not groups:
        return "NoOperatorGroup", "csv in namespace with no operatorgroups"
    if len(groups) > 1:
        return (
            "TooManyOperatorGroups",
            "csv created in namespace with multiple operatorgroups, can't pick one automatically",
        )
    targets = groups[0].get("spec", {}).get("targetNamespaces", [])
    mode = "AllNamespaces"
    if targets:
        mode = "MultiNamespace" if len(targets) > 1 else "OwnNamespace" if targets == [namespace] else "SingleNamespace"
    if mode in package.modes:
        return "", ""
    watched = ", ".join(targets) or "all namespaces"
    return "UnsupportedOperatorGroup", f"{mode} InstallModeType not supported, cannot configure to watch {watched}"


def csv_spec(package: Package, definitions: list[Object]) -> Object:
    modes = ("OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces")
    owned = [
        {"name": d["metadata"]["name"], "kind": d["spec"]["names"]["kind"], "version": d["spec"]["versions"][0]["name"]}
        for d in definitions
    ]
    return {
        "displayName": package.display,
        "version": package.version,
        "install": {"strategy": "deployment"},
        "installModes": [{"type": mode, "supported": mode in package.modes} for mode in modes],
        "customresourcedefinitions": {"owned": owned},
    }

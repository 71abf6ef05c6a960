# SPDX-License-Identifier: Apache-2.0
"""object_list: one request a kind, names and labels only, and nothing of what is not served."""

from __future__ import annotations

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Resource
from ansible_collections.ecosystem_edge.accelerator.plugins.modules import object_list


class Api:
    def __init__(self):
        self.asked = []

    def discover_one(self, api_version):
        self.asked.append(api_version)
        return [Resource("", "v1", "ConfigMap", "configmaps", True)] if api_version == "v1" else []

    def pages(self, path, accept, **query):
        self.asked.append((path, query))
        return [{"metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}, "uid": "1"}, "data": {}}], "7"


def query(kind, namespace=None, selectors=(), api_version="v1"):
    return {"api_version": api_version, "kind": kind, "namespace": namespace, "label_selectors": list(selectors)}


def test_names_and_labels_of_what_is_served():
    api = Api()
    queries = [
        query("ConfigMap", "n", ["a=b", "c"]),
        query("ConfigMap"),
        query("Thing"),
        query("T", api_version="x/v1"),
    ]
    metadata = {"name": "a", "namespace": "n", "labels": {"x": "y"}}
    assert object_list.objects(api, queries) == [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}] * 2
    assert api.asked == [
        "v1",
        ("/api/v1/namespaces/n/configmaps", {"labelSelector": "a=b,c"}),
        ("/api/v1/configmaps", {"labelSelector": ""}),
        "x/v1",
    ]

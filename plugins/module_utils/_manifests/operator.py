# SPDX-License-Identifier: Apache-2.0
"""The operator and its rights. Pure. PRIVATE to this collection. Why each right: files/operator/README.md."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._objects import (
    CONFINED,
    PRIVILEGED_SCC,
    RBAC,
    SECCOMP,
    Json,
    Scope,
    probe,
    startup_probe,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests.custom_resource import (
    crd,
    custom_resource,
)

FOLDER = "/etc/accelerator"
FILE = "definition.json"
KEEP = ["list", "create", "patch", "delete"]
WATCH_AND_KEEP = ["list", "watch", "create", "patch", "delete"]


def operator(scope: Scope) -> t.List[Json]:
    """Everything, the custom resource last."""
    name = names.operator(scope.definition)
    config = scope.make("v1", "ConfigMap", name, "operator", data={FILE: portable(scope.definition)})
    return [
        crd(scope.definition, scope.manager),
        scope.service_account(name, "operator"),
        *_rights(scope, name),
        config,
        _deployment(scope, name, config["data"][FILE]),
        scope.metrics_service(name, "operator", names.OPERATOR_PORT),
        custom_resource(scope.definition, scope.images, scope.manager),
    ]


def portable(definition: Json) -> str:
    """The definition without what is true only of the host that builds images."""
    driver = {**definition["driver"], "source": None, "git": None, "signing": None}
    images = {**definition["images"], "push_auth_file": None, "ca_bundle": None}
    consumer = definition["consumer"] and {**definition["consumer"], "source": None}
    kept = {**definition, "driver": driver, "images": images, "consumer": consumer}
    return json.dumps(kept, indent=1, sort_keys=True)


def _rights(scope: Scope, name: str) -> t.List[Json]:
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": scope.namespace}]
    of_role = {"apiGroup": RBAC, "kind": "Role", "name": name}
    of_cluster_role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    return [
        scope.make(f"{RBAC}/v1", "Role", name, "operator", rules=_in_namespace(scope)),
        scope.make(f"{RBAC}/v1", "RoleBinding", name, "operator", roleRef=of_role, subjects=subjects),
        scope.make_global(f"{RBAC}/v1", "ClusterRole", name, "operator", rules=_in_cluster(scope)),
        scope.make_global(
            f"{RBAC}/v1", "ClusterRoleBinding", name, "operator", roleRef=of_cluster_role, subjects=subjects
        ),
    ]


def _rule(group: str, resources: t.List[str], verbs: t.List[str], **rest: t.Any) -> Json:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs, **rest}


def _in_namespace(scope: Scope) -> t.List[Json]:
    api = scope.definition["operator"]["api"]
    rules = [
        _rule(api["group"], [api["plural"]], ["get", "list", "watch", "patch"]),
        _rule(api["group"], [f"{api['plural']}/status"], ["patch"]),
        _rule("kmm.sigs.x-k8s.io", ["modules"], WATCH_AND_KEEP),
        _rule("apps", ["daemonsets", "deployments"], WATCH_AND_KEEP),
        _rule("", ["serviceaccounts", "services"], KEEP),
        _rule("", ["pods"], ["list", "watch"]),
    ]
    return [*rules, _rule(RBAC, ["rolebindings"], KEEP)] if scope.openshift() else rules


def _in_cluster(scope: Scope) -> t.List[Json]:
    rules = [
        _rule("", ["nodes"], ["list", "watch", "patch"]),
        # A device dies under a pod of any namespace.
        _rule("", ["pods"], ["get"]),
        _rule("events.k8s.io", ["events"], ["create"]),
    ]
    bind = _rule(RBAC, ["clusterroles"], ["bind"], resourceNames=[PRIVILEGED_SCC])
    return [*rules, bind] if scope.openshift() else rules


def _deployment(scope: Scope, name: str, definition: str) -> Json:
    health = "health"
    container = {
        "name": "operator",
        "image": scope.images["operator"],
        "args": [f"--definition={FOLDER}/{FILE}", f"--platform={scope.facts['platform']}"],
        "ports": [
            {"name": names.METRICS_PORT, "containerPort": names.OPERATOR_PORT, "protocol": "TCP"},
            {"name": health, "containerPort": names.OPERATOR_HEALTH_PORT, "protocol": "TCP"},
        ],
        "startupProbe": startup_probe("/healthz", health),
        "livenessProbe": probe("/healthz", health, periodSeconds=20, failureThreshold=6),
        "resources": {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": dict(CONFINED),
        "volumeMounts": [{"name": "definition", "mountPath": FOLDER, "readOnly": True}],
    }
    pod = scope.pod(
        name,
        "operator",
        container,
        serviceAccountName=name,
        automountServiceAccountToken=True,
        securityContext={"runAsNonRoot": True, "seccompProfile": SECCOMP},
        volumes=[{"name": "definition", "configMap": {"name": name}}],
    )
    # It reads the definition once: another one is another pod.
    digest = hashlib.sha256(definition.encode()).hexdigest()[:16]
    pod["template"]["metadata"]["annotations"] = {"ecosystem-edge.github.io/definition": digest}
    # Recreate: two of them at once would both write.
    spec = {"replicas": 1, "strategy": {"type": "Recreate"}, **pod}
    return scope.make("apps/v1", "Deployment", name, "operator", spec=spec)

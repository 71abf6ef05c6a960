# SPDX-License-Identifier: Apache-2.0
"""What several manifests are made of. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._taints import of_pods

Json = t.Dict[str, t.Any]

RBAC = "rbac.authorization.k8s.io"
# Privileges that a container of ours never needs; where it may run as, it says itself.
CONFINED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
}
SECCOMP = {"type": "RuntimeDefault"}


class Scope(t.NamedTuple):
    """What every manifest is made from."""

    definition: Json
    facts: Json
    images: Json
    manager: str

    @property
    def namespace(self) -> str:
        return self.definition["namespace"]

    def openshift(self) -> bool:
        return self.facts["platform"] == "openshift"

    def labels(self, name: str, component: str) -> t.Dict[str, str]:
        return names.labels(self.definition, name, component, self.manager)

    def make(self, api: str, kind: str, name: str, component: str, **rest: t.Any) -> Json:
        """A namespaced object with all our labels."""
        metadata = {"name": name, "namespace": self.namespace, "labels": self.labels(name, component)}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}

    def make_global(self, api: str, kind: str, name: str, component: str, **rest: t.Any) -> Json:
        made = self.make(api, kind, name, component, **rest)
        del made["metadata"]["namespace"]
        return made

    def service_account(self, name: str, component: str) -> Json:
        """Nothing of ours but the operator talks to the API, so no token is mounted unless a pod asks for it."""
        return self.make("v1", "ServiceAccount", name, component, automountServiceAccountToken=False)

    def privileged_scc(self, account: str, component: str) -> t.List[Json]:
        """OpenShift admits host paths and user 0 only with a security context constraint."""
        if not self.openshift():
            return []
        return [
            self.make(
                f"{RBAC}/v1",
                "RoleBinding",
                f"{account}-scc",
                component,
                roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": PRIVILEGED_SCC},
                subjects=[{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}],
            )
        ]

    def pod(self, name: str, component: str, container: Json, **spec: t.Any) -> Json:
        """selector and template of a workload with one container."""
        secret = self.definition["images"]["pull_secret"]
        if secret:
            spec["imagePullSecrets"] = [{"name": secret}]
        tolerated = of_pods(names.tolerations(self.definition))
        if tolerated:
            spec.setdefault("tolerations", tolerated)
        # Not managed-by: a change of the manager is no reason to restart pods.
        labels = {key: value for key, value in self.labels(name, component).items() if key != names.LABEL_MANAGED_BY}
        # The last lines of a container that failed are in the pod's status, for those who say why it does not run.
        container = {**container, "terminationMessagePolicy": "FallbackToLogsOnError"}
        return {
            "selector": {"matchLabels": names.pod_selector(self.definition, name)},
            "template": {"metadata": {"labels": labels}, "spec": {**spec, "containers": [container]}},
        }

    def metrics_service(self, name: str, component: str, port: int) -> Json:
        """Headless: each pod is read by itself, also one that is not ready."""
        spec = {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.pod_selector(self.definition, name),
            "ports": [{"name": names.METRICS_PORT, "port": port, "protocol": "TCP", "targetPort": names.METRICS_PORT}],
        }
        return self.make("v1", "Service", name, component, spec=spec)


PRIVILEGED_SCC = "system:openshift:scc:privileged"


def probe(path: str, port: str, **times: int) -> Json:
    return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 5, **times}


def startup_probe(path: str, port: str) -> Json:
    """Five minutes: Python's imports alone take half a minute on an emulated node."""
    return probe(path, port, periodSeconds=2, failureThreshold=150)

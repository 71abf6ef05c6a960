# SPDX-License-Identifier: Apache-2.0
"""Plays the Operator Lifecycle Manager: a Subscription becomes an InstallPlan, that a ClusterServiceVersion, and that
runs the stand-in for what it names. As ecosystem.md "OLM in existing content" and the CRDs' status fields say:
Subscription.status.{state,currentCSV,installedCSV,installPlanRef,conditions}, InstallPlan.spec.approved and
status.phase, ClusterServiceVersion.status.{phase,reason,message}. Definitions stay when a CSV goes, as OLM leaves them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from stand_ins.catalog import CATALOG, CATALOG_NAMESPACE, PACKAGES, Package, csv_spec, group_problem, unresolved
from stand_ins.controller import Controller, definitions, install_definitions, now
from stand_ins.kube import NAMESPACES, Kube, Object, Resource, Store, key, owner

log = logging.getLogger(__name__)

V1ALPHA1 = "operators.coreos.com/v1alpha1"
CATALOGS = Resource(V1ALPHA1, "catalogsources", "CatalogSource")
SUBSCRIPTIONS = Resource(V1ALPHA1, "subscriptions", "Subscription")
PLANS = Resource(V1ALPHA1, "installplans", "InstallPlan")
CSVS = Resource(V1ALPHA1, "clusterserviceversions", "ClusterServiceVersion")
GROUPS = Resource("operators.coreos.com/v1", "operatorgroups", "OperatorGroup")
MANAGER = "olm-stand-in"


class Olm(Controller):
    """operators: package name -> what makes the controller that runs while its CSV has succeeded."""

    name = "olm"

    def __init__(self, kube: Kube, operators: dict[str, Callable[[], Controller]]) -> None:
        super().__init__(kube)
        self._operators = operators
        self._running: dict[str, Controller] = {}
        self._catalogs, self._subscriptions = self.store(CATALOGS), self.store(SUBSCRIPTIONS)
        self._plans, self._csvs, self._groups = self.store(PLANS), self.store(CSVS), self.store(GROUPS)

    def start(self) -> None:
        install_definitions(self.kube, "olm", MANAGER)
        self.kube.apply(NAMESPACES, NAMESPACES.new(CATALOG_NAMESPACE), MANAGER)
        spec = {"sourceType": "grpc", "displayName": "Stand-in catalog", "publisher": "the lab"}
        self.kube.apply(CATALOGS, CATALOGS.new(CATALOG, CATALOG_NAMESPACE, spec=spec), MANAGER)
        ready = {"connectionState": {"lastObservedState": "READY"}}
        self.kube.apply(CATALOGS, CATALOGS.new(CATALOG, CATALOG_NAMESPACE, status=ready), MANAGER, "status")
        super().start()

    def stop(self) -> None:
        super().stop()
        for controller in self._running.values():
            controller.stop()

    def reconcile(self) -> None:
        for subscription in self._subscriptions.all():
            self.attempt(self._resolve, subscription)
        for plan in self._plans.all():
            self.attempt(self._carry_out, plan)
        for csv in self._our_csvs():
            self.attempt(self._install, csv)
        self._run_operators()

    def _resolve(self, subscription: Object) -> None:
        """Makes the InstallPlan, once; afterwards the Subscription follows plan and CSV."""
        namespace = subscription["metadata"]["namespace"]
        package = PACKAGES.get(subscription["spec"]["name"])
        plan_name = f"install-{hashlib.sha256(subscription['metadata']['uid'].encode()).hexdigest()[:5]}"
        plan = self._plans.get(plan_name, namespace)
        csv = self._csvs.get(package.csv, namespace) if package else None
        problem = unresolved(subscription, [key(c) for c in self._catalogs.all()], csv is not None and plan is None)
        if problem or package is None:
            message = f"constraints not satisfiable: {problem}"
            failed = {
                "type": "ResolutionFailed",
                "status": "True",
                "reason": "ConstraintsNotSatisfiable",
                "message": message,
            }
            self._status(self._subscriptions, subscription, {"conditions": [failed]})
            return
        if plan is None:
            automatic = subscription["spec"].get("installPlanApproval", "Automatic") == "Automatic"
            spec = {
                "approval": "Automatic" if automatic else "Manual",
                "approved": automatic,
                "clusterServiceVersionNames": [package.csv],
            }
            plan = PLANS.new(plan_name, namespace, spec=spec)
            plan["metadata"]["ownerReferences"] = [owner(SUBSCRIPTIONS, subscription)]
            plan = self.kube.create(PLANS, plan)
            self._plans.put(plan)
        reference = {"apiVersion": V1ALPHA1, "kind": PLANS.kind, "name": plan_name, "namespace": namespace}
        status = {"currentCSV": package.csv, "installPlanRef": reference | {"uid": plan["metadata"]["uid"]}}
        if csv and _phase(csv) == "Succeeded":
            status |= {"installedCSV": package.csv, "state": "AtLatestKnown"}
        else:
            status |= {"state": "UpgradePending"}
        self._status(self._subscriptions, subscription, status)

    def _carry_out(self, plan: Object) -> None:
        """An approved plan makes definitions and CSVs, once: a CSV that is deleted later stays away."""
        if _phase(plan) == "Complete":
            return
        status = {"catalogSources": [CATALOG]}
        if not plan["spec"]["approved"]:
            self._status(self._plans, plan, status | {"phase": "RequiresApproval"})
            return
        namespace = plan["metadata"]["namespace"]
        for csv in plan["spec"]["clusterServiceVersionNames"]:
            package = _package(csv)
            # OLM's label of all that belongs to an operator, its definitions too, which stay when it goes.
            component = {f"operators.coreos.com/{f'{package.name}.{namespace}'[:63]}": ""}
            install_definitions(self.kube, package.definitions, MANAGER, component)
            wanted = CSVS.new(csv, namespace, spec=csv_spec(package, definitions(package.definitions)))
            wanted["metadata"]["labels"] = component
            self._csvs.put(self.kube.apply(CSVS, wanted, MANAGER))
        condition = {"type": "Installed", "status": "True"}
        self._status(self._plans, plan, status | {"phase": "Complete", "conditions": [condition]})

    def _install(self, csv: Object) -> None:
        """Pending -> Installing -> Succeeded, one step a round, or Failed with OLM's reason."""
        package = _package(csv["metadata"]["name"])
        namespace = csv["metadata"]["namespace"]
        groups = [g for g in self._groups.all() if g["metadata"]["namespace"] == namespace]
        reason, message = group_problem(namespace, groups, package)
        if self.fault("csv-fails"):
            reason, message = "InstallCheckFailed", "install timeout (the lab's fault csv-fails is on)"
        if reason:
            phase = "Failed"
        elif _phase(csv) in ("Installing", "Succeeded"):
            phase, reason, message = "Succeeded", "InstallSucceeded", "install strategy completed with no errors"
        else:
            phase, reason, message = (
                "Installing",
                "InstallSucceeded",
                "waiting for install components to report healthy",
            )
        self._status(self._csvs, csv, {"phase": phase, "reason": reason, "message": message})

    def _run_operators(self) -> None:
        """The controller of a package runs exactly while a CSV of it has succeeded."""
        wanted = {_package(csv["metadata"]["name"]).name for csv in self._our_csvs() if _phase(csv) == "Succeeded"}
        for name in set(self._running) - wanted:
            self._running[name].stop()  # tried again if it fails: it takes its policies along
            del self._running[name]
        for name in wanted - set(self._running):
            controller = self._operators[name]()
            controller.start()
            self._running[name] = controller

    def _our_csvs(self) -> list[Object]:
        names = {package.csv for package in PACKAGES.values()}
        return [csv for csv in self._csvs.all() if csv["metadata"]["name"] in names]

    def _status(self, store: Store, obj: Object, status: Object) -> None:
        """Writes a status that differs; the time of the change is kept with it where the CRD has a field for it."""
        seen = {k: v for k, v in obj.get("status", {}).items() if k not in ("lastUpdated", "lastTransitionTime")}
        if seen == status:
            return
        stamp = {SUBSCRIPTIONS: {"lastUpdated": now()}, CSVS: {"lastTransitionTime": now()}}.get(store.resource, {})
        namespace, name = key(obj)
        store.put(
            self.kube.apply(
                store.resource, store.resource.new(name, namespace, status=status | stamp), MANAGER, "status"
            )
        )
        log.info(
            "%s %s/%s: %s", store.resource.kind, namespace, name, status.get("phase") or status.get("state") or status
        )


def _phase(obj: Object) -> str:
    return str(obj.get("status", {}).get("phase", ""))


def _package(csv: str) -> Package:
    return next(package for package in PACKAGES.values() if package.csv == csv)

# SPDX-License-Identifier: Apache-2.0
"""Plays Kernel Module Management: what to do is decided in placement.py, here it is read, written and watched.

Module -> ModuleImagesConfig -> pull pods -> NodeModulesConfig/<node> -> worker pods -> status and labels, as facts.md
"What KMM does" says. The webhook's rules are admission policies: policies/kmm.yaml.
"""

from __future__ import annotations

import logging
from typing import Any

import yaml

from stand_ins import placement
from stand_ins.controller import HERE, Controller
from stand_ins.kube import (
    DAEMON_SETS,
    NAMESPACES,
    NODES,
    PODS,
    ApiError,
    Kube,
    Object,
    Resource,
    Store,
    key,
    owner,
)

log = logging.getLogger(__name__)

KMM = "kmm.sigs.x-k8s.io/v1beta1"
MODULES = Resource(KMM, "modules", "Module")
IMAGES = Resource(KMM, "moduleimagesconfigs", "ModuleImagesConfig")
NODE_CONFIGS = Resource(KMM, "nodemodulesconfigs", "NodeModulesConfig")
ADMISSION = "admissionregistration.k8s.io/v1"
POLICIES = {
    "ValidatingAdmissionPolicy": Resource(ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy"),
    "ValidatingAdmissionPolicyBinding": Resource(
        ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"
    ),
}
MANAGER = "kmm-stand-in"
FINALIZER = "kmm.node.kubernetes.io/module-finalizer"
GENERATION = f"{placement.DOMAIN}/module-generation"  # of the Module that a DaemonSet was made from
CONTAINS_MODULES = "kmm.node.k8s.io/contains-modules"


class Kmm(Controller):
    name = "kmm"

    def __init__(self, kube: Kube, worker_image: str) -> None:
        super().__init__(kube)
        self._worker_image = worker_image
        self._modules, self._images = self.store(MODULES), self.store(IMAGES)
        self._configs, self._nodes = self.store(NODE_CONFIGS), self.store(NODES)
        self._pods = self.store(PODS, placement.MODULE)
        self._plugins = self.store(DAEMON_SETS, placement.MODULE)

    def start(self) -> None:
        for policy in _policies():
            self.kube.apply(POLICIES[policy["kind"]], policy, MANAGER)
        super().start()

    def stop(self) -> None:
        super().stop()
        for policy in reversed(_policies()):
            self.kube.delete(POLICIES[policy["kind"]], policy["metadata"]["name"])

    def reconcile(self) -> None:
        # Read once: the watch goes on meanwhile, and a Module must not be alive in one line and going in another.
        modules = self._modules.all()
        alive = [m for m in modules if "deletionTimestamp" not in m["metadata"]]
        for module in alive:
            self.attempt(self._hold, module)
            self.attempt(self._check_images, module)
        for node in self._nodes.all():
            self.attempt(self._place, node, alive)
            self.attempt(self._work, node)
        for module in alive:
            self.attempt(self._keep_device_plugin, module)
            self.attempt(self._report, module)
        for module in modules:
            if "deletionTimestamp" in module["metadata"]:
                self.attempt(self._let_go, module, [m for m in modules if m is not module])

    # --- Module and its images

    def _hold(self, module: Object) -> None:
        """A finalizer, so that a deleted Module is unloaded first; and the namespace's label for the webhook."""
        meta = module["metadata"]
        if FINALIZER not in meta.get("finalizers", []):
            self._set_finalizers(module, [*meta.get("finalizers", []), FINALIZER])
            self._label_namespace(meta["namespace"], "")

    def _let_go(self, module: Object, others: list[Object]) -> None:
        namespace, name = key(module)
        configs = self._configs.all()
        modules = [m for c in configs for part in ("spec", "status") for m in c.get(part, {}).get("modules", [])]
        busy = any((m["namespace"], m["name"]) == (namespace, name) for m in modules)
        busy |= any(
            _module_of(p) == (namespace, name) for p in self._pods.all() if placement.ACTION in p["metadata"]["labels"]
        )
        if not busy and FINALIZER in module["metadata"].get("finalizers", []):
            if not any(other["metadata"]["namespace"] == namespace for other in others):
                self._label_namespace(namespace, None)
            self._set_finalizers(module, [f for f in module["metadata"]["finalizers"] if f != FINALIZER])
            log.info("module %s/%s: unloaded everywhere, gone", namespace, name)

    def _set_finalizers(self, module: Object, finalizers: list[str]) -> None:
        version = module["metadata"]["resourceVersion"]
        patch = {"metadata": {"finalizers": finalizers or None, "resourceVersion": version}}
        self.kube.merge(MODULES, module, patch)

    def _label_namespace(self, name: str, value: str | None) -> None:
        self.kube.merge(NAMESPACES, NAMESPACES.new(name), {"metadata": {"labels": {CONTAINS_MODULES: value}}})

    def _check_images(self, module: Object) -> None:
        """ModuleImagesConfig of the same name, one pull pod per image, its state when the image was pulled."""
        namespace, name = key(module)
        nodes = placement.targets(module, self._nodes.all())
        entries = [entry for node in nodes if (entry := placement.node_entry(module, node))]
        config = self._images.get(name, namespace)
        if entries:
            spec = placement.images_spec(module, entries)
            if config is None or config["spec"] != spec:
                config = self._apply(self._images, IMAGES.new(name, namespace, spec=spec), owner(MODULES, module))
        if config is None:
            return
        states = self._image_states(namespace, name)
        pods = {p["spec"]["containers"][0]["image"]: p for p in self._pods.all() if _pulls(p, namespace, name)}
        for image in {spec["image"] for spec in config["spec"]["images"]} - set(states):
            pod = pods.get(image)
            if pod is None:
                self._create_pod(placement.pull_pod(config, image), owner(IMAGES, config))
            elif pod["status"].get("phase") == "Succeeded":
                states[image] = "Exists"
                listed = [{"image": i, "status": s} for i, s in sorted(states.items())]
                self._apply_status(self._images, IMAGES.new(name, namespace, status={"imagesStates": listed}))
        for pod in pods.values():
            if pod["status"].get("phase") in ("Succeeded", "Failed"):
                self._delete_pod(pod)

    def _image_states(self, namespace: str, name: str) -> dict[str, str]:
        config = self._images.get(name, namespace) or {}
        wanted = {spec["image"] for spec in config.get("spec", {}).get("images", [])}
        states = config.get("status", {}).get("imagesStates", [])
        return {state["image"]: state["status"] for state in states if state["image"] in wanted}

    # --- nodes

    def _place(self, node: Object, modules: list[Object]) -> None:
        """NodeModulesConfig.spec: which modules this node should have."""
        name = node["metadata"]["name"]
        config = self._configs.get(name)
        seen = _by_module((config or {}).get("spec", {}).get("modules", []))
        wanted: list[Object] = []
        for module in modules:
            entry = placement.node_entry(module, node) if placement.targets(module, [node]) else None
            if entry:
                states = self._image_states(*key(module))
                entry = placement.placed(entry, node, seen.get(key(module)), states)
            wanted += [entry] if entry else []
        wanted.sort(key=lambda entry: (entry["namespace"], entry["name"]))
        if wanted != list(seen.values()):
            self._apply(self._configs, NODE_CONFIGS.new(name, spec={"modules": wanted}))

    def _work(self, node: Object) -> None:
        """Worker pods until NodeModulesConfig.status is what its spec says, and the labels that tell of it."""
        name, boot = node["metadata"]["name"], placement.boot_id(node)
        config = self._configs.get(name)
        if config is None:
            return
        entries = _by_module(config.get("spec", {}).get("modules", []))
        pods = {_module_of(p): p for p in self._pods.all() if _works_on(p, name)}
        loaded = self._loaded(config, entries, pods, boot)
        self._label(node, entries, loaded, boot)
        for module in entries.keys() | loaded.keys() | pods.keys():
            action = placement.next_action(entries.get(module), loaded.get(module), boot)
            pod = pods.get(module)
            if pod and (_finished(pod) or action is None or placement.worker_task(pod) != (*action, boot)):
                self._delete_pod(pod)
            elif pod is None and action and placement.is_ready(node):
                log.info("node %s: %s %s/%s", name, action[0].lower(), *module)
                wanted = placement.worker_pod(*action, node, self._worker_image)
                self._create_pod(wanted, owner(NODE_CONFIGS, config))

    def _loaded(
        self, config: Object, entries: dict[Any, Object], pods: dict[Any, Object], boot: str
    ) -> dict[Any, Object]:
        """NodeModulesConfig.status.modules, brought up to date by the pods that have succeeded since."""
        before = _by_module(config.get("status", {}).get("modules", []))
        # A reboot has unloaded what is not wanted any more: there is nothing to do but forget it.
        loaded = {
            module: status
            for module, status in before.items()
            if status.get("bootId") == boot or (module in entries and placement.in_sync(entries[module], status))
        }
        for module, pod in pods.items():
            if pod["status"].get("phase") == "Succeeded":
                action, entry, pod_boot = placement.worker_task(pod)
                loaded.pop(module, None)
                if action == "Load":
                    loaded[module] = entry | {"bootId": pod_boot}
        if loaded != before:
            status = {"modules": [loaded[module] for module in sorted(loaded)]}
            self._apply_status(self._configs, NODE_CONFIGS.new(config["metadata"]["name"], status=status))
        return loaded

    def _label(self, node: Object, entries: dict[Any, Object], loaded: dict[Any, Object], boot: str) -> None:
        """facts.md: the ready label has an empty value. It goes before the module does."""
        wanted: dict[str, str] = {}
        for module, entry in entries.items():
            status = loaded.get(module)
            if status and placement.in_sync(entry, status) and status.get("bootId") == boot:
                wanted[placement.ready_label(*module)] = ""
                if "version" in entry:
                    wanted[placement.version_ready_label(*module)] = entry["version"]
        labels = node["metadata"].get("labels", {})
        own = {n for n in labels if n.startswith(f"{placement.DOMAIN}/") and n.endswith(".ready")}
        patch: dict[str, Any] = dict.fromkeys(own - set(wanted))
        patch |= {name: value for name, value in wanted.items() if labels.get(name) != value}
        if patch:
            self.kube.merge(NODES, node, {"metadata": {"labels": patch}})

    # --- what follows

    def _keep_device_plugin(self, module: Object) -> None:
        namespace, name = key(module)
        seen = [d for d in self._plugins.all() if _module_of(d) == (namespace, name)]
        if "devicePlugin" in module["spec"]:
            generation = {GENERATION: str(module["metadata"]["generation"])}
            if not seen or not generation.items() <= seen[0]["metadata"]["annotations"].items():
                wanted = placement.device_plugin(module) | {"apiVersion": DAEMON_SETS.api, "kind": DAEMON_SETS.kind}
                wanted["metadata"]["annotations"] = generation
                self._apply(self._plugins, wanted, owner(MODULES, module))
        else:
            for plugin in seen:
                self.kube.delete(DAEMON_SETS, plugin["metadata"]["name"], namespace)

    def _report(self, module: Object) -> None:
        """Module.status: counters only, there are no conditions (facts.md)."""
        namespace, name = key(module)
        matching = len(placement.targets(module, self._nodes.all()))
        configs = [
            (_by_module(c.get("spec", {}).get("modules", [])), _by_module(c.get("status", {}).get("modules", [])))
            for c in self._configs.all()
        ]
        module_key = (namespace, name)
        desired = [(spec[module_key], status.get(module_key)) for spec, status in configs if module_key in spec]
        status = {"moduleLoader": _counters(matching, len(desired), sum(placement.in_sync(*d) for d in desired))}
        for plugin in self._plugins.all():
            if _module_of(plugin) == module_key:
                counts = plugin.get("status", {})
                numbers = counts.get("desiredNumberScheduled", 0), counts.get("numberAvailable", 0)
                status["devicePlugin"] = _counters(matching, *numbers)
        if module.get("status") != status:
            self._apply_status(self._modules, MODULES.new(name, namespace, status=status))

    # --- writes

    def _apply(self, store: Store, obj: Object, owned_by: Object | None = None) -> Object:
        if owned_by:
            obj["metadata"]["ownerReferences"] = [owned_by]
        written = self.kube.apply(store.resource, obj, MANAGER)
        store.put(written)
        return written

    def _apply_status(self, store: Store, obj: Object) -> None:
        store.put(self.kube.apply(store.resource, obj, MANAGER, "status"))

    def _create_pod(self, pod: Object, owned_by: Object) -> None:
        pod["metadata"]["ownerReferences"] = [owned_by]
        try:
            self._pods.put(self.kube.create(PODS, {"apiVersion": PODS.api, "kind": PODS.kind, **pod}))
        except ApiError as error:
            if error.status != 409:  # the one before it is still going away: its end wakes us again
                raise

    def _delete_pod(self, pod: Object) -> None:
        if "deletionTimestamp" not in pod["metadata"]:
            namespace, name = key(pod)
            self.kube.delete(PODS, name, namespace)


def _policies() -> list[Object]:
    items: list[Object] = yaml.safe_load((HERE / "policies" / "kmm.yaml").read_text())["items"]
    return items


def _by_module(entries: list[Object]) -> dict[Any, Object]:
    return {(entry["namespace"], entry["name"]): entry for entry in entries}


def _module_of(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["labels"][placement.MODULE]


def _pulls(pod: Object, namespace: str, name: str) -> bool:
    return placement.PULLED in pod["metadata"]["labels"] and _module_of(pod) == (namespace, name)


def _works_on(pod: Object, node: str) -> bool:
    return placement.ACTION in pod["metadata"]["labels"] and pod["spec"].get("nodeName") == node


def _finished(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _counters(matching: int, desired: int, available: int) -> Object:
    return {"nodesMatchingSelectorNumber": matching, "desiredNumber": desired, "availableNumber": available}

# SPDX-License-Identifier: Apache-2.0
"""The accelerator definition, as data: what may stand where, what it means, what it is when left out. PRIVATE.

From this come the check, the defaults, the roles' argument specs and the reference page. A value that is null counts as
left out.
"""

from __future__ import annotations

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.devices import (
    DEVICE_PLUGIN,
    DEVICES,
    HEALTH,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.parts import (
    Items,
    Names,
    Node,
    Section,
    Value,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._taints import EFFECTS, OPERATORS


def _installed(what: str, package: str) -> Section:
    return Section(
        {
            "install": Value("boolean", f"Install {what} by OLM when the cluster has none.", True),
            "namespace": Value("namespace", "Where.", default_text=f"openshift-{what.lower()}"),
            "package": Value("object", "OLM package.", default_text=package),
            "channel": Value("version", "OLM channel.", default_text="stable"),
            "source": Value("object", "CatalogSource.", default_text="by platform"),
            "source_namespace": Value("namespace", "The CatalogSource's namespace.", default_text="by platform"),
        },
        f"{what}: used as found, or installed.",
    )


LABEL = Value("label_value", "Its value.")
TOLERATION = Section(
    {
        "key": Value("label_key", "The taint's key.", required=True),
        "operator": Value("text", "`Equal`: the taint has this value; `Exists`: any.", "Equal", choices=OPERATORS),
        "value": Value("label_value", "The taint's value, with `Equal`."),
        "effect": Value("text", "The taint's effect; all of them when left out.", choices=EFFECTS),
    },
    "",
)
FIELD_TYPES = ("string", "integer", "boolean")

HARDWARE = Section(
    {
        "pci": Section(
            {
                "vendor": Value("hex4", "PCI vendor.", required=True),
                "device": Value("hex4", "PCI device.", required=True),
                "class": Value("hex4", "PCI class."),
            },
            "A PCI device.",
            optional=True,
        ),
        "loaded_module": Value("kernel_module", "An in-tree kernel module whose presence shows the hardware."),
        "cpu_feature": Value("cpu_feature", "A CPU flag, as NFD names it."),
        "node_label": Names(
            "label_key", Value("label_value", "Its value."), "Labels that you put on the nodes.", optional=True
        ),
    },
    "How a node with the hardware is recognised. Exactly one of these.",
)

STRATEGIES = ("podman", "kmm", "buildconfig", "prebuilt")

BUILD = Section(
    {
        "strategy": Value(
            "text",
            "Who builds: `podman` on a build host; `kmm` in the cluster, from git; `buildconfig` on OpenShift; "
            "`prebuilt`: nobody, the images are there.",
            default_text="`prebuilt` when `images.driver` is given, else `podman`",
            choices=STRATEGIES,
        ),
        "parallel": Value("integer", "Builds at the same time, on each build host.", 2, minimum=1, maximum=64),
        "kernels": Items(Value("kernel", ""), "More kernels than the nodes run, such as those of an upgrade to come."),
        "hosts": Names(
            "arch",
            Value("host", "Its name in the inventory."),
            "Build host of an architecture; of those without one, the host that the play runs on.",
        ),
    },
    "How the driver's images are built, one for each kernel.",
)

DRIVER = Section(
    {
        "source": Value("path", "Folder with the kernel module's sources.", on_host="folder"),
        "git": Section(
            {
                "url": Value("git_url", "Repository with the sources.", required=True),
                "ref": Value("git_ref", "Tag, branch or commit; a commit makes builds repeatable.", required=True),
                "subdir": Value("file_in_image", "Folder in the repository."),
            },
            "Sources in a repository, instead of `source`.",
            optional=True,
        ),
        "module": Value("kernel_module", "The kernel module's name, without `.ko`.", required=True),
        "version": Value("version", "The driver's version. KMM reloads the driver when it changes.", "0.1.0"),
        "parameters": Names("parameter", Value("scalar", "Its value."), "Parameters of the module."),
        "firmware": Items(Value("file_in_image", ""), "Firmware files, relative to the sources' folder `firmware`."),
        "replaces": Items(Value("kernel_module", ""), "In-tree modules that are removed first."),
        "build": BUILD,
        "signing": Section(
            {
                "key": Value("path", "Private key (PEM, no passphrase), a file on the build host.", on_host="file"),
                "certificate": Value("path", "Its certificate (PEM or DER), on the build host.", on_host="file"),
                "secret": Value("object", "Instead: a Secret in the namespace that holds both, as `key` and `cert`."),
            },
            "Signs the modules for Secure Boot. Either `key` and `certificate`, or `secret`.",
            optional=True,
        ),
    },
    "The kernel module. It comes from `source`, `git`, or an image that is given in `images.driver`.",
)

_GIVEN = "A reference that you give; it is then not built."

IMAGES = Section(
    {
        "registry": Value("registry", "Registry and path to push to. Needed unless all images are given."),
        "tls_verify": Value("boolean", "The registry has a valid TLS certificate.", True),
        "pull_secret": Value("object", "A Secret in the namespace, for pulling; you make both beforehand."),
        "push_auth_file": Value("path", "A `auth.json` on the build host, for pushing.", on_host="file"),
        "ca_bundle": Value("path", "Certificates on the build host, used while building.", on_host="file"),
        "push_secret": Value("object", "A Secret in the namespace, for pushing from a build in the cluster."),
        "mirrors": Names(
            "registry",
            Value("registry", "Where it is mirrored."),
            "Registries, or paths in them, that are not reached: what starts so is taken from the mirror.",
        ),
        "proxy": Section(
            {
                "http": Value("proxy", "Proxy for http."),
                "https": Value("proxy", "Proxy for https."),
                "no_proxy": Value("no_proxy", "What is reached without it."),
            },
            "The proxy that images are pulled, pushed and built through; it stays out of them. One with a password "
            "belongs into the environment of the play.",
        ),
        "base": Value(
            "image",
            "Base image with Python, for device plugin, operator and consumer.",
            "registry.access.redhat.com/ubi9/python-312-minimal:latest",
        ),
        "driver_base": Value(
            "image", "Base image of the driver's image.", "registry.access.redhat.com/ubi9/ubi-minimal:latest"
        ),
        "builder": Value(
            "image",
            "Image with compiler and headers; `${KERNEL_FULL_VERSION}` may stand in it.",
            default_text="on OpenShift the release's Driver Toolkit",
        ),
        "toolkits": Items(
            Value("image", ""),
            "Driver Toolkit images of more releases; which kernels each is for, is read from its "
            "`/etc/driver-toolkit-release.json`.",
        ),
        "driver": Value("image", f"{_GIVEN} `${{KERNEL_FULL_VERSION}}` may stand in it."),
        "device_plugin": Value("image", _GIVEN),
        "operator": Value("image", _GIVEN),
        "consumer": Value("image", _GIVEN),
    },
    "Where images come from and go to.",
)

OPERATOR = Section(
    {
        "api": Section(
            {
                "group": Value("domain", "API group.", default_text="the domain of `resource`"),
                "version": Value("api_version", "API version.", "v1alpha1"),
                "kind": Value("kind", "Kind.", default_text="`name` in camel case"),
                "plural": Value("namespace", "Plural.", default_text="`kind` in lower case, with an s"),
            },
            "The custom resource's API.",
        ),
        "fields": Names(
            "field",
            Section(
                {
                    "parameter": Value("parameter", "The module parameter that it sets.", required=True),
                    "type": Value("text", "Its type.", "string", choices=FIELD_TYPES),
                    "minimum": Value("integer", "Least value, for integers."),
                    "maximum": Value("integer", "Greatest value, for integers."),
                    "description": Value("text", "Shown by `kubectl explain`."),
                    "counts_devices": Value("boolean", "Its value is the number of devices per node.", False),
                },
                "",
            ),
            "Fields of the custom resource that set module parameters.",
        ),
    },
    "The operator that keeps the accelerator usable.",
)

CONSUMER = Section(
    {
        "source": Value("path", "Folder with a Containerfile. Or give `images.consumer`.", on_host="folder"),
        "command": Items(Value("text", ""), "Its command; the image's own when left out.", default=None),
        "devices": Value("integer", "Devices that a pod asks for.", 1, minimum=1),
        "replicas": Value("integer", "Pods.", 1, minimum=1),
    },
    "A workload that uses devices. None runs when left out.",
    optional=True,
)

SCHEMA = Section(
    {
        "name": Value("name", "What everything is called after.", required=True),
        "namespace": Value("namespace", "Where it lives.", default_text="`name`"),
        "resource": Value("resource", "What pods ask for.", required=True),
        "managed_by": Value("text", "Who keeps it so.", "operator", choices=("operator", "playbook")),
        "nodes": Names(
            "label_key",
            LABEL,
            "Labels of the nodes that may have it; empty: every schedulable worker.",
        ),
        "tolerations": Items(
            TOLERATION,
            "Taints of these nodes that the driver tolerates, as in a pod's spec; consumer and operator, too, but for "
            "those of Kubernetes' own. On a node with any other taint nothing is loaded.",
        ),
        "hardware": HARDWARE,
        "driver": DRIVER,
        "images": IMAGES,
        "devices": DEVICES,
        "device_plugin": DEVICE_PLUGIN,
        "health": HEALTH,
        "consumer": CONSUMER,
        "operator": OPERATOR,
        "monitoring": Section(
            {
                "enabled": Value("boolean", "Apply monitors, alerts and a dashboard where the API is.", True),
                "labels": Names(
                    "label_key", Value("label_value", "Its value."), "Labels that your Prometheus selects."
                ),
                "dashboard_namespace": Value("namespace", "Namespace of the dashboard.", default_text="by platform"),
            },
            "Metrics, alerts, dashboard.",
        ),
        "nfd": _installed("NFD", "nfd"),
        "kmm": _installed("KMM", "kernel-module-management"),
        "timeout": Value("integer", "Bound of each wait, in seconds.", 600, minimum=10, maximum=86400),
    },
    "The accelerator definition.",
)

__all__ = ("SCHEMA", "Items", "Names", "Node", "Section", "Value")

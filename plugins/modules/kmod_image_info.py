#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: what the kernel modules of an image are, and whether a kernel would load them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kmod_image_info
short_description: Tells from a driver image whether its kernel modules would load on a kernel
version_added: 0.1.0
description:
  - Reads the kernel modules in an image from a registry or an archive, without running the image, without root and
    without a node, and tells what each is and what would keep it from loading.
  - What counts is what C(modprobe -d) and Kernel Module Management do with the image. They find modules and their
    dependencies in the image's C(modules.dep) alone, so a dependency that it does not name has to be loaded before; see
    O(host_modules).
  - Reads the layers from the last one backwards and stops when it has seen all that modprobe would load, so that a base
    image is not fetched. Without O(kernel) all layers are read.
  - Runs on the build host and needs no cluster. Changes nothing.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
requirements:
  - python >= 3.9
  - skopeo >= 1.9
  - zstd, for layers and modules that are compressed with it, where Python is older than 3.14
attributes:
  check_mode:
    description: Can run in check mode, which is the same because it only reads.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
options:
  image:
    description: The reference of an image in a registry. Exactly one of O(image) and O(archive) is given.
    type: str
  archive:
    description: An image as an OCI archive, a docker archive, or a folder with an OCI layout.
    type: path
  kernel:
    description:
      - The kernel that is to load the modules, as C(uname -r) says.
      - Without it, each folder C(lib/modules/KERNEL) of the image is held against the kernel it is for.
    type: str
  architecture:
    description:
      - The nodes' architecture, such as V(amd64) or V(x86_64). It is compared with the modules, and chooses from a
        list of images.
      - Without it nothing is compared, and the list's image for this host is taken.
    type: str
  modules:
    description: The modules that are to be loaded. Without it, all that are in the image.
    type: list
    elements: str
    default: []
  root:
    description: The folder in the image that C(modprobe -d) gets; C(dirName) of KMM.
    type: str
    default: /opt
  require_signed:
    description: Whether each module that would be loaded must have a signature. Whose it is, the kernel checks.
    type: bool
    default: false
  symvers:
    description:
      - The C(Module.symvers) of the kernel, which may be compressed. With it the modules' symbols are looked for, and
        their versions compared.
    type: path
  firmware:
    description:
      - Firmware files that must be in O(firmware_directory), with their paths in it.
      - What the modules themselves ask for must be there as well, unless O(host_firmware) says that the nodes have it.
    type: list
    elements: str
    default: []
  firmware_directory:
    description: The folder in the image with the firmware; C(firmwarePath) of KMM.
    type: str
    default: /firmware
  host_firmware:
    description: Firmware that the nodes have themselves, as patterns such as V(acme/*).
    type: list
    elements: str
    default: []
  host_modules:
    description:
      - Modules that the nodes have loaded or built in before the image's are loaded, as patterns such as V(drm*).
      - Modules of the node's own that are reached by a link to C(/host/lib/modules) in the image need not be named.
    type: list
    elements: str
    default: []
  demand:
    description: Whether the task fails when a module would not load. Without it, it only reports.
    type: bool
    default: false
  unreadable:
    description:
      - What to do when the registry does not give the image, V(fail) or V(warn).
      - V(warn) is for images that only the cluster can pull. An image that the registry does not have is always a
        failure.
    type: str
    choices: [fail, warn]
    default: fail
  tls_verify:
    description: Whether the registry must have a TLS certificate that can be verified.
    type: bool
    default: true
  auth_file:
    description: A C(auth.json) with the registry's credentials. It is handed to skopeo by its path only.
    type: path
  timeout:
    description: Seconds that reading the image may take.
    type: int
    default: 300
seealso:
  - module: ecosystem_edge.accelerator.accelerator_image
"""

EXAMPLES = r"""
- name: Prove that an image loads on its kernel before it is rolled out
  ecosystem_edge.accelerator.kmod_image_info:
    image: registry.example.com/accelerators/widget-driver:0.1.0-5.14.0-427.13.1.el9_4.x86_64
    kernel: 5.14.0-427.13.1.el9_4.x86_64
    architecture: amd64
    modules: [widget]
    demand: true

- name: See what is in an archive
  ecosystem_edge.accelerator.kmod_image_info:
    archive: /tmp/widget-driver.tar
  register: widget_driver

- name: Demand signatures, and the very symbols of the kernel
  ecosystem_edge.accelerator.kmod_image_info:
    image: registry.example.com/accelerators/widget-driver:0.1.0-6.1.0-40-amd64
    kernel: 6.1.0-40-amd64
    architecture: amd64
    symvers: /usr/src/linux-headers-6.1.0-40-amd64/Module.symvers
    require_signed: true
    host_modules: [drm, drm_kms_helper]
    demand: true
"""

RETURN = r"""
image:
  description: What was read.
  returned: always
  type: str
  sample: registry.example.com/accelerators/widget-driver:0.1.0-6.1.0-40-amd64
digest:
  description: The digest of its manifest; null when it could not be read.
  returned: success
  type: str
unproven:
  description: With O(unreadable=warn), why the image could not be read; null when it was.
  returned: always
  type: str
loadable:
  description: Whether every module that is asked for would load; null when the image could not be read.
  returned: always, after the image was read
  type: bool
findings:
  description: What is wrong, each with what was expected and seen, and with the next step.
  returned: always, after the image was read
  type: list
  elements: dict
  contains:
    code:
      description:
        - What it is about. One of V(kernel), V(architecture), V(dependency), V(firmware), V(unsigned), V(signature)
          (one that cannot be read), V(truncated), V(unreadable), V(crc), V(symbol), V(namespace), V(license),
          V(modules_dep), V(absent), V(softdep).
      type: str
    severity:
      description: V(error) when it would not load, or not find its firmware; else V(warning).
      type: str
    module:
      description: The module, or nothing when it is about the whole image.
      type: str
    path:
      description: The file or folder in the image.
      type: str
    text:
      description: What was expected, and what was seen.
      type: str
    next:
      description: What to do.
      type: str
modules:
  description: Each kernel module in the image.
  returned: always, after the image was read
  type: list
  elements: dict
  contains:
    name:
      description: Its name, with C(_) for C(-).
      type: str
    path:
      description: Where it is in the image.
      type: str
    size:
      description: Bytes of the file. Beside it is C(compression), which is nothing, V(gz), V(xz) or V(zst).
      type: int
    version:
      description: Its version.
      type: str
    srcversion:
      description: A digest of its source, which C(/sys/module/NAME/srcversion) of a loaded module can be compared with.
      type: str
    vermagic:
      description: The kernel and the options that it was built for. Beside it is C(kernel), its first word.
      type: str
    architecture:
      description: The architecture, as Kubernetes calls it.
      type: str
    license:
      description: Its license, as the kernel sees it.
      type: str
    signed:
      description: Whether it has a signature that can be read.
      type: bool
    signer:
      description:
        - Common name of the issuer of the signer's certificate. Beside it are C(signature_key) (the certificate's
          serial number, or the key's identifier), C(signature_digest) and C(signature_algorithm).
      type: str
    parameters:
      description: Its parameters, each with C(name), C(type) and C(description).
      type: list
      elements: dict
    depends:
      description: Modules that must be loaded before it.
      type: list
      elements: str
    softdeps:
      description: Modules that modprobe loads before (C(pre)) and after it (C(post)) when it finds them.
      type: dict
    firmware:
      description: Firmware that it asks for.
      type: list
      elements: str
    has_crcs:
      description: Whether it has versions of the symbols that it uses.
      type: bool
    crc_mismatches:
      description: With O(symvers), symbols whose version in the C(module) is not that of the C(kernel).
      type: list
      elements: dict
    loadable:
      description: Whether it would load, as far as the findings about it say.
      type: bool
layers:
  description: How many layers the image has, and how many were read.
  returned: success
  type: dict
  sample: {count: 4, read: 1}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image_tools as tools
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _kmod_image as work

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    names = {"type": "list", "elements": "str", "default": []}
    return {
        "image": {"type": "str"},
        "archive": {"type": "path"},
        "kernel": {"type": "str"},
        "architecture": {"type": "str"},
        "modules": names,
        "root": {"type": "str", "default": "/opt"},
        "require_signed": {"type": "bool", "default": False},
        "symvers": {"type": "path"},
        "firmware": names,
        "firmware_directory": {"type": "str", "default": "/firmware"},
        "host_firmware": names,
        "host_modules": names,
        "demand": {"type": "bool", "default": False},
        "unreadable": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
        "tls_verify": {"type": "bool", "default": True},
        "auth_file": {"type": "path"},
        "timeout": {"type": "int", "default": 300},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=[("image", "archive")],
        required_one_of=[("image", "archive")],
    )
    what = module.params["image"] or module.params["archive"]
    result: Json = {"changed": False, "image": what, "unproven": None}
    try:
        tools.require("skopeo")
        result.update(work.report(module.params))
    except work.Unproven as error:
        module.warn(str(error))
        result.update(unproven=str(error), loadable=None, digest=None)
        result.update(findings=[], modules=[], layers={"count": 0, "read": 0})
    except (work.ImageError, tools.ToolError, OSError) as error:
        module.fail_json(msg=str(error), **result)
    if module.params["demand"] and result["loadable"] is False:
        module.fail_json(msg=work.refusal(module.params, result["findings"]), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: build a container image and push it, when its content differs from what the registry has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accelerator_image
short_description: Builds a container image and pushes it unless the registry has the same content
version_added: 0.1.0
description:
  - Stages a build context, computes a key of everything that goes into the image (files, Containerfile, build
    arguments, digests of the base images), and asks the registry whether the tag has that key. Only if not, builds with
    podman and pushes.
  - Runs on the build host and needs no cluster.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - ecosystem_edge.accelerator.image_site
attributes:
  check_mode:
    description: Can run in check mode and say what it would build, without building.
    support: full
  diff_mode:
    description: Says in diff mode from which key to which the tag would go.
    support: full
options:
  name:
    description: The repository to push to, with the registry, without a tag.
    type: str
    required: true
  tag:
    description: The tag. Without it, the key's first 12 digits, so that a tag never changes its meaning.
    type: str
  context:
    description:
      - Folder that is the build context. It is copied; nothing is written to it.
      - C(.git), C(__pycache__), C(*.pyc) and what a C(.containerignore) in it names are left out of the image
        and of the key.
    type: path
    required: true
  containerfile:
    description: The Containerfile, relative to O(context) or absolute.
    type: path
    default: Containerfile
  extra_context:
    description:
      - More files and folders for the context. Keys are paths in the context, values are paths on the build host.
      - A folder's own C(.containerignore) holds for it.
    type: dict
    default: {}
  build_args:
    description: Build arguments. They go into the key, and into the image's history, so they are no place for secrets.
    type: dict
    default: {}
  bases:
    description: The images that the Containerfile starts from. They are pulled, and their digests go into the key.
    type: list
    elements: str
    default: []
  base_next_step:
    description: What to do when a base image is not there, such as which field of a definition to change.
    type: str
seealso:
  - module: ecosystem_edge.accelerator.accelerator_images
  - module: containers.podman.podman_image
"""

EXAMPLES = r"""
- name: Build the device plugin's image
  ecosystem_edge.accelerator.accelerator_image:
    name: registry.example.com/accelerators/ptemplate-device-plugin
    context: files/device_plugin
    bases: [registry.access.redhat.com/ubi9/python-312-minimal:latest]
    build_args:
      BASE: registry.access.redhat.com/ubi9/python-312-minimal:latest
    auth_file: /home/builder/auth.json
  register: device_plugin_image

- name: Build a driver image for one kernel
  ecosystem_edge.accelerator.accelerator_image:
    name: registry.example.com/accelerators/ptemplate-driver
    tag: 0.1.0-5.14.0-427.13.1.el9_4.x86_64
    context: files/driver_container
    extra_context:
      src: files/kernel_module
    bases: ["{{ builder }}", registry.access.redhat.com/ubi9/ubi-minimal:latest]
    build_args:
      BUILDER: "{{ builder }}"
      BASE: registry.access.redhat.com/ubi9/ubi-minimal:latest
      KERNEL_VERSION: 5.14.0-427.13.1.el9_4.x86_64
    base_next_step: set images.builder to an image with the headers of 5.14.0-427.13.1.el9_4.x86_64
"""

RETURN = r"""
image:
  description: The reference of the image.
  returned: always, after the key is known
  type: str
  sample: registry.example.com/accelerators/ptemplate-device-plugin:0123456789ab
digest:
  description: The digest of what the registry has under that reference; null in check mode when it would be built.
  returned: success
  type: str
key:
  description: The content key, which is also the image's label C(io.github.ecosystem-edge.content-key).
  returned: always, after the key is known
  type: str
built:
  description: Whether an image was built.
  returned: success
  type: bool
pushed:
  description: Whether it was pushed.
  returned: success
  type: bool
would_build:
  description: Whether check mode found that an image would be built.
  returned: success
  type: bool
"""

import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image_work as work
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._image import ContextError


def main() -> None:
    module = AnsibleModule(argument_spec={**work.IMAGE_OPTIONS, **work.SITE_OPTIONS}, supports_check_mode=True)
    folder = Path(tempfile.mkdtemp(prefix="accelerator-image-", dir=module.tmpdir))
    try:
        result = work.attempt(module.params, work.Site(module.params, folder), folder / "image", module.check_mode)
    except (ContextError, OSError) as error:
        result = {**work.fresh_result(), "failed": True, "msg": str(error)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not module._diff:
        result.pop("diff", None)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()

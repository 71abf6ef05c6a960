#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: build several container images at a time, each as accelerator_image does."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accelerator_images
short_description: Builds and pushes several container images at a time, as far as the registry lacks their content
version_added: 0.2.0
description:
  - Does for each image what M(ecosystem_edge.accelerator.accelerator_image) does for one, several at a time. What they
    have in common is asked and pulled once.
  - An image that fails stops no other. All failures are told together, each with its image's title.
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
    description: Says in diff mode from which key to which each tag would go.
    support: full
options:
  images:
    description: The images.
    type: list
    elements: dict
    required: true
    suboptions:
      title:
        description: What a message calls it, such as the kernel that it is for. Without it, its name.
        type: str
      name:
        description: The repository to push to, with the registry, without a tag.
        type: str
        required: true
      tag:
        description: The tag. Without it, the key's first 12 digits.
        type: str
      context:
        description: Folder that is the build context.
        type: path
        required: true
      containerfile:
        description: The Containerfile, relative to O(images[].context) or absolute.
        type: path
        default: Containerfile
      extra_context:
        description: More files and folders for the context; paths in the context, and paths on the build host.
        type: dict
        default: {}
      build_args:
        description: Build arguments. They go into the key and the image's history, so they are no place for secrets.
        type: dict
        default: {}
      bases:
        description: The images that the Containerfile starts from. They are pulled, and their digests go into the key.
        type: list
        elements: str
        default: []
      base_next_step:
        description: What to do when a base image is not there.
        type: str
  parallel:
    description: How many are built at the same time.
    type: int
    default: 2
seealso:
  - module: ecosystem_edge.accelerator.accelerator_image
"""

EXAMPLES = r"""
- name: Build a driver image for each of two kernels, signed
  ecosystem_edge.accelerator.accelerator_images:
    images:
      - title: kernel 6.1.0-40-amd64
        name: registry.example.com/accelerators/widget-driver
        tag: 1.0-6.1.0-40-amd64
        context: files/driver_container
        extra_context: {source: widget}
        bases: ["registry.example.com/headers:6.1.0-40-amd64"]
        build_args: {BUILDER: "registry.example.com/headers:6.1.0-40-amd64", KERNEL_VERSION: 6.1.0-40-amd64}
      - title: kernel 6.12.9-amd64
        name: registry.example.com/accelerators/widget-driver
        tag: 1.0-6.12.9-amd64
        context: files/driver_container
        extra_context: {source: widget}
        bases: ["registry.example.com/headers:6.12.9-amd64"]
        build_args: {BUILDER: "registry.example.com/headers:6.12.9-amd64", KERNEL_VERSION: 6.12.9-amd64}
    signing:
      key: /etc/keys/module.priv
      certificate: /etc/keys/module.der
"""

RETURN = r"""
results:
  description: What M(ecosystem_edge.accelerator.accelerator_image) returns for each image, in the order of O(images).
  returned: always, after the options are checked
  type: list
  elements: dict
  contains:
    image:
      description: The reference of the image.
      type: str
    digest:
      description: The digest of what the registry has under that reference; null in check mode when it would be built.
      type: str
    key:
      description: The content key.
      type: str
    built:
      description: Whether an image was built.
      type: bool
    pushed:
      description: Whether it was pushed.
      type: bool
    would_build:
      description: Whether check mode found that an image would be built.
      type: bool
    failed:
      description: Whether this one failed, and RV(results[].msg) says why.
      type: bool
    msg:
      description: Why it failed.
      type: str
"""

import shutil
import tempfile
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image_work as work
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._image import ContextError

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    options = {"title": {"type": "str"}, **work.IMAGE_OPTIONS}
    return {
        "images": {"type": "list", "elements": "dict", "required": True, "options": options},
        "parallel": {"type": "int", "default": 2},
        **work.SITE_OPTIONS,
    }


def complaint(images: t.Sequence[Json], results: t.Sequence[Json]) -> t.Optional[str]:
    """All failures in one message, or None."""
    failed = [
        f"{images[number]['title'] or images[number]['name']}: {result['msg']}"
        for number, result in enumerate(results)
        if result.get("failed")
    ]
    if not failed:
        return None
    head = f"{len(failed)} of {len(images)} images failed, the others are done\n" if len(images) > 1 else ""
    return head + "\n".join(failed)


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    images, parallel = module.params["images"], module.params["parallel"]
    if parallel < 1:
        module.fail_json(msg=f"parallel: expected a number from 1; seen {parallel}")
    folder = Path(tempfile.mkdtemp(prefix="accelerator-image-", dir=module.tmpdir))
    try:
        results = work.attempt_all(images, work.Site(module.params, folder), folder, parallel, module.check_mode)
    except (ContextError, OSError) as error:
        module.fail_json(msg=str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    diffs = [diff for diff in (result.pop("diff", None) for result in results) if diff]
    returned: Json = {"changed": any(result["changed"] for result in results), "results": results}
    if module._diff:
        returned["diff"] = diffs
    failure = complaint(images, results)
    if failure:
        module.fail_json(msg=failure, **returned)
    module.exit_json(**returned)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: which kernels Driver Toolkit images are for, as their release file says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: driver_toolkit_info
short_description: Says which kernels Driver Toolkit images are for
version_added: 0.2.0
description:
  - Reads C(/etc/driver-toolkit-release.json) out of each image. The image is pulled, but nothing of it is run.
  - What was read is kept by the image's digest, so that it is pulled once only.
  - Runs on the build host and needs no cluster.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
extends_documentation_fragment:
  - ecosystem_edge.accelerator.image_site
attributes:
  check_mode:
    description: Reads in check mode, too; it changes nothing but its own cache and podman's.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
options:
  images:
    description: References of the images.
    type: list
    elements: str
    required: true
  cache:
    description: Folder for what was read; it is made.
    type: path
    required: true
  registry:
    description: The site's own registry, the one that O(tls_verify) is about.
    type: str
    default: ""
seealso:
  - module: ecosystem_edge.accelerator.accelerator_images
"""

EXAMPLES = r"""
- name: Ask the toolkits of two releases
  ecosystem_edge.accelerator.driver_toolkit_info:
    images:
      - registry.example.com/mirror/driver-toolkit:4.18.20
      - registry.example.com/mirror/driver-toolkit:4.19.3
    cache: ~/.cache/ecosystem-edge-accelerator/toolkits
"""

RETURN = r"""
releases:
  description: What each image's release file says, in the order of O(images).
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: The reference.
      type: str
    kernel_version:
      description: The kernel that the release's nodes run.
      type: str
      sample: 5.14.0-427.13.1.el9_4.x86_64
    rt_kernel_version:
      description: Their real-time kernel; empty when there is none.
      type: str
    rhel_version:
      description: The release of RHEL.
      type: str
"""

import json
import shutil
import tempfile
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image_tools as tools
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image_work as work
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._image import ContextError

Json = t.Dict[str, t.Any]

FILE = "/etc/driver-toolkit-release.json"
FIELDS = ("KERNEL_VERSION", "RT_KERNEL_VERSION", "RHEL_VERSION")
NEXT_STEP = "look at images.toolkits of the accelerator definition"


def release(image: str, text: str) -> Json:
    """The file's fields. Raises ContextError when it is not such a file."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.get("KERNEL_VERSION"):
        raise ContextError(
            f"{image}: {FILE} names no KERNEL_VERSION: expected a Driver Toolkit; seen {text.strip()[:80]!r}; "
            f"next: {NEXT_STEP}"
        )
    return {"image": image, **{field.lower(): str(found.get(field) or "") for field in FIELDS}}


def read(image: str, site: work.Site, registry: str, cache: Path, folder: Path) -> str:
    """The release file's text: kept, or out of the image."""
    asked = site.registry(registry or image)
    kept = cache / asked.digest(image, NEXT_STEP).replace(":", "-")
    if kept.exists():
        return kept.read_text()
    tools.require("podman")
    asked.pull(image, site.params["timeout"])
    copy = folder / "release.json"
    copy.unlink(missing_ok=True)
    tools.copy_out(image, FILE, copy, NEXT_STEP)
    text = copy.read_text()
    release(image, text)  # what is no release file is not kept
    cache.mkdir(parents=True, exist_ok=True)
    whole = cache / f".{kept.name}.new"
    whole.write_text(text)
    whole.replace(kept)
    return text


def main() -> None:
    options = {
        "images": {"type": "list", "elements": "str", "required": True},
        "cache": {"type": "path", "required": True},
        "registry": {"type": "str", "default": ""},
    }
    module = AnsibleModule(argument_spec={**options, **work.SITE_OPTIONS}, supports_check_mode=True)
    params, found = module.params, []
    folder = Path(tempfile.mkdtemp(prefix="driver-toolkit-", dir=module.tmpdir))
    try:
        tools.require("skopeo")
        site = work.Site(params, folder)
        for image in params["images"]:
            text = read(image, site, params["registry"], Path(params["cache"]), folder)
            found.append(release(image, text))
    except (ContextError, tools.ToolError, OSError) as error:
        module.fail_json(msg=str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    module.exit_json(changed=False, releases=found)


if __name__ == "__main__":
    main()

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
requirements:
  - python >= 3.9
  - podman >= 4.0
  - skopeo >= 1.9
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
  tls_verify:
    description:
      - Whether the registry of O(name), and bases from it, must have a TLS certificate that can be verified.
      - Other registries are always verified, unless the host's C(registries.conf) says otherwise.
    type: bool
    default: true
  auth_file:
    description: A C(auth.json) with the registries' credentials. It is handed to podman and skopeo by its path only.
    type: path
  ca_bundle:
    description:
      - A file with certificates that is mounted read-only at C(/etc/ssl/certs/ca-certificates.crt) while the image is
        built, for hosts behind a proxy that inspects TLS. It does not get into the image, nor into the key.
      - A C(/etc/pip.conf) that names it is mounted as well, because pip does not look at the system's certificates.
      - Where the image has no file at these two paths, an empty one stays behind.
    type: path
  base_next_step:
    description: What to do when a base image is not there, such as which field of a definition to change.
    type: str
  timeout:
    description: Seconds that one step (a pull, the build, the push) may take.
    type: int
    default: 1800
seealso:
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
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image as image
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image_tools as tools

Json = t.Dict[str, t.Any]


def argument_spec() -> Json:
    return {
        "name": {"type": "str", "required": True},
        "tag": {"type": "str"},
        "context": {"type": "path", "required": True},
        "containerfile": {"type": "path", "default": "Containerfile"},
        "extra_context": {"type": "dict", "default": {}},
        "build_args": {"type": "dict", "default": {}},
        "bases": {"type": "list", "elements": "str", "default": []},
        "tls_verify": {"type": "bool", "default": True},
        "auth_file": {"type": "path"},
        "ca_bundle": {"type": "path"},
        "base_next_step": {"type": "str"},
        "timeout": {"type": "int", "default": 1800},
    }


def check_paths(params: Json) -> Path:
    """All paths that have to be there; returns the Containerfile's."""
    containerfile = Path(params["context"]) / params["containerfile"]
    for option, path in (
        ("context", Path(params["context"])),
        ("containerfile", containerfile),
        ("auth_file", params["auth_file"] and Path(params["auth_file"])),
        ("ca_bundle", params["ca_bundle"] and Path(params["ca_bundle"])),
    ):
        if path and not path.exists():
            raise image.ContextError(f"{option}: nothing at {path} on the build host")
    return containerfile


def work(module: AnsibleModule, folder: Path, result: Json) -> None:
    """Finds out whether the registry has the content, and builds and pushes when it has not."""
    params = module.params
    containerfile = check_paths(params)
    staged = folder / "context"
    staged.mkdir()
    image.stage(staged, Path(params["context"]), params["extra_context"])
    tools.require("skopeo")
    registry = tools.Registry(params["name"], params["tls_verify"], params["auth_file"])
    bases = {base: registry.digest(base, params["base_next_step"]) for base in params["bases"]}
    build_args = {name: str(value) for name, value in params["build_args"].items()}
    key = image.content_key(staged, containerfile.read_text(), build_args, bases)
    reference = f"{params['name']}:{params['tag'] or key[: image.TAG_DIGITS]}"
    result.update(image=reference, key=key)
    found = registry.find(reference)
    if found and found.key == key:
        result["digest"] = found.digest
        return
    result.update(changed=True, would_build=module.check_mode)
    if module._diff:
        before = f"{reference} {found.key or 'without a key'}\n" if found else ""
        result["diff"] = {"before": before, "after": f"{reference} {key}\n"}
    if module.check_mode:
        return
    tools.require("podman")
    for base in bases:
        registry.pull(base, params["timeout"])
    what = tools.Build(reference, key, staged, containerfile, build_args, params["ca_bundle"])
    image_id = tools.build(what, folder, params["timeout"])
    result["built"] = True
    result["digest"] = registry.push(image_id, reference, folder, params["timeout"])
    result["pushed"] = True


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    result: Json = {"changed": False, "digest": None, "built": False, "pushed": False, "would_build": False}
    folder = Path(tempfile.mkdtemp(prefix="accelerator-image-", dir=module.tmpdir))
    try:
        work(module, folder, result)
    except tools.ToolError as error:
        said = f":\n{error.output}" if error.output else ""
        module.fail_json(msg=f"{error}{said}", **{**result, "changed": False})
    except (image.ContextError, OSError) as error:
        module.fail_json(msg=str(error), **{**result, "changed": False})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    module.exit_json(**result)


if __name__ == "__main__":
    main()

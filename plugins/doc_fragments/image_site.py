# SPDX-License-Identifier: Apache-2.0
"""What the modules that build images need to know of the site."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - python >= 3.9
  - podman >= 4.0
  - skopeo >= 1.9
options:
  tls_verify:
    description:
      - Whether the registry that is pushed to, and bases from it, must have a TLS certificate that can be verified.
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
  proxy:
    description:
      - The proxy for pulls, pushes and the commands in the Containerfile. It does not get into the image, its history
        or the key. What is left out is as in the environment of the task.
      - A proxy with a password belongs into that environment.
    type: dict
    suboptions:
      http:
        description: Proxy for http.
        type: str
      https:
        description: Proxy for https.
        type: str
      no_proxy:
        description: Hosts, domains and networks that are reached without it, separated by commas.
        type: str
  signing:
    description:
      - Key and certificate that sign kernel modules. A Containerfile mounts them as the secrets C(signing-key) and
        C(signing-certificate); they get into no layer, history, message or log.
      - The certificate's digest goes into the image's key, and to the Containerfile as build argument C(SIGNER).
    type: dict
    suboptions:
      key:
        description: The private key in PEM form, without a passphrase, on the build host.
        type: path
      certificate:
        description: Its certificate, PEM or DER, on the build host.
        type: path
      key_data:
        description: Instead of O(signing.key), its content in base64, as in the data of a Secret.
        type: str
      certificate_data:
        description: Instead of O(signing.certificate), its content in base64.
        type: str
  timeout:
    description: Seconds that one step (a pull, the build, the push) may take.
    type: int
    default: 1800
"""

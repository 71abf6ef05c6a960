# SPDX-License-Identifier: Apache-2.0
"""Finds out whether a registry has an image's content, and builds and pushes what it lacks. PRIVATE to this collection.

Several images at a time: they share what was asked of registries, and each has a folder and a result of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image as image
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image_tools as tools

Json = t.Dict[str, t.Any]

KEY, CERTIFICATE = "signing-key", "signing-certificate"  # the secrets' names, as the Containerfile mounts them
SIGNER = "SIGNER"  # the build argument with the certificate's digest: another signer is another image

# The options of one image, and those of the site that all images of a run have in common.
IMAGE_OPTIONS: Json = {
    "name": {"type": "str", "required": True},
    "tag": {"type": "str"},
    "context": {"type": "path", "required": True},
    "containerfile": {"type": "path", "default": "Containerfile"},
    "extra_context": {"type": "dict", "default": {}},
    "build_args": {"type": "dict", "default": {}},
    "bases": {"type": "list", "elements": "str", "default": []},
    "base_next_step": {"type": "str"},
}
SITE_OPTIONS: Json = {
    "tls_verify": {"type": "bool", "default": True},
    "auth_file": {"type": "path"},
    "ca_bundle": {"type": "path"},
    "proxy": {
        "type": "dict",
        "options": {"http": {"type": "str"}, "https": {"type": "str"}, "no_proxy": {"type": "str"}},
    },
    "signing": {
        "type": "dict",
        "no_log": False,
        "options": {
            "key": {"type": "path", "no_log": False},  # a path is no secret
            "certificate": {"type": "path"},
            "key_data": {"type": "str", "no_log": True},
            "certificate_data": {"type": "str"},
        },
        "required_together": [("key", "certificate"), ("key_data", "certificate_data")],
        "mutually_exclusive": [("key", "key_data")],
        "required_one_of": [("key", "key_data")],
    },
    "timeout": {"type": "int", "default": 1800},
}


class Signer(t.NamedTuple):
    """Who signs: files for the build's secrets, what goes into the key, and what no message may hold."""

    files: t.Dict[str, str]
    digest: str
    hidden: t.List[str]


class Site:
    """What the images of one run have in common, and what was already asked of registries. Used by several threads."""

    def __init__(self, params: Json, folder: Path) -> None:
        self.params = params
        for option in ("auth_file", "ca_bundle"):
            if params[option]:
                existing(option, Path(params[option]))
        self.environment = proxy_environment(params["proxy"] or {})
        self.signer = signer_of(params["signing"], folder) if params["signing"] else None
        self._once: t.Dict[t.Tuple[str, ...], t.Any] = {}
        self._locks: t.Dict[t.Tuple[str, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def registry(self, name: str) -> tools.Registry:
        return tools.Registry(name, self.params["tls_verify"], self.params["auth_file"], self.environment)

    def digest(self, registry: tools.Registry, base: str, next_step: t.Optional[str]) -> str:
        return self._only_once(("digest", base, *registry.flags(base)), lambda: registry.digest(base, next_step))

    def pull(self, registry: tools.Registry, base: str) -> None:
        timeout = self.params["timeout"]
        self._only_once(("pull", base, *registry.flags(base)), lambda: registry.pull(base, timeout))

    def _only_once(self, key: t.Tuple[str, ...], ask: t.Callable[[], t.Any]) -> t.Any:
        """Others wait for the first who asks. One that failed is asked again by the next: its message is their own."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._once:
                self._once[key] = ask()
            return self._once[key]


def proxy_environment(proxy: t.Mapping[str, t.Optional[str]]) -> t.Dict[str, str]:
    """podman hands these to the commands of a build by itself, and keeps them out of the image and its history."""
    given = {"http_proxy": proxy.get("http"), "https_proxy": proxy.get("https"), "no_proxy": proxy.get("no_proxy")}
    return {form: value for name, value in given.items() if value for form in (name, name.upper())}


def signer_of(signing: Json, folder: Path) -> Signer:
    """Data from a Secret is written to the run's own folder, which is removed with all else of the run."""
    files = {}
    for secret, option in ((KEY, "key"), (CERTIFICATE, "certificate")):
        path = Path(signing[option]) if signing[option] else folder / secret
        if not signing[option]:
            path.touch(mode=0o600)
            path.write_bytes(_decoded(signing[f"{option}_data"], f"signing.{option}_data"))
        existing(f"signing.{option}", path)
        files[secret] = str(path)
    digest = hashlib.sha256(Path(files[CERTIFICATE]).read_bytes()).hexdigest()
    key = Path(files[KEY]).read_bytes().decode("ascii", "ignore")
    return Signer(files, f"sha256:{digest}", [line for line in key.split() if len(line) >= SHORTEST_HIDDEN])


SHORTEST_HIDDEN = 16  # shorter lines of a key give nothing away; as text they might stand anywhere


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise image.ContextError(f"{what}: expected base64, as in a Secret's data; seen something else") from None


def existing(option: str, path: Path) -> None:
    if not path.exists():
        raise image.ContextError(f"{option}: nothing at {path} on the build host")


def fresh_result() -> Json:
    return {"changed": False, "digest": None, "built": False, "pushed": False, "would_build": False}


def ensure(params: Json, site: Site, folder: Path, check_mode: bool, result: Json) -> None:
    """One image. `result` is filled as far as it goes, also when it ends in an error."""
    context, containerfile = Path(params["context"]), Path(params["context"]) / params["containerfile"]
    existing("context", context)
    existing("containerfile", containerfile)
    staged = folder / "context"
    staged.mkdir(parents=True)
    image.stage(staged, context, params["extra_context"])
    tools.require("skopeo")
    registry = site.registry(params["name"])
    bases = {base: site.digest(registry, base, params["base_next_step"]) for base in params["bases"]}
    build_args = {name: str(value) for name, value in params["build_args"].items()}
    if site.signer:
        build_args[SIGNER] = site.signer.digest
    key = image.content_key(staged, containerfile.read_text(), build_args, bases)
    reference = f"{params['name']}:{params['tag'] or key[: image.TAG_DIGITS]}"
    result.update(image=reference, key=key)
    found = registry.find(reference)
    if found and found.key == key:
        result["digest"] = found.digest
        return
    before = f"{reference} {found.key or 'without a key'}\n" if found else ""
    result.update(changed=True, would_build=check_mode, diff={"before": before, "after": f"{reference} {key}\n"})
    if check_mode:
        return
    tools.require("podman")
    for base in bases:
        site.pull(registry, base)
    secrets = site.signer.files if site.signer else {}
    what = tools.Build(
        reference, key, staged, containerfile, build_args, site.params["ca_bundle"], secrets, site.environment
    )
    image_id = tools.build(what, folder, site.params["timeout"])
    result["built"] = True
    result["digest"] = registry.push(image_id, reference, folder, site.params["timeout"])
    result["pushed"] = True


def attempt(params: Json, site: Site, folder: Path, check_mode: bool) -> Json:
    """The result of one image, which has `failed` and `msg` when it failed."""
    result = fresh_result()
    try:
        ensure(params, site, folder, check_mode, result)
    except tools.ToolError as error:
        said = f":\n{error.output}" if error.output else ""
        result.update(failed=True, changed=False, msg=_hidden(f"{error}{said}", site))
    except (image.ContextError, OSError) as error:
        result.update(failed=True, changed=False, msg=_hidden(str(error), site))
    return result


def _hidden(text: str, site: Site) -> str:
    """A driver's build is not ours: should it print the key, we do not pass it on."""
    for line in site.signer.hidden if site.signer else ():
        text = text.replace(line, "***")
    return text


def attempt_all(images: t.Sequence[Json], site: Site, folder: Path, parallel: int, check_mode: bool) -> t.List[Json]:
    """Each image's result, in order. One that fails stops no other."""
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        runs = [
            pool.submit(attempt, params, site, folder / str(number), check_mode) for number, params in enumerate(images)
        ]
        return [run.result() for run in runs]


__all__ = ("IMAGE_OPTIONS", "SITE_OPTIONS", "Site", "attempt", "attempt_all", "fresh_result")

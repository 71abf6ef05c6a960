# SPDX-License-Identifier: Apache-2.0
"""files/driver_container with a real toolkit: kernel modules that stand on one another, signed, and what is refused.

The toolkit and the base are the lab's images for its kernel; they are made when they are not there yet.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "lab"))

from accelerator_lab import images, kernel

CONTAINER = ROOT / "files" / "driver_container"
LOWER = """#include <linux/module.h>
int lower_value(void);
int lower_value(void) { return 7; }
EXPORT_SYMBOL_GPL(lower_value);
MODULE_DESCRIPTION("what another stands on");
MODULE_LICENSE("GPL");
"""
UPPER = """#include <linux/module.h>
int lower_value(void);
static int __init upper_init(void) { return lower_value() == 7 ? 0 : -EINVAL; }
static void __exit upper_exit(void) {}
module_init(upper_init);
module_exit(upper_exit);
MODULE_SOFTDEP("pre: lower");
MODULE_FIRMWARE("acme/upper.bin");
MODULE_DESCRIPTION("what stands on another");
MODULE_LICENSE("GPL");
"""


class Workshop:
    """podman with a storage of its own, the lab's toolkit in it, and a driver's source to build."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kernel = folder, kernel.built().version
        config = folder / "storage.conf"
        config.write_text(f'[storage]\ndriver = "overlay"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n')
        self.environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(config), "BUILDAH_ISOLATION": "chroot"}
        self.take(images.toolkit(self.kernel), "localhost/toolkit:1")
        self.take(images.base(), "localhost/base:1")
        self.source = folder / "source"
        self.key, self.certificate = folder / "key.pem", folder / "certificate.pem"
        argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=vendor", "-days", "2"]
        subprocess.run([*argv, "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)

    def take(self, layout: Path, name: str) -> None:
        argv = ["skopeo", "copy", "--quiet", f"oci:{layout}", f"containers-storage:{name}"]
        subprocess.run(argv, check=True, env=self.environment)

    def write(self, **files: str) -> None:
        """A source with these C files, and firmware."""
        subprocess.run(["rm", "-rf", self.source], check=True)
        (self.source / "firmware" / "acme").mkdir(parents=True)
        (self.source / "firmware" / "acme" / "upper.bin").write_text("firmware\n")
        for name, text in files.items():
            (self.source / f"{name}.c").write_text(text)
        (self.source / "Kbuild").write_text(f"obj-m := {' '.join(f'{name}.o' for name in files)}\n")

    def build(self, *options: str, module: str = "upper") -> subprocess.CompletedProcess[str]:
        arguments = {
            "BUILDER": "localhost/toolkit:1",
            "BASE": "localhost/base:1",
            "KERNEL_VERSION": self.kernel,
            "MODULE_NAME": module,
            "FIRMWARE": "acme/upper.bin",
        }
        argv = [
            "podman",
            "build",
            "--layers",
            "--file",
            str(CONTAINER / "Containerfile"),
            "--tag",
            "localhost/driver:1",
        ]
        argv += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        context = self.folder / "context"
        subprocess.run(["rm", "-rf", context], check=True)
        context.mkdir()
        for script in CONTAINER.glob("*.sh"):
            (context / script.name).write_bytes(script.read_bytes())
        subprocess.run(["cp", "-r", self.source, context / "source"], check=True)
        return subprocess.run(
            [*argv, *options, str(context)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def signing(self) -> list[str]:
        return [
            f"--secret=id=signing-key,src={self.key}",
            f"--secret=id=signing-certificate,src={self.certificate}",
            f"--build-arg=SIGNER=sha256:{hashlib.sha256(self.certificate.read_bytes()).hexdigest()}",
        ]

    def file(self, path: str) -> bytes:
        """A file of the image that was built last, of which nothing is run."""
        argv = ["podman", "create", "--pull=never", "localhost/driver:1", "none"]
        made = subprocess.run(argv, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()
        copy = self.folder / "copy"
        try:
            subprocess.run(["podman", "cp", f"{made}:{path}", str(copy)], env=self.environment, check=True)
            return copy.read_bytes()
        finally:
            subprocess.run(["podman", "rm", made], env=self.environment, check=True, capture_output=True)
            copy.unlink(missing_ok=True)

    def modules(self, name: str) -> str:
        return f"/opt/lib/modules/{self.kernel}/{name}"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("workshop"))
    yield made
    subprocess.run(["podman", "system", "reset", "--force"], env=made.environment, capture_output=True)


def test_modules_that_stand_on_one_another_with_firmware_signed(workshop: Workshop) -> None:
    workshop.write(upper=UPPER, lower=LOWER)
    done = workshop.build(*workshop.signing())
    assert done.returncode == 0, done.stdout
    assert "extra/upper.ko: extra/lower.ko\n" in workshop.file(workshop.modules("modules.dep")).decode()
    assert "softdep upper pre: lower" in workshop.file(workshop.modules("modules.softdep")).decode()
    assert workshop.file("/firmware/acme/upper.bin") == b"firmware\n"
    assert re.search(r"signed 2 modules with sha(256|512), certificate sha256:[0-9a-f]{64}", done.stdout)
    module = workshop.folder / "upper.ko"
    module.write_bytes(workshop.file(workshop.modules("extra/upper.ko")))
    signer = subprocess.run(["modinfo", "-F", "signer", module], check=True, capture_output=True, text=True).stdout
    assert signer.strip() == "vendor"
    lines = [line for line in workshop.key.read_text().splitlines() if not line.startswith("---")]
    layers = [path for path in (workshop.folder / "graph").rglob("*") if path.is_file() and path.stat().st_size < 10**6]
    assert len(layers) > 100
    assert [path for path in layers if any(line.encode() in path.read_bytes() for line in lines)] == []
    assert [line for line in lines if line in done.stdout] == []


def test_without_a_key_nothing_is_signed_and_that_is_said(workshop: Workshop) -> None:
    workshop.write(upper=UPPER, lower=LOWER)
    done = workshop.build()
    assert done.returncode == 0, done.stdout
    assert "driver image: not signed: no key was given" in done.stdout
    assert not workshop.file(workshop.modules("extra/upper.ko")).endswith(b"~Module signature appended~\n")


def test_a_symbol_that_nobody_has_is_named(workshop: Workshop) -> None:
    """The source's own Makefile may let it through: modpost only warns then."""
    workshop.write(upper=UPPER)
    (workshop.source / "Kbuild").rename(workshop.source / "Build")
    recipe = "all:\n\tcp Build Kbuild\n\t$(MAKE) -C $(KDIR) M=$(CURDIR) KBUILD_MODPOST_WARN=1 modules\n"
    (workshop.source / "Makefile").write_text(recipe)
    done = workshop.build()
    assert done.returncode != 0, done.stdout
    assert "driver image: error: symbols that neither kernel" in done.stdout
    assert "upper.ko needs lower_value" in done.stdout


def test_a_signer_without_its_key_is_refused(workshop: Workshop) -> None:
    """An image that is to be signed does not come out unsigned."""
    workshop.write(upper=UPPER, lower=LOWER)
    done = workshop.build("--build-arg=SIGNER=sha256:0")
    assert done.returncode != 0, done.stdout
    assert "the modules are to be signed, but there is no /run/secrets/signing-key" in done.stdout


def test_a_certificate_of_another_key_is_refused(workshop: Workshop) -> None:
    """By openssl, which a driver toolkit has; the lab's has none, so the script runs here, on what was built."""
    other, image = workshop.folder / "other.pem", workshop.folder / "image"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-days", "2"]
    subprocess.run([*argv, "-keyout", workshop.folder / "x.pem", "-out", other], check=True, capture_output=True)
    secrets, headers = workshop.folder / "secrets", workshop.folder / "headers"
    for folder in (secrets, headers / "scripts"):
        folder.mkdir(parents=True)
    (secrets / "signing-key").write_bytes(workshop.key.read_bytes())
    (secrets / "signing-certificate").write_bytes(other.read_bytes())
    (headers / "scripts" / "sign-file").write_text("#!/bin/sh\nprintf '~Module signature appended~\\n' >> \"$4\"\n")
    (headers / "scripts" / "sign-file").chmod(0o755)
    extra = image / "opt" / "lib" / "modules" / "6.1.0-test" / "extra"
    extra.mkdir(parents=True)
    (extra / "upper.ko").write_bytes(b"module\n")
    script = (CONTAINER / "sign-modules.sh").read_text().replace("/usr/src/kernels/$KERNEL_VERSION", str(headers))
    environment = {**os.environ, "KERNEL_VERSION": "6.1.0-test", "SIGNER": "sha256:0", "SECRETS": str(secrets)}

    def sign() -> subprocess.CompletedProcess[str]:
        argv = ["sh", "-c", script, "sign-modules.sh", str(image)]
        return subprocess.run(argv, env=environment, capture_output=True, text=True)

    refused = sign()
    assert refused.returncode == 1, refused.stdout
    assert "the signing certificate is not that of the signing key" in refused.stderr
    (secrets / "signing-certificate").write_bytes(workshop.certificate.read_bytes())
    assert sign().stdout == "driver image: signed 1 modules with sha256, certificate sha256:0\n"

# SPDX-License-Identifier: Apache-2.0
"""Our .proto files are our own text: are they the kubelet's APIs, field by field?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from deviceplugin_v1beta1 import api_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from podresources_v1 import api_pb2 as pods_pb2

MODULE = "k8s.io/kubelet@v0.35.4"
API = "pkg/apis/deviceplugin/v1beta1/api.proto"
PODS = "pkg/apis/podresources/v1/api.proto"


def kubelet_module() -> Path:
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ecosystem-edge-accelerator/go/mod"
    )
    if (cache / MODULE / API).exists():
        return cache / MODULE
    if not shutil.which("go"):
        pytest.skip(f"{MODULE} is not in {cache} and there is no go to download it")
    environment = {**os.environ, "GOMODCACHE": str(cache), "GOFLAGS": "-modcacherw"}
    got = subprocess.run(
        ["go", "mod", "download", "-json", MODULE],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )
    if got.returncode:
        pytest.skip(f"{MODULE} cannot be had: {got.stdout or got.stderr}")
    return Path(json.loads(got.stdout)["Dir"])


def meaning(file: FileDescriptorProto) -> FileDescriptorProto:
    """What is on the wire: names, numbers and types; not the file's name, its options or its order."""
    bare = FileDescriptorProto()
    bare.CopyFrom(file)
    for field in ("name", "options", "source_code_info"):
        bare.ClearField(field)
    messages = sorted(bare.message_type, key=lambda message: message.name)
    services = sorted(bare.service, key=lambda service: service.name)
    del bare.message_type[:], bare.service[:]
    bare.message_type.extend(messages)
    bare.service.extend(services)
    for message in bare.message_type:
        for field_ in message.field:
            field_.ClearField("json_name")
        for nested in message.nested_type:
            for field_ in nested.field:
                field_.ClearField("json_name")
    for service in bare.service:
        for method in service.method:
            method.ClearField("options")
    return bare


@pytest.mark.parametrize(("path", "own"), [(API, api_pb2), (PODS, pods_pb2)], ids=["device plugin", "pods"])
def test_proto_is_the_kubelets(path: str, own: ModuleType, tmp_path: Path) -> None:
    theirs = kubelet_module() / path
    out = tmp_path / "set"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{theirs.parent}",
            f"--descriptor_set_out={out}",
            theirs.name,
        ],
        check=True,
        timeout=60,
    )
    (published,) = FileDescriptorSet.FromString(out.read_bytes()).file
    ours = FileDescriptorProto()
    own.DESCRIPTOR.CopyToProto(ours)
    assert len(ours.message_type) > 10
    assert meaning(ours) == meaning(published)

# SPDX-License-Identifier: Apache-2.0
"""The least that is a device plugin in Python, as a yardstick: registers once, looks every 10 s, never comes back.

Usage: minimal_plugin.py PLUGIN_FOLDER RESOURCE FOLDER_OF_DEVICES PREFIX
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from deviceplugin_v1beta1 import api_pb2 as api
from deviceplugin_v1beta1 import api_pb2_grpc as rpc

PERIOD = 10.0  # seconds, as the plugins that poll have it


class Minimal(rpc.DevicePluginServicer):
    def __init__(self, folder: Path, prefix: str) -> None:
        self.paths = {path.name.removeprefix(prefix): path for path in sorted(folder.glob(f"{prefix}*"))}

    def GetDevicePluginOptions(self, request: api.Empty, context: object) -> api.DevicePluginOptions:
        return api.DevicePluginOptions()

    def ListAndWatch(self, request: api.Empty, context: object) -> Iterator[api.ListAndWatchResponse]:
        while True:
            health = {key: "Healthy" if path.exists() else "Unhealthy" for key, path in self.paths.items()}
            yield api.ListAndWatchResponse(devices=[api.Device(ID=key, health=health[key]) for key in health])
            time.sleep(PERIOD)

    def Allocate(self, request: api.AllocateRequest, context: object) -> api.AllocateResponse:
        return api.AllocateResponse(container_responses=[self._one(one) for one in request.container_requests])

    def _one(self, request: api.ContainerAllocateRequest) -> api.ContainerAllocateResponse:
        paths = [f"/dev/{self.paths[key].name}" for key in request.devices_ids]
        nodes = [api.DeviceSpec(container_path=path, host_path=path, permissions="rw") for path in paths]
        return api.ContainerAllocateResponse(devices=nodes)


def main(plugins: str, resource: str, folder: str, prefix: str) -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    rpc.add_DevicePluginServicer_to_server(Minimal(Path(folder), prefix), server)
    server.add_insecure_port(f"unix:{plugins}/minimal.sock")
    server.start()
    with grpc.insecure_channel(f"unix:{plugins}/kubelet.sock") as kubelet:
        request = api.RegisterRequest(version="v1beta1", endpoint="minimal.sock", resource_name=resource)
        rpc.RegistrationStub(kubelet).Register(request, timeout=10)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])

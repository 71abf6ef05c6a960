# SPDX-License-Identifier: Apache-2.0
"""A kubelet as the plugin sees it: what its device manager of v1.35 does, on sockets in a given folder."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from deviceplugin_v1beta1 import api_pb2, api_pb2_grpc

Devices = dict[str, str]
PATIENCE = 60  # seconds; no promise of anybody's: these tests run beside a lab, which comes first


def until(what: Callable[[], bool], message: str, seconds: float = PATIENCE, pause: float = 0.005) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s: {message}"
        time.sleep(pause)


class FakeKubelet(api_pb2_grpc.RegistrationServicer):
    def __init__(self, folder: Path) -> None:
        self.socket = folder / "kubelet.sock"
        self.registrations: list[api_pb2.RegisterRequest] = []
        self.updates: list[Devices] = []  # each list received, in order
        self.refuse: str | None = None
        self._channels: list[grpc.Channel] = []
        for path in folder.iterdir():  # like the kubelet: all sockets go, other files stay
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        self._workers = ThreadPoolExecutor(max_workers=4)
        self._server = grpc.server(self._workers)
        api_pb2_grpc.add_RegistrationServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()

    def Register(self, request: api_pb2.RegisterRequest, context: grpc.ServicerContext) -> api_pb2.Empty:
        if self.refuse:
            context.abort(grpc.StatusCode.UNKNOWN, self.refuse)
        plugin = self.dial(request.endpoint)
        plugin.GetDevicePluginOptions(api_pb2.Empty(), timeout=PATIENCE)
        self.registrations.append(request)
        threading.Thread(target=self._follow, args=(plugin,), daemon=True).start()
        return api_pb2.Empty()

    def dial(self, endpoint: str) -> api_pb2_grpc.DevicePluginStub:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(f"unix:{self.socket.parent / endpoint}", options=options)
        self._channels.append(channel)
        grpc.channel_ready_future(channel).result(timeout=PATIENCE)
        return api_pb2_grpc.DevicePluginStub(channel)

    def allocate(self, *containers: list[str]) -> api_pb2.AllocateResponse:
        requests = [api_pb2.ContainerAllocateRequest(devices_ids=ids) for ids in containers]
        plugin = self.dial(self.registrations[-1].endpoint)
        return plugin.Allocate(api_pb2.AllocateRequest(container_requests=requests), timeout=PATIENCE)

    def drop_streams(self) -> None:
        """Forgets the plugin while staying alive, as the kubelet does when an old stream ends late."""
        channels, self._channels = self._channels, []
        for channel in channels:
            channel.close()

    def stop(self) -> None:
        self._server.stop(grace=None).wait()
        self._workers.shutdown()  # a Register under way is over, so no stream opens any more
        self.drop_streams()
        self.socket.unlink(missing_ok=True)

    def devices(self) -> Devices:
        return self.updates[-1] if self.updates else {}

    def _follow(self, plugin: api_pb2_grpc.DevicePluginStub) -> None:
        try:
            for update in plugin.ListAndWatch(api_pb2.Empty()):
                self.updates.append({device.ID: device.health for device in update.devices})
        except (grpc.RpcError, ValueError):
            pass  # the plugin or we ended the stream

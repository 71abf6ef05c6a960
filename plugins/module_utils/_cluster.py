# SPDX-License-Identifier: Apache-2.0
"""The only module_util that talks to an API server. PRIVATE to this collection; it can change at any time.

kubernetes.core decides how to log in (kubeconfig, token, certificates, in-cluster, K8S_AUTH_*). Requests are made on
the Kubernetes client's connection pool and answers stay plain JSON: its models cost more than the network does, and
its dynamic client first reads a discovery cache that can be out of date.
"""

from __future__ import annotations

import json
import math
import threading
import time
import typing as t
from urllib.parse import urlencode

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _cluster_discovery as discovery
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster_discovery import Resource
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster_errors import (
    ClusterError,
    Expired,
    Refused,
    Unreachable,
    refused,
    unreachable,
)
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client as k8s_client
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule

try:
    import urllib3
    import yaml
    from kubernetes.client.rest import RESTClientObject
    from kubernetes.config import ConfigException
except ImportError:  # AnsibleK8SModule reports it, with the package's name
    pass

if t.TYPE_CHECKING:
    from collections.abc import Iterator

Json = t.Dict[str, t.Any]
Keep = t.Optional[t.Callable[[Json], t.Any]]

# The API server leaves the contents out; one that cannot answers with all.
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

CONNECT_TIMEOUT = 10  # seconds
READ_TIMEOUT = 60
PAGE = 500  # objects a list request
WATCH_TIMEOUT = 240  # seconds after which the server ends a watch, and we start the next
TRIES = 10  # one a second, while the server says that it has no time, or that a kind is only just coming
LISTS = 3  # beginnings of a list whose pages expire before the last is read


class Api:
    """One API server, as plain JSON. Counts its requests."""

    def __init__(self, configuration: t.Any, headers: t.Mapping[str, t.Any] | None = None) -> None:
        self.server: str = configuration.host
        self.requests = 0
        self._counting = threading.Lock()
        self._configuration = configuration
        self._headers = dict(headers or {})
        self._pool = RESTClientObject(configuration).pool_manager

    def get(
        self, path: str, accept: str = "application/json", read_timeout: float = READ_TIMEOUT, **query: t.Any
    ) -> Json:
        return self._json("GET", path, query, accept=accept, read_timeout=read_timeout)

    def text(self, path: str, read_timeout: float = READ_TIMEOUT, **query: t.Any) -> str:
        """An answer that is no JSON, such as a log or a page of metrics."""
        return _read(self._patiently("GET", path, query, accept="*/*", read_timeout=read_timeout), self.server)

    def lines(self, path: str, seconds: float, **query: t.Any) -> Iterator[str]:
        """The lines of a log as they come, until it ends or nothing comes for so long."""
        response = self._send("GET", path, query, accept="*/*", read_timeout=seconds)
        try:
            for line in _lines(response, self.server):
                yield line.decode(errors="replace")
        finally:
            response.close()

    def post(self, path: str, body: Json) -> Json:
        return self._json("POST", path, {}, body=body)

    def json_patch(self, path: str, operations: t.List[Json]) -> Json:
        return self._json("PATCH", path, {}, body=operations, content_type="application/json-patch+json")

    def delete(self, path: str, options: Json) -> Json:
        """options: DeleteOptions, such as what must be true of the object."""
        return self._json("DELETE", path, {}, body=options)

    def pages(self, path: str, keep: Keep = None, limit: int = PAGE, **query: t.Any) -> t.Tuple[t.List[t.Any], str]:
        """All items of a list and its resource version; read in pages, so that no answer is huge.

        keep: what to remember of an item, None for nothing of it: so much stays in memory, and a page.
        """
        for _again in range(LISTS - 1):
            try:
                return self._pages(path, keep, limit, query)
            except Expired:
                continue
        return self._pages(path, keep, limit, query)

    def _pages(self, path: str, keep: Keep, limit: int, query: Json) -> t.Tuple[t.List[t.Any], str]:
        items: list[t.Any] = []
        token = ""
        while True:
            extra: Json = {"continue": token} if token else {}
            page = self.get(path, limit=limit, **query, **extra)
            found = page.get("items") or []
            items += found if keep is None else (kept for one in found if (kept := keep(one)) is not None)
            token = page["metadata"].get("continue") or ""
            if not token:
                return items, page["metadata"].get("resourceVersion", "")

    def watch(self, path: str, resource_version: str, seconds: float, **query: t.Any) -> Iterator[Json]:
        """Events until the time is over or the server ends the stream."""
        limit = max(1, min(math.ceil(seconds), WATCH_TIMEOUT))
        wanted = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": limit,
            **query,
        }
        response = self._send("GET", path, wanted, read_timeout=limit + 5)
        try:
            for line in _lines(response, self.server):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        raise Expired(event["object"].get("message", ""))
                    raise Unreachable(f"watch of {path} ended: {event['object'].get('message')}")
                yield event
        finally:
            response.close()

    def discover(self) -> t.Dict[str, t.List[Resource]]:
        """All served group/versions with their resources: two requests on anything newer than Kubernetes 1.26."""
        found: dict[str, list[Resource]] = {}
        for root in ("/api", "/apis"):
            answer = self.get(root, accept=discovery.ACCEPT)
            if answer["kind"] == "APIGroupDiscoveryList":
                found.update(discovery.aggregated(answer))
            else:
                for prefix, group_version in discovery.unaggregated(answer):
                    # 503: what serves the group, of metrics for example, is out of order.
                    found[group_version] = self._resources(f"{prefix}/{group_version}", group_version, (404, 503))
        return found

    def discover_one(self, api_version: str) -> t.List[Resource]:
        """The resources of one group/version, which need not be served.

        An API server that has just started says 503 of what it does not know yet, and that is no absence.
        """
        root = "apis" if "/" in api_version else "api"
        return self._resources(f"/{root}/{api_version}", api_version, (404,))

    def _resources(self, path: str, api_version: str, none: t.Tuple[int, ...]) -> t.List[Resource]:
        try:
            return discovery.resources(api_version, self.get(path))
        except Refused as error:
            if error.status in none:
                return []
            raise

    def _json(self, method: str, path: str, query: Json, **options: t.Any) -> Json:
        response = self._patiently(method, path, query, **options)
        try:
            return json.loads(_read(response, self.server))
        except (ValueError, RecursionError):  # the second from what a pod behind the proxy nested without end
            raise ClusterError(
                f"{self.server}{path} did not answer with JSON: expected a Kubernetes API server there; "
                f"next: curl -k {self.server}/version"
            ) from None

    def _patiently(self, method: str, path: str, query: Json, **options: t.Any) -> t.Any:
        """429 means that nothing has been done, so any request may be repeated."""
        for _again in range(TRIES - 1):
            try:
                return self._send(method, path, query, **options)
            except Refused as error:
                if error.status != 429:
                    raise
            pause(1)
        return self._send(method, path, query, **options)

    def _send(
        self,
        method: str,
        path: str,
        query: Json,
        body: t.Any = None,
        accept: str = "application/json",
        content_type: str = "application/json",
        read_timeout: float = READ_TIMEOUT,
    ) -> t.Any:
        with self._counting:
            self.requests += 1
        wanted = {key: value for key, value in query.items() if value not in (None, "", [])}
        url = f"{self.server}{path}" + (f"?{urlencode(wanted)}" if wanted else "")
        options = {
            "headers": self._request_headers(accept, content_type),
            "body": json.dumps(body) if body is not None else None,
            "preload_content": False,
            "retries": False,
            "timeout": urllib3.Timeout(connect=CONNECT_TIMEOUT, read=read_timeout),
        }
        try:
            response = self._request(method, url, options)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(self.server, error) from error
        if response.status >= 300:
            refusal = refused(self.server, method, path, response.status, _read(response, self.server))
            raise Expired(str(refusal)) if response.status == 410 else refusal
        return response

    def _request(self, method: str, url: str, options: Json) -> t.Any:
        try:
            return self._pool.request(method, url, **options)
        except urllib3.exceptions.ProtocolError:
            # A server may close an idle connection just when it is used again, and nobody has heard the question.
            if method != "GET":
                raise
            return self._pool.request(method, url, **options)

    def _request_headers(self, accept: str, content_type: str) -> t.Any:
        headers = urllib3._collections.HTTPHeaderDict()
        headers["Accept"] = accept
        headers["User-Agent"] = "ecosystem_edge.accelerator"
        headers["Content-Type"] = content_type
        for setting in self._configuration.auth_settings().values():
            if setting["in"] == "header":
                headers[setting["key"]] = setting["value"]
        for name, value in self._headers.items():
            for one in value if isinstance(value, list) else [value]:
                headers.add(name, one)
        return headers


def _read(response: t.Any, server: str) -> str:
    try:
        return response.read().decode(errors="replace")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(server, error) from error


def _lines(response: t.Any, server: str) -> Iterator[bytes]:
    rest = b""
    try:
        for chunk in response.stream(None):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in lines if line.strip())
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(server, error) from error


def cluster_module(argument_spec: Json, **kwargs: t.Any) -> AnsibleK8SModule:
    """An Ansible module with kubernetes.core's authentication options."""
    return AnsibleK8SModule(
        module_class=AnsibleModule,
        argument_spec={**AUTH_ARG_SPEC, **argument_spec},
        supports_check_mode=True,
        **kwargs,
    )


def run_module(run: t.Callable[[t.Any], None], argument_spec: Json, **kwargs: t.Any) -> None:
    """The whole of a module that talks to a cluster: what goes wrong there is its message, and no traceback."""
    module = cluster_module(argument_spec, **kwargs)
    try:
        run(module)
    except ClusterError as error:
        module.fail_json(msg=str(error))


def connect(module: AnsibleK8SModule) -> Api:
    """Logs in as kubernetes.core does.

    get_api_client() would also read discovery, without any time limit, before it returns; so its parts are used.
    """
    auth = k8s_client._create_auth_spec(module)
    try:
        return Api(k8s_client._create_configuration(auth), k8s_client._create_headers(module))
    except (ConfigException, OSError, TypeError, ValueError, yaml.YAMLError) as error:
        config = auth.get("kubeconfig")
        where = f" with kubeconfig {config}" if isinstance(config, str) else ""
        raise ClusterError(
            f"no way to log in to a cluster{where}: {' '.join(str(error).split())}; next: give kubeconfig "
            "(K8S_AUTH_KUBECONFIG), or host and api_key (K8S_AUTH_HOST, K8S_AUTH_API_KEY)"
        ) from error


def pause(seconds: float) -> None:
    """Between two tries; here, so that tests need not wait."""
    time.sleep(seconds)


__all__ = (
    "METADATA",
    "Api",
    "ClusterError",
    "Expired",
    "Refused",
    "Resource",
    "Unreachable",
    "cluster_module",
    "connect",
    "pause",
    "run_module",
)

# SPDX-License-Identifier: Apache-2.0
"""Flags, and what they start. Credentials: the pod's service account, else $KUBECONFIG."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from pathlib import Path

import kopf
from prometheus_client import REGISTRY, start_http_server

from accelerator_operator.api import Api
from accelerator_operator.controller import Controller
from accelerator_operator.handlers import Loops, register
from accelerator_operator.metrics import Metrics
from accelerator_operator.objects import Kind
from accelerator_operator.telling import Teller


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="accelerator_operator", description=__doc__)
    parser.add_argument("--definition", type=Path, default=Path("/etc/accelerator/definition.json"), metavar="FILE")
    parser.add_argument("--platform", choices=["kubernetes", "openshift"], default="kubernetes")
    parser.add_argument("--metrics-port", type=int, default=8080, metavar="PORT")
    parser.add_argument("--health-port", type=int, default=8081, metavar="PORT")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> None:
    definition = json.loads(options.definition.read_text())
    where, namespace = definition["operator"]["api"], definition["namespace"]
    custom = Kind(where["group"], where["version"], where["plural"])
    api = Api(namespace, where["kind"], custom)
    metrics = Metrics(where["kind"], REGISTRY)
    start_http_server(options.metrics_port)
    controller = Controller(definition, options.platform, api, metrics, Teller(definition, api))
    registry = kopf.OperatorRegistry()
    loops = Loops(controller.reconcile)
    register(
        registry, custom, definition["name"], loops, controller.use_nodes, controller.count_nodes, on_stop=api.close
    )
    await kopf.operator(
        registry=registry,
        standalone=True,
        namespaces=[namespace],
        liveness_endpoint=f"http://0.0.0.0:{options.health_port}/healthz",
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("aiohttp.access", "httpx2", "kopf.objects"):  # a line for each request, each probe, each event
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(run(arguments()))


if __name__ == "__main__":
    main()

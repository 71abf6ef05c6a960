#!/usr/bin/env bash
# mypy over the collection's Python (through the collection's import path) and over the lab and its tests.
set -euo pipefail
cd "$(dirname "$0")/.."
root=.ansible/collections
mkdir -p build
MYPYPATH=$root mypy --cache-dir build/mypy-plugins -p ansible_collections.ecosystem_edge.accelerator.plugins
MYPYPATH=.:lab mypy --cache-dir build/mypy-lab lab
MYPYPATH=tests mypy --cache-dir build/mypy-tests tests/phases.py tests/tiers.py tests/closing.py

#!/usr/bin/env bash
# Runs molecule scenarios on the lab:  tests/molecule.sh default   or   tests/molecule.sh --all
set -euo pipefail
cd "$(dirname "$0")/.."
lab/lab up
export MOLECULE_GLOB='molecule/*/molecule.yml'
if [ "$1" = --all ]; then exec lab/lab run molecule test --all; fi
exec lab/lab run molecule test -s "$1"

#!/usr/bin/env bash
# Copies what git tracks or would track to a folder, as it is in the work tree:  tests/copy_tree.sh DESTINATION
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
# A file that was deleted and not yet committed is no failure.
git ls-files -z --cached --others --exclude-standard |
  tar -c --null --ignore-failed-read --warning=no-failed-read -T - | tar -x -C "$1"

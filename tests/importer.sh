#!/usr/bin/env bash
# What Automation Hub runs on an upload: galaxy-importer, with its own ansible-lint, on the tarball's content.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/copy" "$tree/out"
tests/copy_tree.sh "$tree/copy"
cat > "$tree/importer.cfg" <<'CFG'
[galaxy-importer]
CHECK_REQUIRED_TAGS=True
RUN_ANSIBLE_LINT=True
OFFLINE_ANSIBLE_LINT=True
CFG
git init -q "$tree/copy"
cd "$tree"
GALAXY_IMPORTER_CONFIG=$tree/importer.cfg python -m galaxy_importer.main --git-clone-path copy --output-path out

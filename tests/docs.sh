#!/usr/bin/env bash
# Plugin and role documentation (antsibull-docs) and the changelog.
set -euo pipefail
cd "$(dirname "$0")/.."
# Of all installed collections only the one whose documentation ours extends: the others cost minutes.
export ANSIBLE_COLLECTIONS_PATH=$PWD/.ansible/collections ANSIBLE_COLLECTIONS_SCAN_SYS_PATH=False
antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs all .
antsibull-changelog lint

#!/usr/bin/env bash
# site.yml's check mode on the lab with the oldest ansible-core that meta/runtime.yml promises.
set -euo pipefail
cd "$(dirname "$0")/.."
make --no-print-directory .venv-2.18/.ready
bin=$PWD/.venv-2.18/bin
version=$("$bin/ansible" --version)
echo "${version%%$'\n'*}"
[[ $version == *"core 2.18."* ]] || { echo "expected ansible-core 2.18, see the line above" >&2; exit 1; }
# Only ours: kubernetes.core is the one of that ansible package, not of .venv.
collections=$PWD/build/core-2.18
mkdir -p "$collections/ansible_collections/ecosystem_edge"
ln -sfn "$PWD" "$collections/ansible_collections/ecosystem_edge/accelerator"
# shellcheck disable=SC2016  # LAB_OVERRIDES is set by lab/lab
exec lab/lab run env ANSIBLE_COLLECTIONS_PATH="$collections" sh -c '"$1" playbooks/site.yml --check -e "@$LAB_OVERRIDES"' sh "$bin/ansible-playbook"

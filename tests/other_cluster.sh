#!/usr/bin/env bash
# The main job on a cluster that is named on purpose:  tests/other_cluster.sh KUBECONFIG ask|yes [ARGUMENTS…]
set -euo pipefail
cd "$(dirname "$0")/.."
kubeconfig=$1 ask=$2
shift 2
if [ ! -r "$kubeconfig" ]; then
  echo "demo: CLUSTER=$kubeconfig: expected a readable kubeconfig, found none. next: make demo CLUSTER=/path/to/kubeconfig" >&2
  exit 1
fi
export K8S_AUTH_KUBECONFIG=$kubeconfig
ansible-playbook playbooks/plan.yml "$@"
if [ "$ask" = ask ]; then
  echo "Install this on the cluster above? [y/N]" # a whole line: the runner of the phases shows no less
  read -r answer || answer=n
  [ "$answer" = y ] || { echo "demo: nothing was changed"; exit 1; }
fi
exec ansible-playbook playbooks/site.yml "$@"

#!/usr/bin/env bash
# Has apt's package lists fresh: a new machine has none, and an old one's name packages that the archive has no more.
# Without the right to write them, or without a network, what is there must do.
set -euo pipefail
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo --non-interactive)
for _try in $(seq 120); do
  if said=$("${root[@]}" apt-get -q update 2>&1); then exit 0; fi
  # Another program's update: of this run, or the machine's daily one.
  grep -qE 'Could not get lock|Unable to (acquire|lock)' <<<"$said" || break
  sleep 5
done
echo "apt_lists: not updated, going on with the lists that are there: ${said##*$'\n'}"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The functional suite or the benchmark in another machine, on its own kernel, which must be one of Debian's.
# Usage: tests/node.sh suite|bench COMMAND…      COMMAND… runs a shell command there as root, with its standard input:
#   tests/node.sh suite ../../lab/lab ssh node-1
#   tests/node.sh bench ssh root@somewhere
# Builds the module for that kernel (tests/headers.sh), copies it with the tests to a folder there, runs them and deletes it.
# The machine needs python3, kmod and tar; the module must not be loaded there. Prints TAP.
set -euo pipefail
name=node.sh
command=("${@:2}")
[[ ${command[0]:-} != */* ]] || command[0]=$(realpath "${command[0]}")
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR source=lib.sh
. tests/lib.sh

case "${1:-}" in
  suite) program=selftest.py ;;
  bench) program=bench.py ;;
  *) die "usage: tests/node.sh suite|bench COMMAND…, seen: '${1:-}'" ;;
esac
[ ${#command[@]} -gt 0 ] || die "expected a command that leads into the machine, seen none"

there() { "${command[@]}" "$1"; }

kernel=$(there "uname -r" </dev/null) || die "${command[*]} uname -r failed"
loaded=$(there "ls -d /sys/module/ptemplate_char_dev 2>/dev/null || true" </dev/null)
[ -z "$loaded" ] || die "expected a machine without the module, seen $loaded there; next: take the accelerator off it" \
  "(playbooks/teardown.yml), or use another: make down, lab/lab up"
folder=build/$kernel
if [ ! -e "$folder/ptemplate_char_dev.ko" ] || [ -n "$(find Kbuild probe.sh probes ./*.[ch] -newer "$folder/ptemplate_char_dev.ko")" ]; then
  tests/headers.sh "linux-headers-$kernel" >&2
fi
make -s programs >&2
remote=/var/tmp/ptemplate-selftest
mapfile -t scripts < <(cd tests && ls selftest*.py bench.py)
tar -cf - -C "$folder" ptemplate_char_dev.ko -C "$PWD/build" stress bench -C "$PWD/tests" "${scripts[@]}" |
  there "rm -rf $remote && mkdir $remote && tar -xf - -C $remote"
# Faults and holders are in debugfs, which a distribution may leave unmounted; who mounts it takes it away again.
debug=/sys/kernel/debug
mounted=$(there "mountpoint -q $debug || { mount -t debugfs debugfs $debug && echo yes; }" </dev/null)
status=0
there "cd $remote && python3 $program ptemplate_char_dev.ko" </dev/null || status=$?
there "rm -rf $remote" </dev/null
[ -z "$mounted" ] || there "umount $debug" </dev/null
exit "$status"

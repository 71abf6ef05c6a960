#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the module's functional suite in User-Mode Linux with KASAN, lockdep and fault injection: a kernel as a process,
# without a virtual machine. Usage: tests/uml.sh kernel|run
#   kernel  build that kernel (about 4 minutes on 2 cores, once for each version of Debian's source) and stop
#   run     also build the module for it and run tests/selftest.py in it; exit status 0 if all passed
# Needs: gcc make flex bison bc kmod python3 xz-utils, and apt sources that have linux-source-6.1.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
package=linux-source-6.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ecosystem-edge-accelerator/uml
# Not DEBUG_ATOMIC_SLEEP: it wants preemption counts, which User-Mode Linux has none of (ARCH_NO_PREEMPT).
config="KASAN KASAN_VMALLOC PROVE_LOCKING DEBUG_KMEMLEAK DEBUG_LIST DEBUG_FS KUNIT FAULT_INJECTION FAILSLAB \
  FAULT_INJECTION_DEBUG_FS MODULES MODULE_UNLOAD DEVTMPFS TMPFS EXPERT"
# Not needed here, and a third of the time that the build takes. Static linking fails with Debian's libc.
without="NET EXT4_FS REISERFS_FS HID INPUT SWAP STATIC_LINK"

die() { echo "uml.sh: $*" >&2; exit 1; }

prerequisites() {
  local tool
  for tool in gcc make flex bison bc xz kmod python3 apt-get; do
    command -v "$tool" >/dev/null ||
      die "$tool not found, expected on PATH; next: apt-get install gcc make flex bison bc xz-utils kmod python3"
  done
  version=$(apt-cache policy "$package" | awk '/Candidate:/ {print $2}')
  case "$version" in
    "" | "(none)") die "no package $package in apt's lists, expected Debian 12's; next: apt-get update" ;;
  esac
  tree=$cache/$(echo "$version $config $without" | sha256sum | cut -c1-12)
}

build_kernel() {
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  [ -e "$tree/.built" ] && return
  echo "uml.sh: building Linux $version for User-Mode Linux in $tree"
  rm -rf "$tree" "$tree.new"
  mkdir "$tree.new"
  (cd "$tree.new" && apt-get -q download "$package=$version" >apt.log 2>&1) ||
    die "apt-get download $package failed: $(tail -n 1 "$tree.new/apt.log"); next: apt-get update"
  dpkg-deb --fsys-tarfile "$tree.new"/*.deb | tar -xO ./usr/src/$package.tar.xz |
    tar -xJ -C "$tree.new" --strip-components 1
  rm "$tree.new"/*.deb
  make -s -C "$tree.new" ARCH=um defconfig
  # shellcheck disable=SC2046,SC2086 # a list of words is meant
  (cd "$tree.new" && scripts/config $(printf -- '-e %s ' $config) $(printf -- '-d %s ' $without))
  make -s -C "$tree.new" ARCH=um olddefconfig
  local option
  for option in $config; do
    grep -q "^CONFIG_$option=y" "$tree.new/.config" || die "CONFIG_$option could not be set; look at $tree.new/.config"
  done
  for option in $without; do
    grep -q "^CONFIG_$option=y" "$tree.new/.config" && die "CONFIG_$option could not be unset; look at $tree.new/.config"
  done
  nice -n 15 make -s -C "$tree.new" ARCH=um -j"$(nproc)" >"$tree.new/build.log" 2>&1 ||
    die "the kernel did not build; whole log: $tree.new/build.log; its end: $(tail -n 20 "$tree.new/build.log")"
  # Under its final name only when whole: a killed build starts again.
  mv "$tree.new" "$tree"
  touch "$tree/.built"
}

run() {
  local folder=$here/build/uml log=$here/build/uml.log
  rm -rf "$folder"
  mkdir -p "$folder"
  cp -r Kbuild Makefile probe.sh probes ptemplate_*.c ptemplate_core.h "$folder"
  make -s -C "$folder" KDIR="$tree" ARCH=um modules >"$folder/build.log" 2>&1 ||
    die "the module did not build: $(tail -n 20 "$folder/build.log")"
  # kmemleak=off: together with KASAN_VMALLOC its first scan did not come back. Without KASAN_VMALLOC it does, and found no
  # leak; but then KASAN takes memory that an unloaded module had for out of bounds.
  # Memory is a file of that size in TMPDIR. Less than 1 GiB, so that asking for too much can be tested.
  TMPDIR=$cache timeout 600 "$tree/linux" mem=512M rootfstype=hostfs rootflags=/ ro quiet log_buf_len=1M kmemleak=off con=null con0=fd:0,fd:1 \
    init="$here/tests/uml.sh" -- inside </dev/null 2>&1 | tee "$log" || true
  grep -q '^uml.sh: exit status 0' "$log" || die "the suite failed or the kernel died; the whole log: $log"
}

# The first process of that kernel. Its root is the host's file system, read-only.
inside() {
  export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t debugfs debugfs /sys/kernel/debug
  mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
  mount -t tmpfs tmpfs /tmp
  local status=0
  python3 tests/selftest.py build/uml/ptemplate_char_dev.ko || status=$?
  echo "uml.sh: exit status $status"
  python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)' # power off
}

case "${1:-}" in
  kernel) prerequisites && build_kernel ;;
  run) prerequisites && build_kernel && run ;;
  inside) inside ;;
  *) die "usage: tests/uml.sh kernel|run, seen: '${1:-}'" ;;
esac

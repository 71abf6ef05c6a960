#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds a kernel for User-Mode Linux, which is a kernel as a process, and prints its build folder. Usage: tests/uml_kernel.sh
# KASAN, lockdep, kmemleak, fault injection and module signatures in one; about 5 minutes on 2 cores, once for each version of Debian's source.
# Needs apt sources that have linux-source-6.1; tests/prerequisites.txt has the tools.
set -euo pipefail
cd "$(dirname "$0")/.."
name=uml_kernel.sh
# shellcheck source-path=SCRIPTDIR source=lib.sh
. tests/lib.sh
# Not DEBUG_ATOMIC_SLEEP: it wants preemption counts, which User-Mode Linux has none of (ARCH_NO_PREEMPT).
# NET is for uevents, which travel by netlink; CGROUPS for the id that the list of holders tells. MODULE_SIG makes the build
# draw a key, in its folder's certs/, which is trusted; signatures are demanded only where a boot says module.sig_enforce.
# SLUB, because SLAB, User-Mode Linux's default, tells kmemleak of a freed object only when it leaves KASAN's quarantine:
# kmemleak then reports what waits there, to which nothing points any more, as leaked.
with="SLUB KASAN KASAN_VMALLOC PROVE_LOCKING DEBUG_LIST DEBUG_KMEMLEAK DEBUG_FS FAULT_INJECTION FAILSLAB FAULT_INJECTION_DEBUG_FS \
  MODULES MODULE_UNLOAD DEVTMPFS TMPFS EXPERT NET UNIX CGROUPS KALLSYMS_ALL DEBUG_INFO_NONE MODULE_SIG MODULE_SIG_SHA256"
# VMAP_STACK hangs: when a module's memory is freed, User-Mode Linux maps the vmalloc area anew, for moments without the stack
# that it runs on, and a timer that strikes then never ends. Static linking fails with Debian's libc. The rest is not needed
# here, and half of the time that the build takes.
without="SLAB VMAP_STACK STATIC_LINK BLOCK INET WIRELESS ETHERNET NETDEVICES UML_NET ETHTOOL_NETLINK HID INPUT SERIO SWAP SOUND KUNIT \
  DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT IO_URING AIO FTRACE QUOTA AUTOFS_FS SECCOMP PTP_1588_CLOCK PPS"

has() { grep -q "^CONFIG_$1=y" "$tree/.config"; }

configure() {
  make -s -C "$source" O="$tree" ARCH=um defconfig
  # shellcheck disable=SC2046,SC2086 # a list of words is meant
  (cd "$tree" && "$source/scripts/config" $(printf -- '-e %s ' $with) $(printf -- '-d %s ' $without))
  make -s -C "$source" O="$tree" ARCH=um olddefconfig
  local option
  for option in $with; do
    has "$option" || die "CONFIG_$option could not be set; look at $tree/.config"
  done
  for option in $without; do
    has "$option" && die "CONFIG_$option could not be unset; look at $tree/.config"
  done
  return 0
}

build() {
  local start=$SECONDS
  echo "$name: building Linux $source_version for User-Mode Linux in $tree"
  rm -rf "$tree"
  mkdir "$tree"
  configure
  nice -n 15 make -s -C "$source" O="$tree" ARCH=um -j"$(nproc)" >"$tree/build.log" 2>&1 ||
    die "the kernel did not build; whole log: $tree/build.log; its end: $(tail -n 20 "$tree/build.log")"
  touch "$tree/.built"
  echo "$name: built in $((SECONDS - start)) s"
}

exec 3>&1 1>&2
need uml
kernel_source
tree=$cache/uml/$(echo "$source_version $with $without" | sha256sum | cut -c1-12)
exec 9>"$tree.lock"
flock 9
[ -e "$tree/.built" ] || build
echo "$tree" >&3

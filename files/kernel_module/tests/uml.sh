#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The module in User-Mode Linux: a kernel as a process, without a virtual machine. Usage: tests/uml.sh [suite|leaks|signed|plants…]
#   suite   the functional suite with KASAN, lockdep and fault injection
#   leaks   loads, faults, removals, opens, and each of them without memory, with kmemleak
#   signed  a kernel that demands signatures loads the signed module, and neither an unsigned nor a changed one
#   plants  the defects in tests/plants, each planted into a copy of the source: the same tests must catch each of them
# Without arguments all of them. The kernel comes from tests/uml_kernel.sh, some minutes the first time.
# UML_KERNEL=FOLDER takes another build of a kernel. Logs are in build/uml/.
set -euo pipefail
cd "$(dirname "$0")/.."
name=uml.sh
# shellcheck source-path=SCRIPTDIR source=lib.sh
. tests/lib.sh
here=$PWD
kernel=${UML_KERNEL:-}

say() { echo "$name: $((SECONDS / 60)):$(printf %02d $((SECONDS % 60))) $*"; }

running=
trap '[ -z "$running" ] || kill "$running"' EXIT
trap 'exit 1' INT TERM

# The module for that kernel, in build/uml/source or build/uml/<plant>; built only when source or kernel changed. Sets $module.
build() { # [PLANT]
  local folder=build/uml/${1:-source} key
  [ -n "$kernel" ] || kernel=$(tests/uml_kernel.sh) || exit 1
  module=$folder/ptemplate_char_dev.ko
  key=$({ cat Kbuild probe.sh probes/*.c ptemplate*.[ch] tests/stress.c ${1:+"tests/plants/$1.patch"}; echo "$kernel"; } | sha256sum)
  [ "$key" = "$(cat "$folder/.key" 2>/dev/null)" ] && return
  stage "$folder"
  [ -z "${1:-}" ] || patch -s -d "$folder" -p1 <"tests/plants/$1.patch" ||
    die "tests/plants/$1.patch does not fit the source any more; next: make it again from $folder"
  make -s -C "$folder" KDIR="$kernel" ARCH=um modules >"$folder/build.log" 2>&1 ||
    die "the module did not build: $(tail -n 20 "$folder/build.log")"
  make -s programs >>"$folder/build.log" 2>&1 || die "the programs did not build: $(tail -n 20 "$folder/build.log")"
  cp build/stress "$folder"
  echo "$key" >"$folder/.key"
}

# Starts that kernel with the suite as its first process; what both say is in $log. Fails if one of the tests did.
boot() { # KMEMLEAK(on|off|signed) TEST…
  local kmemleak=$1 enforce=
  shift
  log=${module%/*}/run-kmemleak-$kmemleak.log
  [ "$kmemleak" != signed ] || { kmemleak=off enforce=module.sig_enforce=1; }
  # Memory is a file of that size in TMPDIR. Less than 1 GiB, so that asking for too much can be tested.
  TMPDIR=$cache/uml timeout 1800 "$kernel/linux" mem=512M root=host rootfstype=hostfs rootflags=/ ro quiet log_buf_len=1M \
    kmemleak="$kmemleak" ${enforce:+"$enforce"} con=null con0=fd:0,fd:1 init="$here/tests/uml.sh" -- inside "$module" "$@" end </dev/null >"$log" 2>&1 &
  running=$! # ended with this script, however that ends
  wait "$running" || true
  running=
  grep -q '^uml.sh: exit status 0' "$log"
}

passed() { echo "$(grep '^ok' "$log" | grep -vc '# SKIP') passed, $(grep -c '# SKIP' "$log" || true) skipped"; }

suite() {
  build
  say "the functional suite with KASAN, lockdep and fault injection"
  boot off || { cat "$log"; die "a test failed or the kernel died; the whole log: $log"; }
  grep -E '^(not )?ok|^# ' "$log"
  say "suite: $(passed)"
}

leaks() {
  build
  say "leaks, with kmemleak"
  # Removals come first: what they leak the others find.
  boot on test_removals_while_others_use_it test_loads_leak_nothing test_use_leaks_nothing test_want_of_memory_leaks_nothing ||
    { cat "$log"; die "a test failed or the kernel died; the whole log: $log"; }
  grep -E '^(not )?ok|^# ' "$log"
  ! grep -q '# SKIP' "$log" || die "expected kmemleak to run, seen: $(grep '# SKIP' "$log")"
  say "leaks: $(passed)"
}

# The key is the one that the kernel's build drew.
signed() {
  build
  local folder=build/uml/signed certs=$kernel/certs
  rm -rf "$folder"
  mkdir "$folder"
  cp "$module" "$folder/unsigned.ko"
  module=$folder/ptemplate_char_dev.ko
  "$kernel/scripts/sign-file" sha256 "$certs/signing_key.pem" "$certs/signing_key.x509" "$folder/unsigned.ko" "$module"
  # A bit of the code, not of the signature at the end.
  LC_ALL=C sed 's/ptemplate_char_dev/ptemplate_chor_dev/' "$module" >"$folder/changed.ko"
  ! cmp -s "$module" "$folder/changed.ko" || die "$folder/changed.ko: expected it to differ from the signed module"
  say "signatures are demanded"
  boot signed signatures || { cat "$log"; die "a test failed or the kernel died; the whole log: $log"; }
  grep -E '^(not )?ok|^# ' "$log"
  say "signed: $(passed)"
}

caught() { # PLANT KMEMLEAK WHAT-THE-LOG-SAYS TEST…, each of which must fail
  local plant=$1 kmemleak=$2 says=$3 title
  shift 3
  build "$plant"
  boot "$kmemleak" "$@" || true
  for title in "${@//_/ }"; do
    grep -qE "^not ok [0-9]+ - ${title#test } \(" "$log" || die "planted $plant: expected $title to fail; log: $log"
  done
  grep -qE "$says" "$log" || die "planted $plant: expected '$says' in $log"
  say "planted $plant: caught by $*: $(grep -m 1 -oE "$says.*" "$log" | tr -d '\r')"
}

plants() {
  caught use_after_free off 'KASAN: .*use-after-free' test_counters
  caught lock_inversion off 'possible circular locking dependency' test_every_allocation_of_use_and_return_may_fail
  caught leak on 'ptemplate_file_new\+0x' test_loads_leak_nothing test_use_leaks_nothing
  caught leak_after_failure on 'leaks: expected 0, seen' test_want_of_memory_leaks_nothing
}

# In a kernel that demands signatures.
signatures() { # FOLDER
  echo "1..3"
  { insmod "$1/ptemplate_char_dev.ko" && ls /dev/ptemplate-0 && rmmod ptemplate_char_dev; } || { echo "not ok 1 - a signed module loads"; return 1; }
  echo "ok 1 - a signed module loads"
  refused "$1/unsigned.ko" 'Key was rejected by service|Required key not available' || { echo "not ok 2 - an unsigned module is refused"; return 1; }
  echo "ok 2 - an unsigned module is refused"
  refused "$1/changed.ko" 'Key was rejected by service|Bad message' || { echo "not ok 3 - a changed module is refused"; return 1; }
  echo "ok 3 - a changed module is refused"
}

refused() { # MODULE WORDS
  local said
  ! said=$(insmod "$1" 2>&1) || return 1
  echo "# $said"
  grep -qE "$2" <<<"$said"
}

# The first process of that kernel. Its root is the host's file system, read-only.
inside() { # MODULE TEST… end, and what the kernel adds to the words
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t debugfs debugfs /sys/kernel/debug
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
  export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
  local module=$1 tests=() status=0
  shift
  while [ "$1" != end ]; do
    tests+=("$1")
    shift
  done
  if [ "${tests[*]}" = signatures ]; then
    signatures "${module%/*}" || status=$?
  else
    [ ${#tests[@]} -eq 0 ] || tests=(--only "${tests[@]}")
    python3 tests/selftest.py "$module" "${tests[@]}" || status=$?
  fi
  echo "uml.sh: exit status $status"
  python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)' # power off
}

if [ "${1:-}" = inside ]; then
  shift
  inside "$@"
  exit
fi
[ $# -gt 0 ] || set -- suite leaks signed plants
for part in "$@"; do
  case "$part" in
    suite | leaks | signed | plants) "$part" ;;
    *) die "usage: tests/uml.sh [suite|leaks|signed|plants…], seen: '$part'" ;;
  esac
done
say "done"

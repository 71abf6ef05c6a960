#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the module against Debian's kernel headers, without installing them: every 6.1 amd64 package that apt knows, and the
# newest amd64 one of any version. A warning is a failure (W=1). Usage: tests/headers.sh [PACKAGE…]
# Headers are unpacked under the user's cache folder. Needs: gcc make kmod apt-get dpkg-deb, and apt's lists.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ecosystem-edge-accelerator/headers

die() { echo "headers.sh: $*" >&2; exit 1; }

for tool in gcc make modinfo apt-get dpkg-deb; do
  command -v "$tool" >/dev/null || die "$tool not found, expected on PATH; next: apt-get install gcc make kmod"
done

packages() {
  local all
  all=$(apt-cache pkgnames linux-headers- | grep -E '^linux-headers-[0-9].*[0-9+a-z]-amd64$' | grep -vE '(cloud|rt)-amd64$' | sort -V)
  { grep -E '^linux-headers-6\.1\.0-' <<<"$all" || true; tail -n 1 <<<"$all"; } | sort -Vu
}

unpack() { # PACKAGE: prints the folder that stands for /
  local package=$1 version root needs name
  version=$(apt-cache policy "$package" | awk '/Candidate:/ {print $2}')
  root=$cache/${package}_$version
  if [ ! -e "$root/.whole" ]; then
    rm -rf "$root"
    mkdir -p "$root"
    # Of the dependencies only these hold files that a build reads; the compiler is this machine's.
    needs=$(apt-cache depends "$package" | awk '/Depends: linux-(headers|kbuild)/ {print $2}')
    # shellcheck disable=SC2086 # a list of words is meant
    (cd "$root" && apt-get -q download "$package" $needs >/dev/null 2>download.log) ||
      die "apt-get download $package $needs failed: $(tail -n 1 "$root/download.log"); next: apt-get update"
    for name in "$root"/*.deb; do dpkg-deb -x "$name" "$root"; done
    rm "$root"/*.deb
    # The packages include each other by absolute path.
    find "$root"/usr/src -maxdepth 2 \( -name Makefile -o -name .kernelvariables \) -exec sed -i "s|/usr/src/|$root&|g" {} +
    touch "$root/.whole"
  fi
  echo "$root"
}

build() { # PACKAGE
  local package=$1 kernel=${1#linux-headers-} root folder found
  root=$(unpack "$package")
  folder=build/$kernel
  rm -rf "$folder"
  mkdir -p "$folder"
  cp -r Kbuild Makefile probe.sh probes ptemplate_*.c ptemplate_core.h "$folder"
  make -C "$folder" KDIR="$root/usr/src/linux-headers-$kernel" W=1 modules >"$folder/build.log" 2>&1 ||
    die "$kernel: the build failed: $(tail -n 20 "$folder/build.log")"
  found=$(grep -iE 'warning' "$folder/build.log" | grep -vE 'compiler differs|Skipping BTF' || true)
  [ -z "$found" ] || die "$kernel: expected no warning, seen: $found"
  found=$(modinfo -F vermagic "$folder/ptemplate_char_dev.ko")
  [ "${found%% *}" = "$kernel" ] || die "$kernel: the module says vermagic '$found'"
  echo "ok $kernel: $(grep -c '^#define HAVE' "$folder/ptemplate_probed.h" || true) probes answered yes"
}

[ $# -gt 0 ] || mapfile -t list < <(packages)
[ $# -gt 0 ] && list=("$@")
[ ${#list[@]} -gt 1 ] || [ $# -gt 0 ] || die "apt knows ${#list[@]} linux-headers packages, expected two or more; next: apt-get update"
for package in "${list[@]}"; do build "$package"; done

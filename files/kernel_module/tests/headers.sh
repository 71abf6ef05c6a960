#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The build matrix: builds the module against Debian's kernel headers, without installing them. A warning of the compiler
# (W=1), of sparse (C=2) or of checkpatch is a failure. Usage: tests/headers.sh [PACKAGE…]
# Without arguments: each 6.1 amd64 package that apt knows; the newest 6.1 and the newest of all as amd64 and cloud, which must
# build; as rt, and for arm64 by cross compiler, which are tried and reported. With packages: these, and no checkpatch.
# The modules are left in build/<kernel>/. Headers are unpacked under the user's cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."
name=headers.sh
# shellcheck source-path=SCRIPTDIR source=lib.sh
. tests/lib.sh
foreign=$cache/headers/apt-arm64

pick() { # VERSION-REGEX FLAVOUR: the newest such package
  apt-cache pkgnames linux-headers- | grep -E "^linux-headers-$1[0-9.+~a-z-]*-$2\$" |
    grep -vE "[0-9]-(cloud|rt)-$2\$" | sort -V | tail -n 1
}

everything() {
  local flavour
  apt-cache pkgnames linux-headers- | grep -E '^linux-headers-6\.1\.0-[0-9]+-amd64$' || true
  for flavour in amd64 cloud-amd64; do
    pick '6\.1\.0-' "$flavour"
    pick '[0-9]+\.[0-9]+\.[0-9]+' "$flavour"
  done
}

# Lists of another architecture, beside the machine's own.
apt_arm64() { # apt-get arguments…
  mkdir -p "$foreign/lists/partial" "$foreign/archives/partial"
  apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State::Lists="$foreign/lists" \
    -o Dir::Cache="$foreign" -o Dir::Cache::Archives="$foreign/archives" -o Debug::NoLocking=1 "$@"
}

download() { # PACKAGE: its .deb and those that it includes, here
  local package=$1 needs headers
  # Of the dependencies only these hold files that a build reads; the compiler is this machine's.
  if [[ $package == *-arm64 ]]; then
    headers=("$package" "${package%-arm64}-common")
    # Lists that do not know the package are older than it. The status is told: -e is off where the caller asks for it.
    apt_arm64 download "${headers[@]}" || { apt_arm64 update && apt_arm64 download "${headers[@]}"; } || return
    apt-get -q download linux-kbuild-6.1 # its programs run here
  else
    needs=$(apt-cache depends "$package" | awk '/Depends: linux-(headers|kbuild)/ {print $2}')
    # shellcheck disable=SC2086 # a list of words is meant
    apt-get -q download "$package" $needs
  fi
}

unpack() { # PACKAGE: prints the folder that stands for /
  local package=$1 version root deb
  version=$(candidate "$package")
  root=$cache/headers/${package}_${version:-${source_version:-newest}}
  if [ ! -e "$root/.whole" ] || [ ! -d "$root/usr/src/$package" ]; then
    rm -rf "$root"
    mkdir -p "$root"
    (cd "$root" && download "$package" >download.log 2>&1) ||
      die "the download of $package failed: $(tail -n 1 "$root/download.log"); next: apt-get update"
    for deb in "$root"/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm "$root"/*.deb
    # The packages include each other by absolute path.
    find "$root"/usr/src -maxdepth 2 \( -name Makefile -o -name .kernelvariables \) -exec sed -i "s|/usr/src/|$root&|g" {} +
    touch "$root/.whole"
  fi
  echo "$root"
}

complaints() { # LOG
  grep -iE 'warning|error:|: note:' "$1" | grep -vE 'compiler differs|Skipping BTF' | head -n 8 || true
}

build() ( # PACKAGE; in a shell of its own, so that a failure ends this build alone
  package=$1
  kernel=${package#linux-headers-}
  start=$SECONDS
  root=$(unpack "$package")
  folder=build/$kernel
  stage "$folder"
  cross=()
  [[ $package == *-arm64 ]] && cross=(ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-)
  make -C "$folder" KDIR="$root/usr/src/linux-headers-$kernel" "${cross[@]}" W=1 C=2 modules >"$folder/build.log" 2>&1 ||
    die "$kernel: the build failed: $(tail -n 20 "$folder/build.log")"
  grep -q '^ *CHECK .*ptemplate_main.c' "$folder/build.log" || die "$kernel: sparse did not run; look at $folder/build.log"
  found=$(complaints "$folder/build.log")
  [ -z "$found" ] || die "$kernel: expected no warning, seen: $found"
  found=$(modinfo -F vermagic "$folder/ptemplate_char_dev.ko")
  [ "${found%% *}" = "$kernel" ] || die "$kernel: the module says vermagic '$found'"
  yes=$(grep -oP '^#define HAVE_\K\w+' "$folder/ptemplate_probed.h" | tr '[:upper:]\n' '[:lower:] ')
  echo "ok $kernel: W=1 and sparse without a warning, $((SECONDS - start)) s; probes that answered yes: ${yes:-none}"
)

checkpatch() {
  local found
  kernel_source
  # --no-tree: our files stand outside of it. FILE_PATH_CHANGES and the like are about patches.
  found=$("$source/scripts/checkpatch.pl" --no-tree --strict --terse --no-summary --ignore "$ignored" --file ./ptemplate*.[ch] \
    probes/*.c 2>&1) || die "checkpatch: expected nothing, seen: $found"
  [ -z "$found" ] || die "checkpatch: expected nothing, seen: $found"
  echo "ok checkpatch of $source_package $source_version: strict, without a complaint"
}
ignored=SPDX_LICENSE_TAG

optional() { # PACKAGE WHY
  local output
  if output=$(build "$1" 2>&1); then
    echo "$output"
  else
    echo "not required and failed: $1: $output"
  fi
}

arm64() {
  need arm64
  source_version=$(candidate "$source_package")
  optional "$(pick '6\.1\.0-' amd64 | sed 's/amd64$/arm64/')"
}

need matrix
if [ $# -gt 0 ]; then
  for package in "$@"; do build "$package"; done
  exit
fi
mapfile -t list < <(everything | sort -Vu)
[ ${#list[@]} -ge 4 ] || die "apt knows ${#list[@]} linux-headers packages to build for, expected four or more; next: apt-get update"
for package in "${list[@]}"; do build "$package"; done
for version in '6\.1\.0-' '[0-9]+\.[0-9]+\.[0-9]+'; do optional "$(pick "$version" rt-amd64)"; done
arm64
checkpatch

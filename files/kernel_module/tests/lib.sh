#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the scripts beside it share; sourced by them, in the module's folder. They set $name for messages.
# shellcheck disable=SC2034 # sourced
: "${name:?}"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ecosystem-edge-accelerator
source_package=linux-source-6.1
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # a user's PATH lacks these on Debian

die() { echo "$name: $*" >&2; exit 1; }

missing() { # PURPOSE: packages of tests/prerequisites.txt whose command, or file, is not there
  local tool package for
  while read -r tool package for; do
    [ "$for" = "$1" ] && { command -v "$tool" >/dev/null || [ -e "$tool" ] || echo "$package"; }
  done <tests/prerequisites.txt | sort -u
}

# Installs what is missing, as root or by sudo; else says what to type.
need() { # PURPOSE
  local packages command sudo=()
  mapfile -t packages < <(missing "$1")
  [ ${#packages[@]} -gt 0 ] || return 0
  command="apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends ${packages[*]}"
  [ "$(id -u)" = 0 ] || sudo=(sudo --non-interactive)
  { command -v apt-get && { [ ${#sudo[@]} -eq 0 ] || command -v sudo; }; } >/dev/null ||
    die "these Debian packages are missing: ${packages[*]}. Type (as root): $command"
  echo "$name: installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -qq >&2 || true # lists that are there may do
  # shellcheck disable=SC2086 # a list of words is meant
  "${sudo[@]}" $command >/dev/null || die "the installation failed. Type (as root): $command"
  mapfile -t packages < <(missing "$1")
  [ ${#packages[@]} -eq 0 ] || die "still missing after the installation: ${packages[*]}. Type: apt-cache policy ${packages[0]}"
}

candidate() { # PACKAGE: the version that apt would install, or nothing
  apt-cache policy "$1" | awk '/Candidate:/ && $2 != "(none)" {print $2}'
}

stage() { # FOLDER: a copy of the module's source to build in, without what an earlier build left
  rm -rf "$1"
  mkdir -p "$1"
  cp -r Kbuild Makefile probe.sh probes ./*.c ./*.h "$1"
  rm -f "$1"/*.mod.c "$1/ptemplate_probed.h"
}

# Debian's kernel source, unpacked once for each version of it. Sets $source and $source_version.
kernel_source() {
  source_version=$(candidate "$source_package")
  [ -n "$source_version" ] || die "no package $source_package in apt's lists, expected Debian 12's; next: apt-get update"
  source=$cache/uml/source-$source_version
  mkdir -p "$cache/uml"
  exec 8>"$cache/uml/source.lock"
  flock 8
  if [ ! -e "$source/.whole" ]; then
    echo "$name: unpacking $source_package $source_version"
    rm -rf "$source"
    mkdir "$source"
    (cd "$source" && apt-get -q download "$source_package=$source_version" >apt.log 2>&1) ||
      die "apt-get download $source_package failed: $(tail -n 1 "$source/apt.log"); next: apt-get update"
    dpkg-deb --fsys-tarfile "$source"/*.deb | tar -xO "./usr/src/$source_package.tar.xz" |
      tar -xJ -C "$source" --strip-components 1
    rm "$source"/*.deb
    touch "$source/.whole"
  fi
  flock -u 8
}

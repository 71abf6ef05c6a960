#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what an image lacks, with whatever package manager it has. Runs in the Containerfiles.
# Usage: install-tools.sh kmod       modprobe, for the image that runs on nodes
#        install-tools.sh toolkit    compiler and headers of $KERNEL_VERSION, for the image that builds
set -eu

die() { echo "driver image: error: $*" >&2; exit 1; }

install() { # PACKAGE…
	if command -v microdnf >/dev/null; then
		microdnf -y install "$@" && microdnf clean all
	elif command -v dnf >/dev/null; then
		dnf -y install "$@" && dnf clean all
	elif command -v apt-get >/dev/null; then
		apt-get -q update && apt-get -q -y install --no-install-recommends "$@" && rm -rf /var/lib/apt/lists/*
	else
		die "cannot install $*: the image has none of microdnf, dnf, apt-get; next: use another base image"
	fi
}

kmod() {
	command -v cp >/dev/null || die "the base image has no cp, which KMM copies the modules with; next: use another base image"
	command -v modprobe >/dev/null || install kmod || die "kmod could not be installed; next: use a base image that has it"
}

toolkit() {
	[ -n "${KERNEL_VERSION:-}" ] || die "no KERNEL_VERSION, expected the node's uname -r; next: podman build --build-arg KERNEL_VERSION=..."
	if command -v apt-get >/dev/null; then
		package=linux-headers-$KERNEL_VERSION tools="gcc make kmod"
	else
		package=kernel-devel-$KERNEL_VERSION tools="gcc make kmod elfutils-libelf-devel"
	fi
	# shellcheck disable=SC2086 # a list of words is meant
	install $tools "$package" ||
		die "no headers of kernel $KERNEL_VERSION: the repositories of this image gave no $package;" \
			"next: give as DISTRO an image of the nodes' release, with repositories that have that kernel"
	echo "{\"KERNEL_VERSION\": \"$KERNEL_VERSION\"}" >/etc/driver-toolkit-release.json
}

case "${1:-}" in
kmod | toolkit) "$1" ;;
*) die "usage: install-tools.sh kmod|toolkit, seen: '${1:-}'" ;;
esac

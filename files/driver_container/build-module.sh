#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds a kernel module and lays out what the driver image holds. Runs in the builder stage of the Containerfiles.
# Usage: build-module.sh SOURCE IMAGE
#   SOURCE  folder with a Kbuild file or a kbuild Makefile (obj-m), or else a Makefile that takes KDIR=
#   IMAGE   gets opt/lib/modules/<kernel>/ with the modules and what depmod writes; firmware/ and licenses/ if any
# Environment: KERNEL_VERSION, MODULE_NAME, DRIVER_VERSION, FIRMWARE (files below SOURCE/firmware, separated by blanks).
set -eu
source=$1
image=$2

die() { echo "driver image: error: $*" >&2; exit 1; }

[ -n "${KERNEL_VERSION:-}" ] || die "no KERNEL_VERSION, expected the node's uname -r; next: podman build --build-arg KERNEL_VERSION=..."
[ -n "${MODULE_NAME:-}" ] || die "no MODULE_NAME, expected the name that modprobe takes; next: podman build --build-arg MODULE_NAME=..."

headers() { # prints the kernel's build folder
	for folder in "/lib/modules/$KERNEL_VERSION/build" "/usr/src/kernels/$KERNEL_VERSION" \
		"/usr/src/linux-headers-$KERNEL_VERSION"; do
		[ -e "$folder/Makefile" ] && echo "$folder" && return
	done
	present=$(for folder in /lib/modules/*/build /usr/src/kernels/*; do
		[ -e "$folder/Makefile" ] && echo "${folder%/build}"
	done | sed 's|.*/||' | sort -u | tr '\n' ' ')
	die "the builder image has no headers of kernel $KERNEL_VERSION: looked at /lib/modules/$KERNEL_VERSION/build," \
		"/usr/src/kernels/$KERNEL_VERSION and /usr/src/linux-headers-$KERNEL_VERSION; it has: ${present:-none};" \
		"next: give the driver toolkit of that kernel as BUILDER (images.builder), or use Containerfile.hard"
}

kdir=$(headers)
modules=$image/opt/lib/modules/$KERNEL_VERSION
mkdir -p "$modules/extra"

cd "$source" || die "no folder $source"
set -- "KERNEL_VERSION=$KERNEL_VERSION" "DRIVER_VERSION=${DRIVER_VERSION:-}"
# Type information of modules is for tracers; without pahole a kernel that wants it could not be built for.
command -v pahole >/dev/null || set -- "$@" CONFIG_DEBUG_INFO_BTF_MODULES=
if [ -f Kbuild ] || grep -qsE '^[[:space:]]*obj-m' Makefile; then
	# What was compiled elsewhere, for another kernel, is not trusted.
	make -s -C "$kdir" M="$PWD" clean "$@"
	make -C "$kdir" M="$PWD" -j"$(nproc)" modules "$@"
elif [ -f Makefile ]; then
	make -j"$(nproc)" KDIR="$kdir" "$@"
else
	die "the source has neither Kbuild nor Makefile: found $(find . -maxdepth 1 -mindepth 1 | sort | tr '\n' ' ');" \
		"next: look at driver.source (and driver.git.subdir) of the accelerator definition"
fi

names=""
for file in $(find . -name '*.ko' | sort); do
	vermagic=$(modinfo -F vermagic "$file")
	[ "${vermagic%% *}" = "$KERNEL_VERSION" ] ||
		die "$file is for kernel '${vermagic%% *}', expected $KERNEL_VERSION: the Makefile did not use KDIR=$kdir"
	cp "$file" "$modules/extra/"
	names="$names $(basename "$file" .ko | tr - _)"
done
case " $names " in
*" $(echo "$MODULE_NAME" | tr - _) "*) ;;
*) die "the build made no $MODULE_NAME.ko, it made:${names:- nothing}; next: look at driver.module of the accelerator definition" ;;
esac

for file in ${FIRMWARE:-}; do
	[ -f "firmware/$file" ] || die "no firmware/$file in the source; next: look at driver.firmware of the accelerator definition"
	mkdir -p "$image/firmware/$(dirname "$file")"
	cp "firmware/$file" "$image/firmware/$file"
done

for file in licenses/* LICENSE* COPYING*; do
	[ -f "$file" ] || continue
	mkdir -p "$image/licenses"
	cp "$file" "$image/licenses/"
done

# Of the kernel's own modules nothing is in the image: empty lists keep depmod from asking for them.
touch "$modules/modules.order" "$modules/modules.builtin" "$modules/modules.builtin.modinfo"
depmod -b "$image/opt" "$KERNEL_VERSION"

# What modprobe will do on a node follows from modules.dep, so each module must be in it with all that it stands on.
symvers=$kdir/Module.symvers
for name in $names; do
	grep -Eq "^extra/$(echo "$name" | sed 's/_/[_-]/g')\.ko:" "$modules/modules.dep" ||
		die "depmod left $name out of modules.dep; next: modinfo $name.ko"
done
if [ -f "$symvers" ]; then
	unknown=$(depmod -n -e -E "$symvers" -b "$image/opt" "$KERNEL_VERSION" 2>&1 >/dev/null |
		sed -n 's/^depmod: WARNING: .*\/\([^/]*\) needs unknown symbol \(.*\)$/\1 needs \2/p' | sort -u)
	[ -z "$unknown" ] || die "symbols that neither kernel $KERNEL_VERSION nor a module of the source has:" \
		"$(echo "$unknown" | head -n 5 | tr '\n' ';') next: build the module that has them, too"
fi
for name in $names; do
	file=$(find "$modules/extra" -name "$(echo "$name" | sed 's/_/[_-]/g').ko")
	# Hard dependencies that are not here are the kernel's own modules: modprobe -d /opt does not see those.
	for other in $(modinfo -F depends "$file" | tr ',' ' '); do
		case " $names " in
		*" $(echo "$other" | tr - _) "*) ;;
		*) echo "driver image: note: $name needs the kernel's own module $other, which must be loaded before it" ;;
		esac
	done
done
echo "driver image: built$names for kernel $KERNEL_VERSION with $kdir"

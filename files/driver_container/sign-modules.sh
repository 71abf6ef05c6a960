#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Signs the kernel modules that build-module.sh laid out. Runs in the builder stage of the Containerfiles, as a step of
# its own: the driver's build never sees the key.
# Usage: sign-modules.sh IMAGE
# Environment: KERNEL_VERSION; SIGNER, the digest of the certificate, empty: nothing is to be signed.
# Secrets: /run/secrets/signing-key (PEM), /run/secrets/signing-certificate (PEM or DER).
set -eu
modules=$1/opt/lib/modules/$KERNEL_VERSION/extra
secrets=${SECRETS:-/run/secrets} # elsewhere in a test
key=$secrets/signing-key certificate=$secrets/signing-certificate

die() { echo "driver image: error: $*" >&2; exit 1; }

if [ -z "${SIGNER:-}" ]; then
	echo "driver image: not signed: no key was given"
	exit 0
fi
for file in "$key" "$certificate"; do
	[ -s "$file" ] || die "SIGNER is set, so the modules are to be signed, but there is no $file;" \
		"next: podman build --secret id=${file##*/},src=..."
done

signer() { # prints the program that signs: the kernel's own, of the headers that the modules were built with
	for folder in "/lib/modules/$KERNEL_VERSION/build" "/usr/src/kernels/$KERNEL_VERSION" \
		"/usr/src/linux-headers-$KERNEL_VERSION"; do
		[ -x "$folder/scripts/sign-file" ] && echo "$folder" && return
	done
	die "the builder image has no scripts/sign-file among the headers of kernel $KERNEL_VERSION;" \
		"next: give a builder that has it (images.builder), such as the driver toolkit"
}

kdir=$(signer)
# The kernel refuses a digest that it has no code for; it has the one of its own modules.
hash=$(sed -n 's/^CONFIG_MODULE_SIG_HASH="\(.*\)"$/\1/p' "$kdir/include/config/auto.conf" "$kdir/.config" 2>/dev/null | head -n 1)

if command -v openssl >/dev/null; then
	form=$(openssl x509 -in "$certificate" -inform DER -noout 2>/dev/null && echo DER || echo PEM)
	ours=$(openssl pkey -in "$key" -pubout 2>/dev/null) || die "the signing key is not readable: expected PEM without a passphrase"
	theirs=$(openssl x509 -in "$certificate" -inform "$form" -noout -pubkey 2>/dev/null) ||
		die "the signing certificate is not readable: expected X.509 in PEM or DER form"
	[ "$ours" = "$theirs" ] || die "the signing certificate is not that of the signing key: no kernel would take the signature;" \
		"next: look at driver.signing of the accelerator definition"
fi

count=0
for file in "$modules"/*.ko; do
	[ -f "$file" ] || die "no modules in $modules"
	"$kdir/scripts/sign-file" "${hash:-sha256}" "$key" "$certificate" "$file" || die "$kdir/scripts/sign-file did not sign ${file##*/}"
	[ "$(tail -c 28 "$file")" = "~Module signature appended~" ] || die "${file##*/} carries no signature after sign-file ended well"
	count=$((count + 1))
done
echo "driver image: signed $count modules with ${hash:-sha256}, certificate $SIGNER"

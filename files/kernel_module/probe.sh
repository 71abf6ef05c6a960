#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Writes a header that says which forms of the kernel's API compile here.
# Usage: probe.sh FOLDER COMPILER FLAGS…     (called by Kbuild, with the flags that the module is compiled with)
# Each FOLDER/name.c that compiles gives "#define HAVE_NAME 1". control.c must compile: if it does not, the compiler
# or the kernel's headers are broken, and no answer would mean anything.
set -eu
folder=$1
shift

compiles() { # COMPILER FLAGS…: does $file?
	"$@" -Werror -fsyntax-only -x c "$file"
}

file=$folder/control.c
if ! output=$(compiles "$@" 2>&1); then
	echo "probe.sh: $file does not compile against this kernel's headers; expected: it always does. Compiler:" >&2
	echo "$output" >&2
	exit 1
fi
echo "/* Written by probe.sh. Do not edit. */"
for file in "$folder"/*.c; do
	name=$(basename "$file" .c)
	[ "$name" = control ] && continue
	if compiles "$@" >/dev/null 2>&1; then
		echo "#define HAVE_$(echo "$name" | tr '[:lower:]' '[:upper:]') 1"
	else
		echo "/* $name: no */"
	fi
done

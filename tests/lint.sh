#!/usr/bin/env bash
# The small linters, each over every tracked file of its kind. A linter that found no file has failed.
set -euo pipefail
cd "$(dirname "$0")/.."

files() { # PATTERN…: tracked or new files that exist
  git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do [ -f "$file" ] && echo "$file"; done
}

run() { # NAME PATTERN… -- COMMAND…
  local name=$1 patterns=() list
  shift
  while [ "$1" != -- ]; do patterns+=("$1"); shift; done
  shift
  mapfile -t list < <(files "${patterns[@]}")
  if [ "${#list[@]}" -eq 0 ]; then
    echo "$name: no file matches ${patterns[*]}: expected at least one" >&2
    exit 1
  fi
  echo "$name: ${#list[@]} files"
  "$@" "${list[@]}"
}

mapfile -t scripts < <(git ls-files --cached --others --exclude-standard | while read -r f; do
  [ -f "$f" ] && head -c 40 "$f" | head -n 1 | grep -qaE '^#!.*\b(ba|da)?sh\b' && echo "$f"; done)
run shellcheck "${scripts[@]}" -- shellcheck
run hadolint '*Containerfile' '*Containerfile.*' -- hadolint
run clang-format '*.c' '*.h' -- clang-format --dry-run --Werror
run yamllint '*.yml' '*.yaml' -- yamllint --strict
run codespell '*' -- codespell

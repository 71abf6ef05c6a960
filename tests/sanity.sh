#!/usr/bin/env bash
# ansible-test sanity, on a real copy of the checkout: on links it finds no targets and is silently green.
#   tests/sanity.sh [ARGUMENTS OF ansible-test sanity]
# SANITY_PLANT=FILE copies FILE into plugins/module_utils/ of the copy first (the gate's own test plants an error).
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
copy=$tree/ansible_collections/ecosystem_edge/accelerator
mkdir -p "$copy"
tests/copy_tree.sh "$copy"
# What ships, its unit tests and the gate's own settings. ruff and mypy hold the workshop, by rules made for programs.
rm -rf "$copy"/lab "$copy"/molecule "$copy"/files/*/tests "$copy"/tests/{api,bench,image,lab,repo} "$copy"/tests/*.{py,sh}
if [ -n "${SANITY_PLANT:-}" ]; then cp "$SANITY_PLANT" "$copy/plugins/module_utils/"; fi

# validate-modules needs the documentation fragments that our modules extend.
site=$(.venv/bin/python -c 'import ansible_collections, sys; sys.stdout.write(list(ansible_collections.__path__)[0])')
ln -s "$site/kubernetes" "$tree/ansible_collections/kubernetes"

# ansible-test bootstraps pip by a script from the network; ensurepip does the same from what is installed.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ecosystem-edge-accelerator/ansible-test
mkdir -p "$cache/.ansible/test/cache"
# Two at a time (this gate and the test of it) would make the same virtual environment, and delete each other's half.
exec 9> "$cache/lock"
flock --nonblock 9 || { echo "sanity: waits for another run of it"; flock 9; }
for version in 24_2 25_2; do
  printf '%s\n' 'import subprocess, sys' \
    'sys.exit(subprocess.call([sys.executable, "-m", "ensurepip", "--default-pip"]))' \
    > "$cache/.ansible/test/cache/get_pip_$version.py"
done

cd "$copy"
git init -q . && git add -A
log=$tree/log
python=$("$OLDPWD/.venv/bin/python" -c 'import sys; sys.stdout.write("%d.%d" % sys.version_info[:2])')
status=0
HOME=$cache PATH="$OLDPWD/.venv/bin:$PATH" ansible-test sanity --python "$python" --color no "$@" > "$log" 2>&1 9>&- || status=$?
cat "$log"
tests=$(grep -c '^Running sanity test' "$log" || true)
if [ "$tests" -eq 0 ]; then
  echo "sanity: no test ran: expected at least one, see the output above" >&2
  exit 1
fi
echo "sanity: $tests tests ran"
exit "$status"

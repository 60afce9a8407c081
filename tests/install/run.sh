#!/usr/bin/env bash
# Installs the built wheel for every Python that pyproject.toml names, each in an environment of its
# own, and uses it in an empty folder (see try_out.py). By hand: minutes and 6 GB a Python.
#
#     bash tests/install/run.sh [--ranges] [PYTHON...]
#
# --ranges installs what pyproject.toml allows today, not what constraints.txt holds. Environments
# are kept in INSTALL_ENVIRONMENTS where that is set, and are taken up from there again.
set -euo pipefail

PYTHONS="python3.11 python3.12 python3.13"

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
environments=${INSTALL_ENVIRONMENTS:-$scratch/environments}
constraints=(-c "$root/constraints.txt")
kind=pinned
if [ "${1:-}" = --ranges ]; then
    constraints=()
    kind=ranges
    shift
fi
[ $# -gt 0 ] || read -ra asked <<<"$PYTHONS"
[ $# -eq 0 ] || asked=("$@")
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
unset PYTHONPATH MLFLOW_TRACKING_URI MLFLOW_RUN_ID MLFLOW_EXPERIMENT_ID

mkdir "$scratch/source"
(cd "$root" && git ls-files -z | tar --null -T - -cf -) | tar -xf - -C "$scratch/source"
"${asked[0]}" -m pip wheel --no-deps --wheel-dir "$scratch" "$scratch/source"
wheel=$(echo "$scratch"/*.whl)

failed=0
for python in "${asked[@]}"; do
    echo "=== $("$python" --version), $kind (${SECONDS}s)"
    environment=$environments/$kind-$("$python" -c 'import sys; print(*sys.version_info[:2], sep=".")')
    if { [ -x "$environment/bin/python" ] || "$python" -m venv "$environment"; } &&
        "$environment/bin/pip" install "${constraints[@]}" "$wheel" &&
        "$environment/bin/pip" install --force-reinstall --no-deps "$wheel" &&
        mkdir "$scratch/$(basename "$environment")" &&
        (cd "$scratch/$(basename "$environment")" && "$environment/bin/python" "$here/try_out.py"); then
        echo "=== works (${SECONDS}s)"
    else
        echo "=== FAILED (${SECONDS}s)"
        failed=1
    fi
done
exit $failed

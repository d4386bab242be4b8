#!/usr/bin/env bash
# Every check, in the order in which a mistake is cheapest to find. `make test` runs this; so does CI.
#   tests/check.sh                 everything
#   tests/check.sh -k readers      arguments go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

step() { printf '\n== %s\n' "$*"; "$@"; }

# The report is looked at in a real browser. Where it cannot be installed, those tests say so and skip
# (on CI they fail).
install_chromium() {
    if command -v chromium >/dev/null || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        return
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
}

# Submitting is tested with a real Slurm, started by slurm/devcluster. Where it cannot be installed, those
# tests say so and skip (on CI they fail). Nothing is started by installing: policy-rc.d forbids it meanwhile.
install_slurm() {
    if type slurmctld slurmdbd munged mariadbd shellcheck >/dev/null 2>&1 || [ "$(id -u)" != 0 ] \
        || ! command -v apt-get >/dev/null; then
        return
    fi
    local policy=/usr/sbin/policy-rc.d installed=0 ours=
    if [ ! -e $policy ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy || return
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        slurm-wlm slurmdbd munge mariadb-server shellcheck >/dev/null || installed=$?
    test -z "$ours" || rm $policy
    return $installed
}

# Results must not depend on the Python version: where a second one is at hand, a test compares bytes.
second_python() {
    local candidate
    for candidate in python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

install_second_python() {
    local python
    python=$(second_python) || return
    test -x .venv-3.12/bin/python || "$python" -m venv .venv-3.12 || return
    UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}" $bin/uv pip install --quiet --python .venv-3.12/bin/python \
        --constraint constraints.txt numpy numba pyarrow pydantic pyyaml || return
    export RANKFOLD_OTHER_PYTHON=$PWD/.venv-3.12/bin/python
}

install_chromium || echo "chromium could not be installed; tests that need a browser will be skipped"
install_slurm || echo "Slurm could not be installed; tests that need it will be skipped"
install_second_python || echo "no Python 3.12 beside this one: bytes are compared on one version only"
step $bin/ruff format --check .
step $bin/ruff check .
step $bin/mypy
step $bin/lint-imports --cache-dir .import_linter_cache
if command -v shellcheck >/dev/null; then step shellcheck slurm/devcluster tests/check.sh; fi
# Threads of one process get in the way of the other's: two workers, one thread each. A file is one worker's,
# so that what its tests share is made once.
export OMP_NUM_THREADS=1
step $bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"

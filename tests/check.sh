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

install_chromium || echo "chromium could not be installed; tests that need a browser will be skipped"
step $bin/ruff format --check .
step $bin/ruff check .
step $bin/mypy
step $bin/lint-imports --cache-dir .import_linter_cache
# Threads of one process get in the way of the other's: two workers, one thread each.
export OMP_NUM_THREADS=1
step $bin/python -m pytest -n 2 --dist worksteal "$@"

#!/bin/sh
# Run every check and report all that fail, not only the first.
set -eu
cd "$(dirname "$0")/.."
failed=""

check() {
    name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}

check ruff .venv/bin/ruff check "$@"
check format .venv/bin/ruff format --check "$@"
check mypy .venv/bin/mypy "$@"
check imports .venv/bin/lint-imports
check hadolint .venv/bin/hadolint Dockerfile
check compose .venv/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml deploy/providers/docker-compose.yml

if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi

#!/bin/sh
# Fill .venv with exactly the versions of uv.lock: the server with its extras, the tests' tools and the linters.
# `setup.sh product` leaves out all but the server, and takes nothing away that is there already.
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" = product ]; then
    sh scripts/uv.sh sync --locked --python .venv/bin/python --inexact --no-dev --extra server --quiet
    echo "ready: .venv/bin/windlass"
    exit
fi
sh scripts/uv.sh sync --locked --python .venv/bin/python --extra server --extra ray --group test --group lint --quiet
echo "ready: .venv/bin/windlass"

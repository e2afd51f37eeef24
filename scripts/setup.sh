#!/bin/sh
# Fill .venv with exactly the versions of uv.lock: the server with its extras, the tests' tools and the linters.
set -eu
cd "$(dirname "$0")/.."
sh scripts/uv.sh sync --locked --python .venv/bin/python --extra server --extra ray --group test --group lint --quiet
echo "ready: .venv/bin/windlass"

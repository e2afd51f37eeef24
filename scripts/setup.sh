#!/bin/sh
# Make .venv with exactly the versions of uv.lock: the server with its extras, the tests' tools and the linters.
# Needs Python 3.11+ and the package index, nothing else. Safe to repeat.
set -eu
cd "$(dirname "$0")/.."

# System certificates also serve networks whose proxy signs with its own; no other Python is ever downloaded.
export UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=.venv
unset VIRTUAL_ENV CONDA_PREFIX UV_PYTHON PYTHONHOME || true

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$(sh scripts/find-python.sh)
    echo "making .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv
fi

# uv lives beside the environment's own packages, so that `uv sync` never removes the uv that is running.
if ! .venv/uv/bin/uv --version >/dev/null 2>&1; then
    .venv/bin/python -m venv .venv/uv
    .venv/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13.9,<0.14'
fi
.venv/uv/bin/uv sync --locked --python .venv/bin/python --extra server --group test --group lint --quiet
echo "ready: .venv/bin/windlass"

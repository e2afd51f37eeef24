#!/bin/sh
# Run uv inside the project's environment; makes the environment, and uv, when they are not there yet.
# Needs Python 3.11+ and the package index, nothing else. Safe to repeat.
set -eu
cd "$(dirname "$0")/.."

# System certificates also serve networks whose proxy signs with its own; no other Python is ever downloaded.
export UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=.venv
unset VIRTUAL_ENV CONDA_PREFIX UV_PYTHON PYTHONHOME PYTHONPATH

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$(sh scripts/find-python.sh)
    echo "making .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv
fi

# uv has a folder of its own: `uv sync` removes what the lock does not name, and must not remove itself.
if ! .venv/uv/bin/uv --version >/dev/null 2>&1; then
    .venv/bin/python -m venv .venv/uv
    .venv/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13.9,<0.14'
fi
exec .venv/uv/bin/uv "$@"

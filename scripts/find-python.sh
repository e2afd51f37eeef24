#!/bin/sh
# Print a Python 3.11 or newer that can make virtual environments; say plainly why when there is none.
# The variable PYTHON, when set, is the only candidate.
set -eu

usable() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    if usable "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done

cat >&2 <<MESSAGE
No usable Python found (tried: ${PYTHON:-python3, python3.14 to python3.11, python}).
Windlass needs Python 3.11 or newer with its venv module (Debian and Ubuntu: apt-get install python3-venv).
Set PYTHON=/path/to/python3 to choose another one.
MESSAGE
exit 1

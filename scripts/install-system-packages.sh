#!/bin/sh
# Install what tests/system needs beside the Python packages: promtool, Chromium, PostgreSQL with its extensions,
# PgBouncer, and what the documents use.
# Does nothing when all are there; fails, naming what is missing, where it may not install.
set -eu

missing() {
    command -v promtool >/dev/null 2>&1 || printf ' prometheus'
    find /usr/lib/postgresql -name pg_stat_statements.so 2>/dev/null | grep -q . || printf ' postgresql'
    PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null 2>&1 || printf ' pgbouncer'
    command -v ps >/dev/null 2>&1 || printf ' procps'
    for program in chromium curl jq lsof sqlite3; do
        command -v "$program" >/dev/null 2>&1 || printf ' %s' "$program"
    done
}

packages=$(missing)
if [ -z "$packages" ]; then
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif sudo -n true >/dev/null 2>&1; then
    as_root="sudo -n"
else
    echo "missing:$packages; installing them needs root or sudo without a password" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$packages; there is no apt-get here, install them by hand (promtool is part of prometheus)" >&2
    exit 1
fi

# shellcheck disable=SC2086  # both variables are lists of words
$as_root env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && \
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 $packages" >/dev/null

# Only the programs are wanted; where systemd runs, these packages have just started a server as well.
for server in prometheus postgresql pgbouncer; do
    case "$packages" in
    *"$server"*) if [ -d /run/systemd/system ]; then $as_root systemctl disable --now --quiet "$server"; fi ;;
    esac
done

packages=$(missing)
if [ -n "$packages" ]; then
    echo "still missing after the installation:$packages" >&2
    exit 1
fi

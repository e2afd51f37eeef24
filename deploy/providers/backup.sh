#!/bin/sh
# Copy the database of the provider registration service: compressed, read through, and only then under its name.
#
#   DATABASE_URL   the service's own (postgresql://user:password@host:port/name, also postgresql+asyncpg://)
#   BACKUP_DIR     where copies are kept; default /backups/provider-registration
#   KEEP_DAYS      days for which a copy is kept; default 7. Old ones go only after a new one is whole
#   VERIFY         read (default): gunzip -t, and the dump is whole; restore: it is also restored into a scratch database
#
# Ends with 0: there is a new copy, its path is printed. 1: there is none, older ones were left alone. 2: a setting is
# wrong. 75: another backup is at work.
set -eu
umask 077
export LC_ALL=C
# shellcheck source=deploy/providers/common.sh
. "$(dirname "$0")/common.sh"

name=provider_registration
folder=${BACKUP_DIR:-/backups/provider-registration}
keep=${KEEP_DAYS:-7}
verify=${VERIFY:-read}
stamp=$(date -u +%Y%m%d_%H%M%S)
part="$folder/.$name.part"
scratch=""

ask() {
    psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$(at "$1")" -c "$2"
}

# shellcheck disable=SC2317,SC2329  # called by trap
clean() {
    rm -f "$part"
    if [ -n "$scratch" ]; then
        ask "$database" "DROP DATABASE IF EXISTS $scratch WITH (FORCE)" || echo "${0##*/}: drop $scratch by hand" >&2
    fi
}

# Candidates in the dump: the lines between COPY and its end.
dumped() {
    gunzip -c "$part" | awk '/^COPY public\.candidates / { inside = found = 1; next }
        inside && $0 == "\\." { inside = 0 } inside { rows++ }
        END { if (!found || inside) exit 1; print rows + 0 }'
}

days "$keep"
case $verify in read | restore) ;; *) fail 2 "VERIFY is read or restore, not $verify" ;; esac
read_address
alone "$folder"
trap clean EXIT
trap 'exit 1' HUP INT TERM

pg_dump --no-owner --no-privileges --compress=6 --file="$part" -d "$(at "$database")" || fail 1 "pg_dump failed"
gunzip -t "$part" || fail 1 "the copy is damaged"
gunzip -c "$part" | tail -n 20 | grep -q '^-- PostgreSQL database dump complete' || fail 1 "the copy has no end"
rows=$(dumped) || fail 1 "the copy holds no table of candidates, or not all of it"

if [ "$verify" = restore ]; then
    scratch="verify_$(date -u +%s)_$$"
    ask "$database" "CREATE DATABASE $scratch TEMPLATE template0" || fail 1 "no scratch database could be made"
    gunzip -c "$part" | psql -X -q -v ON_ERROR_STOP=1 --single-transaction -d "$(at "$scratch")" >/dev/null ||
        fail 1 "the copy cannot be restored"
    found=$(ask "$scratch" "SELECT count(*) FROM candidates") || fail 1 "the restored copy cannot be read"
    [ "$found" = "$rows" ] || fail 1 "restored $found candidates of $rows"
fi

file="$folder/${name}_$stamp.sql.gz"
sync "$part"
mv "$part" "$file"
ln -s "${file##*/}" "$folder/.latest.$$"
mv -f "$folder/.latest.$$" "$folder/latest_backup.sql.gz"
sync "$folder"
find "$folder" -maxdepth 1 -name "${name}_*.sql.gz" -mtime +"$keep" -delete
echo "Backup completed: $file ($rows candidates)"

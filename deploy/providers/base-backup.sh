#!/bin/sh
# Copy the whole PostgreSQL server while it works: the beginning from which recover.sh replays the archived log.
#
#   DATABASE_URL   as for backup.sh; its user needs the attribute REPLICATION
#   BACKUP_DIR     where copies are kept, base_<when it was whole>; default /backups/provider-registration
#   ARCHIVE_DIR    what archive-wal.sh fills; default /archive. Older than the oldest copy that is kept, it is removed
#   KEEP_DAYS      days for which a copy is kept; default 7. Old ones go only after a new one is whole
#
# Ends as backup.sh does.
set -eu
umask 077
export LC_ALL=C
# shellcheck source=deploy/providers/common.sh
. "$(dirname "$0")/common.sh"

folder=${BACKUP_DIR:-/backups/provider-registration}
archive=${ARCHIVE_DIR:-/archive}
keep=${KEEP_DAYS:-7}
part="$folder/.base.part"

days "$keep"
read_address
[ -d "$archive" ] || fail 2 "ARCHIVE_DIR is no folder: $archive"
alone "$folder"
rm -rf "$part"
trap 'rm -rf "$part"' EXIT
trap 'exit 1' HUP INT TERM

pg_basebackup --wal-method=stream --checkpoint=fast --manifest-checksums=SHA256 \
    --pgdata="$part" -d "$(at "$database")" || fail 1 "pg_basebackup failed"
whole "$part" || fail 1 "the copy is damaged"
base="$folder/base_$(date -u +%Y%m%d_%H%M%S.%6N)"
mv "$part" "$base"
sync "$folder"

find "$folder" -maxdepth 1 -name 'base_*' ! -path "$base" -mtime +"$keep" -exec rm -rf {} +
for oldest in "$folder"/base_*; do break; done
first=$(sed -n 's/^START WAL LOCATION: .* (file \([0-9A-F]*\))$/\1/p' "$oldest/backup_label")
[ -n "$first" ] || fail 1 "$oldest does not say where its log begins"
pg_archivecleanup -x .gz "$archive" "$first"
echo "Base backup completed: $base"

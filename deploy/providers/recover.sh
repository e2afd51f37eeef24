#!/bin/sh
# Make the data folder of a PostgreSQL server that, once started, becomes what the database was at a moment.
#
#   recover.sh '2026-11-27 14:00:00+00' FOLDER     to that moment, or `latest`: to the end of the archive
#
#   BACKUP_DIR     what base-backup.sh fills; default /backups/provider-registration
#   ARCHIVE_DIR    what archive-wal.sh fills; default /archive
#   LOST_WAL       the folder pg_wal of the lost server where it can be read: what it had not yet archived is taken
#
# Run it as the user of PostgreSQL, on the machine where that will run. The folder must not be there yet.
# Ends with 0: start PostgreSQL on FOLDER. 1: a copy is damaged. 2: it is said wrongly, or no copy is old enough.
set -eu
umask 077
export LC_ALL=C
# shellcheck source=deploy/providers/common.sh
. "$(dirname "$0")/common.sh"

[ $# -eq 2 ] || fail 2 "recover.sh 'TIME or latest' FOLDER"
moment=$1 folder=$2
backups=${BACKUP_DIR:-/backups/provider-registration}
archive=$(cd "${ARCHIVE_DIR:-/archive}" && pwd) || fail 2 "ARCHIVE_DIR is no folder: ${ARCHIVE_DIR:-/archive}"
case $archive in *[!A-Za-z0-9/._-]*) fail 2 "ARCHIVE_DIR has a letter that needs quoting: $archive" ;; esac
[ ! -e "$folder" ] || fail 2 "$folder is there already"
target=""
before=99999999_999999
if [ "$moment" != latest ]; then
    before=$(date -u -d "$moment" +%Y%m%d_%H%M%S.%6N) || fail 2 "no moment: $moment"
    target=$(date -u -d "$moment" '+%Y-%m-%d %H:%M:%S.%6N+00')
fi

base=""
for one in "$backups"/base_*; do
    stamp=${one##*/base_}
    if [ -d "$one" ] && [ "$(printf '%s\n%s\n' "$stamp" "$before" | sort | head -n 1)" = "$stamp" ]; then base=$one; fi
done
[ -n "$base" ] || fail 2 "no base backup in $backups was whole by $moment"
whole "$base" || fail 1 "$base is damaged"

for piece in "${LOST_WAL:-/nowhere}"/*; do
    case ${piece##*/} in
    *.history | ????????????????????????)
        ARCHIVE_DIR=$archive "$(dirname "$0")/archive-wal.sh" "$piece" "${piece##*/}" || fail 1 "$piece cannot be archived"
        ;;
    esac
done

cp -a "$base" "$folder"
chmod 700 "$folder"
cat >>"$folder/postgresql.auto.conf" <<END
restore_command = 'gunzip -c "$archive/%f.gz" > "%p"'
recovery_target_time = '$target'
recovery_target_action = 'promote'
END
touch "$folder/recovery.signal"
echo "Start PostgreSQL on $folder: it goes on from $base to $moment"

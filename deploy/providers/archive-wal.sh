#!/bin/sh
# PostgreSQL's archive_command: keep a finished piece of the write-ahead log, compressed, for point-in-time recovery.
#
#   archive_command = 'ARCHIVE_DIR=/archive /opt/windlass/archive-wal.sh %p %f'
#
# PostgreSQL calls it again until it ends with 0, also after a crash in which a piece was kept already.
set -eu
umask 077
from=$1 to="${ARCHIVE_DIR:?}/$2.gz"
if [ -e "$to" ]; then
    gunzip -c "$to" | cmp -s - "$from"
    exit
fi
gzip -1 -c "$from" >"$to.part"
sync "$to.part"
mv "$to.part" "$to"
sync "$ARCHIVE_DIR"

# shellcheck shell=sh
# What the scripts beside this one share: they read it. The password goes to PostgreSQL's programs by the environment,
# never by their arguments, which everybody on the machine can read.

fail() {
    code=$1
    shift
    echo "${0##*/}: $*" >&2
    exit "$code"
}

# Percent signs of an address, decoded.
decoded() {
    printf '%s' "$1" | awk 'BEGIN { hex = "0123456789ABCDEF" } {
        text = $0
        while ((at = index(text, "%")) > 0) {
            high = index(hex, toupper(substr(text, at + 1, 1))); low = index(hex, toupper(substr(text, at + 2, 1)))
            if (!high || !low) exit 1
            printf "%s%c", substr(text, 1, at - 1), (high - 1) * 16 + low - 1
            text = substr(text, at + 3)
        }
        printf "%s", text
    }'
}

# Take DATABASE_URL apart: the password into PGPASSWORD, what is only the service's own away.
read_address() {
    case ${DATABASE_URL:-} in
    postgres://* | postgresql://* | postgresql+*://*) ;;
    *) fail 2 "DATABASE_URL is no address of a PostgreSQL database" ;;
    esac
    rest=${DATABASE_URL#*://}
    query=""
    case $rest in *\?*) query=${rest#*\?} rest=${rest%%\?*} ;; esac
    server=${rest%%/*} database=${rest#*/}
    case $rest in */?*) ;; *) fail 2 "DATABASE_URL names no database" ;; esac
    case "&$query" in *"&password="*) fail 2 "the password belongs before the @ of DATABASE_URL" ;; esac
    case $server in
    *:*@*)
        user=${server%@*}
        PGPASSWORD=$(decoded "${user#*:}") || fail 2 "the password in DATABASE_URL has a bad percent sign"
        export PGPASSWORD
        server="${user%%:*}@${server##*@}"
        ;;
    esac
    options=$(printf '%s' "$query" | tr '&' '\n' | sed -e '/^pool_size=/d' -e '/^max_overflow=/d' -e 's/^ssl=/sslmode=/' | tr '\n' '&')
    options=${options%&}
}

# The address of a database on that server.
at() {
    printf 'postgresql://%s/%s%s' "$server" "$1" "${options:+?$options}"
}

# Refuse what is no number of days.
days() {
    case $1 in '' | *[!0-9]*) fail 2 "KEEP_DAYS is no number of days: $1" ;; esac
}

# Be the only one who writes copies into a folder, until this process ends.
alone() {
    mkdir -p "$1" || fail 2 "BACKUP_DIR cannot be made: $1"
    exec 9>"$1/.lock" || fail 2 "BACKUP_DIR cannot be written: $1"
    flock -n 9 || fail 75 "another backup into $1 is at work"
}

# Compare every file of a base backup with the sum in its manifest.
whole() {
    sums=$(sed -n 's/^{ "Path": "\([^"]*\)".*"Checksum-Algorithm": "SHA256", "Checksum": "\([0-9a-f]*\)".*/\2  \1/p' \
        "$1/backup_manifest")
    listed=$(grep -c '^{ "\(Encoded-\)\{0,1\}Path": ' "$1/backup_manifest")
    [ "$(printf '%s\n' "$sums" | grep -c .)" -eq "$listed" ] && (cd "$1" && printf '%s\n' "$sums" | sha256sum --quiet -c - >&2)
}

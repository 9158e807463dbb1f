# Sourced by the other scripts: paths, the server to use, and the user who runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() {
    if [ -t 2 ]; then printf '\033[1m== %s\033[0m\n' "$*" >&2; else printf '== %s\n' "$*" >&2; fi
}
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# A server is usable if its version is supported and its headers (to build) and initdb (to test)
# exist.
usable() {
    [ -x "$1" ] || return 1
    case $("$1" --version) in "PostgreSQL 1"[4-8]*) ;; *) return 1 ;; esac
    [ -f "$("$1" --includedir-server)/postgres.h" ] && [ -x "$("$1" --bindir)/initdb" ]
}

# The server to use: PG_CONFIG, or else the one on the PATH, or else the newest that Debian has
# installed.
find_pg_config() {
    if [ -n "${PG_CONFIG:-}" ]; then
        local named
        named=$(command -v "$PG_CONFIG") || die "PG_CONFIG=$PG_CONFIG is not there"
        usable "$named" || die "the server of $PG_CONFIG is not PostgreSQL 14 to 18 with headers and initdb"
        realpath -s "$named"
        return
    fi
    local candidate
    for candidate in "$(command -v pg_config || true)" \
        $(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -t/ -k5,5nr); do
        if usable "$candidate"; then echo "$candidate"; return; fi
    done
    return 1
}

# Sets PG_CONFIG to the server to use, or ends the script if there is none.
need_pg_config() {
    PG_CONFIG=$(find_pg_config) || { [ -n "${PG_CONFIG:-}" ] || say "no PostgreSQL 14 to 18 with headers: run make setup"; exit 1; }
    export PG_CONFIG
}

pg_major() { "$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/'; }

# Runs a command as root, directly or with sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# PostgreSQL refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    PV_SERVER_USER=${PV_SERVER_USER:-$(id -un postgres 2>/dev/null || echo nobody)}
    as_server() {
        setpriv --reuid="$PV_SERVER_USER" --regid="$(id -g "$PV_SERVER_USER")" --clear-groups \
            env HOME=/tmp "$@"
    }
else
    PV_SERVER_USER=$(id -un)
    as_server() { "$@"; }
fi
export PV_SERVER_USER

# One folder for build results, whatever cargo's own configuration says.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}
TARGET=$CARGO_TARGET_DIR

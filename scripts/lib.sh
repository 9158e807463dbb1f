# Sourced by the other scripts: where things are, and who runs the server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() {
    if [ -t 2 ]; then printf '\033[1m== %s\033[0m\n' "$*" >&2; else printf '== %s\n' "$*" >&2; fi
}
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# A server can be built against when its headers are there, and tested when initdb is.
usable() {
    [ -x "$1" ] || return 1
    [ -f "$("$1" --includedir-server)/postgres.h" ] && [ -x "$("$1" --bindir)/initdb" ]
}

# The server to use: PG_CONFIG, else the one on the PATH, else the newest that Debian installed.
find_pg_config() {
    if [ -n "${PG_CONFIG:-}" ]; then
        local named
        named=$(command -v "$PG_CONFIG") || die "PG_CONFIG=$PG_CONFIG is not there"
        usable "$named" || die "the server of $PG_CONFIG has no headers or no initdb"
        echo "$named"
        return
    fi
    local candidate
    for candidate in "$(command -v pg_config || true)" \
        $(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -t/ -k5,5nr); do
        if usable "$candidate"; then echo "$candidate"; return; fi
    done
    return 1
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

TARGET=${CARGO_TARGET_DIR:-target}

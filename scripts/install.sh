#!/usr/bin/env bash
# Copies the library, the control file and the SQL into the server of PG_CONFIG; --remove deletes
# them.
. "$(dirname "$0")/lib.sh"
need_pg_config

lib=${DESTDIR:-}$("$PG_CONFIG" --pkglibdir)
share=${DESTDIR:-}$("$PG_CONFIG" --sharedir)/extension

# Runs as the current user if both folders are writable (a staging folder of DESTDIR), or else as
# root.
mkdir -p "$lib" "$share" 2>/dev/null || true
put() {
    if [ -d "$lib" ] && [ -w "$lib" ] && [ -d "$share" ] && [ -w "$share" ]; then "$@"; else as_root "$@"; fi
}

if [ "${1:-}" = --remove ]; then
    put rm -f "$lib/password_verify.so" "$share/password_verify.control" "$share"/password_verify--*.sql
    say "removed from $("$PG_CONFIG" --version)"
    exit
fi

put mkdir -p "$lib" "$share"
# A new file instead of new content: running servers keep the library that they have mapped.
put install -m 755 "$TARGET/release/libpassword_verify.so" "$lib/password_verify.so.new"
put mv "$lib/password_verify.so.new" "$lib/password_verify.so"
put install -m 644 password_verify.control sql/password_verify--*.sql "$share/"
say "installed into $("$PG_CONFIG" --version): $lib/password_verify.so"

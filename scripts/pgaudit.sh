#!/usr/bin/env bash
# Installs pgaudit for the server of PG_CONFIG, where Debian has one for it: tests look at what it logs. It is loaded by the
# servers of tests only.
. "$(dirname "$0")/lib.sh"
need_pg_config

[ ! -f "$("$PG_CONFIG" --pkglibdir)/pgaudit.so" ] || exit 0
package=postgresql-$(pg_major)-pgaudit
if [ "$("$PG_CONFIG" --bindir)" != "/usr/lib/postgresql/$(pg_major)/bin" ] || ! command -v apt-get >/dev/null; then
    say "no pgaudit for this server: what it logs is not looked at"
    exit 0
fi
say "installing $package with apt-get (usually some seconds)"
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null

#!/usr/bin/env bash
# Installs what tests of connections need: iproute2, which makes them a network, and pgbouncer. It does not run afterwards:
# every test starts its own.
. "$(dirname "$0")/lib.sh"

missing=()
[ -x /sbin/ip ] || [ -x /usr/sbin/ip ] || missing+=(iproute2)
[ -x /usr/sbin/pgbouncer ] || [ -x /usr/bin/pgbouncer ] || missing+=(pgbouncer)
[ ${#missing[@]} = 0 ] && exit 0

command -v apt-get >/dev/null || die "missing: ${missing[*]}; this script knows apt-get only, install them yourself"
say "installing ${missing[*]} with apt-get (usually half a minute)"
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
# Debian starts what it installs. Who had a pgbouncer before keeps it as it was.
if [[ " ${missing[*]} " == *" pgbouncer "* ]] && [ -d /run/systemd/system ]; then
    as_root systemctl disable --quiet --now pgbouncer.service 2>/dev/null || true
fi

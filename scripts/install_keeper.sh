#!/usr/bin/env bash
# Builds pv-keeper and installs it with its unit, its user and an example of its configuration; --remove deletes binary
# and unit, and leaves the configuration and the user.
. "$(dirname "$0")/lib.sh"

root=${DESTDIR:-}
bin=$root/usr/local/bin
unit=$root/etc/systemd/system
users=$root/usr/local/lib/sysusers.d
etc=$root/etc/password_verify
put() { if [ -n "$root" ]; then "$@"; else as_root "$@"; fi; }
# Of the machine itself, and only where systemd runs.
systemd() { if [ -z "$root" ] && [ -d /run/systemd/system ]; then as_root "$@"; fi; }

if [ "${1:-}" = --remove ]; then
    systemd systemctl disable --now pv-keeper.service || true
    put rm -f "$bin/pv-keeper" "$unit/pv-keeper.service" "$users/pv-keeper.conf"
    systemd systemctl daemon-reload
    say "removed; $etc and the user pv-keeper stay"
    exit
fi

say "building pv-keeper (the first time usually 3 to 5 minutes)"
cargo build --release --locked --package password-verify-keeper

from=crates/keeper/packaging
put install -D -m 755 "$TARGET/release/pv-keeper" "$bin/pv-keeper"
put install -D -m 644 "$from/pv-keeper.service" "$unit/pv-keeper.service"
put install -D -m 644 "$from/pv-keeper.sysusers" "$users/pv-keeper.conf"
put install -d -m 755 "$etc"
put install -d -m 700 "$etc/keeper"
[ -e "$etc/keeper.toml" ] || put install -m 644 "$from/keeper.toml" "$etc/keeper.toml"
if [ -z "$root" ] && ! id pv-keeper >/dev/null 2>&1; then
    if command -v systemd-sysusers >/dev/null; then
        as_root systemd-sysusers "$users/pv-keeper.conf"
    else
        as_root useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin pv-keeper
    fi
fi
systemd systemctl daemon-reload
say "installed: $bin/pv-keeper"
say "next: a connection string in $etc/keeper/dsn, domains in $etc/keeper.toml, then systemctl enable --now pv-keeper"

#!/usr/bin/env bash
# Runs every test against what is installed in the server of PG_CONFIG.
. "$(dirname "$0")/lib.sh"
PG_CONFIG=$(find_pg_config) || die "no pg_config with server headers: run make setup"
export PG_CONFIG

say "testing with $("$PG_CONFIG" --version) (usually 4 minutes, with a first build 6)"
exec cargo test --locked --workspace --exclude password_verify

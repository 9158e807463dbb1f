#!/usr/bin/env bash
# Runs every test against what is installed in the server of PG_CONFIG.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "testing with $("$PG_CONFIG" --version) (usually 12 minutes, with a first build 14)"
exec cargo test --locked --workspace --exclude password_verify

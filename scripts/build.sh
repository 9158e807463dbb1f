#!/usr/bin/env bash
# Builds the library for the server of PG_CONFIG, in release mode.
. "$(dirname "$0")/lib.sh"
PG_CONFIG=$(find_pg_config) || die "no pg_config with server headers: run make setup"

major=$(pg_major)
case $major in 14 | 15 | 16 | 17 | 18) ;; *) die "PostgreSQL $major is not supported: 14 to 18 are" ;; esac

say "building for $("$PG_CONFIG" --version) (the first time usually 2 to 5 minutes, then seconds)"
PGRX_PG_CONFIG_PATH=$PG_CONFIG cargo build --release --locked \
    --package password_verify --no-default-features --features "pg$major"

#!/usr/bin/env bash
# Builds the library for the server of PG_CONFIG, in release mode.
. "$(dirname "$0")/lib.sh"
need_pg_config

major=$(pg_major)

say "building for $("$PG_CONFIG" --version) (the first time usually 2 to 5 minutes, then seconds)"
features=pg$major
[ -n "${WITHOUT_IMPORT:-}" ] || features+=,import
PGRX_PG_CONFIG_PATH=$PG_CONFIG cargo build --release --locked \
    --package password_verify --no-default-features --features "$features"

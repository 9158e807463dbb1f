#!/usr/bin/env bash
# Runs every test against what is installed in the server of PG_CONFIG.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "testing with $("$PG_CONFIG" --version) (usually 50 minutes, with a first build an hour)"
# What the keeper's program is tested with.
scripts/mail-servers.sh
# Two machines, and a pooler between them.
scripts/network.sh
# A neighbour that logs statements.
scripts/pgaudit.sh
# Every test has its own database: more tests at a time than there are workers would wait for one
# another.
processors=$(nproc)
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((processors < 4 ? processors : 4))}
# A file that fails does not hide what the others say.
exec cargo test --locked --workspace --exclude password_verify --no-fail-fast

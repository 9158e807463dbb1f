#!/usr/bin/env bash
# Checks formatting, clippy, pgspot, and the rules that a grep can check.
. "$(dirname "$0")/lib.sh"
need_pg_config
major=$(pg_major)

say "formatting"
cargo fmt --all --check

say "clippy (the first time usually 2 minutes)"
PGRX_PG_CONFIG_PATH=$PG_CONFIG cargo clippy --release --locked --package password_verify \
    --no-default-features --features "pg$major,import" -- -D warnings
PGRX_PG_CONFIG_PATH=$PG_CONFIG cargo clippy --release --locked --package password_verify \
    --no-default-features --features "pg$major" -- -D warnings
cargo clippy --locked --workspace --exclude password_verify --all-targets -- -D warnings

say "links of the comments"
export RUSTDOCFLAGS="-D rustdoc::broken_intra_doc_links -A rustdoc::private_intra_doc_links"
PGRX_PG_CONFIG_PATH=$PG_CONFIG cargo doc --quiet --release --locked --package password_verify --no-deps \
    --document-private-items --no-default-features --features "pg$major,import"
cargo doc --quiet --locked --workspace --exclude password_verify --no-deps --document-private-items

say "licences and sources of dependencies (the first time 3 to 6 minutes, to build cargo-deny)"
deny=$TARGET/tools/bin/cargo-deny
[ -x "$deny" ] || cargo install --quiet --locked --version 0.20.2 --root "$TARGET/tools" cargo-deny
"$deny" --all-features check licenses bans sources

say "pgspot on the SQL"
scripts/pgspot.sh sql/password_verify--*.sql

say "rules of the house"
none() {
    local why=$1 found
    shift
    found=$(grep -rnE "$@") && die "$why:"$'\n'"$found"
    [ $? = 1 ] || die "grep failed: $*"
}
none "unsafe code, SPI and pg_sys belong in src/pg" '\bunsafe\b|Spi|pg_sys' src --include='*.rs' --exclude-dir=pg
grep -q '^#!\[forbid(unsafe_code)\]' crates/core/src/lib.rs || die "crates/core must forbid unsafe code"
none "crates/core knows no PostgreSQL, no clock, no I/O" 'pgrx|std::(fs|io|net|time|process|env)|SystemTime|Instant' crates/core/src

say "links of the documents"
python3 scripts/links.py

say "tables in docs/"
scripts/tables.sh --check

say "rooms and rings"
python3 scripts/rooms.py || die "see docs/architecture.md"

say "the toy of docs/architecture.md"
scripts/toy.sh

say "what must fail, fails"
scripts/lint_fails.sh

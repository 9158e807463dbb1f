#!/usr/bin/env bash
# Applies the patch that docs/architecture.md shows ("How to add a secret") to a copy, and compiles that.
. "$(dirname "$0")/lib.sh"
need_pg_config

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r Cargo.toml Cargo.lock clippy.toml src crates sql tests "$copy"
sed -n '/^```diff$/,/^```$/p' docs/architecture.md | sed '1d;$d' >"$copy/toy.patch"
target=$(realpath "$TARGET")
cd "$copy"
git apply toy.patch || die "the toy of docs/architecture.md does not apply: print it again"
PGRX_PG_CONFIG_PATH=$PG_CONFIG CARGO_TARGET_DIR=$target cargo clippy --release --locked --package password_verify \
    --no-default-features --features "pg$(pg_major),import" -- -D warnings

#!/usr/bin/env bash
# Writes the tables of the rules into docs/reference.md, or with --check verifies that they are
# current.
. "$(dirname "$0")/lib.sh"

new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
    sed '/^<!-- made by `make tables` -->$/q' docs/reference.md
    cargo run --quiet --locked --package password-verify-core --example authenticators
    sed -n '/^<!-- end -->$/,$p' docs/reference.md
} >"$new"
if [ "${1:-}" = --check ]; then
    cmp -s "$new" docs/reference.md || die "docs/reference.md is not what the rules say: run make tables"
else
    cat "$new" >docs/reference.md
fi

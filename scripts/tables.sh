#!/usr/bin/env bash
# Writes the tables of the rules into docs/reference.md and docs/siem.md, or with --check verifies
# that they are current.
. "$(dirname "$0")/lib.sh"

new=$(mktemp)
trap 'rm -f "$new"' EXIT
made() {
    {
        sed '/^<!-- made by `make tables` -->$/q' "$1"
        cargo run --quiet --locked --package password-verify-core --example "$2"
        sed -n '/^<!-- end -->$/,$p' "$1"
    } >"$new"
    if [ "$check" = --check ]; then
        cmp -s "$new" "$1" || die "$1 is not what the rules say: run make tables"
    else
        cat "$new" >"$1"
    fi
}
check=${1:-}
made docs/reference.md authenticators
made docs/siem.md siem

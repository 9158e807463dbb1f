#!/usr/bin/env bash
# Tampers with every column of every table, and writes what came of it into docs/tampering.md.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "tampering with $("$PG_CONFIG" --version) (usually 4 minutes)"
log=$(mktemp) new=$(mktemp)
trap 'rm -f "$log" "$new"' EXIT
PV_TAMPERING_WRITE=1 cargo test --locked --package password-verify-tests --no-fail-fast \
    --test tampering --test tampering_restart -- --nocapture >"$log" ||
    die "something went unnoticed, or a test is wrong:"$'\n'"$(grep -E 'UNNOTICED|PLANTED|panicked' -A 3 "$log")"

# Tests run at the same time: the tables of the keeper come after those of passwords, whichever is through first.
lines() {
    local all keeper='| `\(secret\|job\|result\|vault\|throttle\|event_fold\|open_change\|cost_class\|anchor\|at a start: event\)[.`]'
    all=$(sed -n "s/^tampering: \(| \`\(at a start: \)\?$1.*\)$/\1/p" "$log")
    grep -v "$keeper" <<<"$all"
    grep "$keeper" <<<"$all"
}
{
    sed '/^<!-- made by `make tampering` -->$/q' docs/tampering.md
    cat <<'HEAD'

| column | changed | swapped between two rows | set to NULL |
| --- | --- | --- | --- |
HEAD
    lines '[a-z_]*\.'
    cat <<'HEAD'

| rows of | deleted | duplicated | of another database | of last week |
| --- | --- | --- | --- | --- |
HEAD
    lines '[a-z_]*` '
    echo
    sed -n '/^<!-- end -->$/,$p' docs/tampering.md
} >"$new"
cat "$new" >docs/tampering.md

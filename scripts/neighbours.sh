#!/usr/bin/env bash
# Runs black-box tests with every combination of three libraries that others preload (pg_stat_statements, auto_explain,
# pgaudit), with redaction and without. Names of tests as arguments, or ALL=1 for every one; otherwise those named here.
# COMBINATIONS="pgaudit/on none/off" runs those alone.
. "$(dirname "$0")/lib.sh"
need_pg_config

tests=(contract bad_input concurrency kinds surface escape_tables escape_functions escape_traces throttle_guesses
    throttle_cut_off recorded changes reset rename reuse storage keeper_secrets keeper_jobs keeper_vault install slots)
[ $# = 0 ] || tests=("$@")
named=(--tests)
[ -n "${ALL:-}" ] || named=("${tests[@]/#/--test=}")

all=pg_stat_statements,auto_explain,pgaudit
# What differs most comes first. Our library comes last, but also first and in between.
first=password_verify,$all between=pg_stat_statements,password_verify,auto_explain,pgaudit
combinations="$all/on none/off none/on $first/on $between/on $all/off"
for some in pg_stat_statements auto_explain pgaudit pg_stat_statements,auto_explain pg_stat_statements,pgaudit auto_explain,pgaudit; do
    combinations+=" $some/on $some/off"
done
for library in ${all//,/ }; do
    [ -f "$("$PG_CONFIG" --pkglibdir)/$library.so" ] || die "$library is not installed"
done

say "building the tests (the first time usually 5 minutes)"
folder=$(mktemp -d "${TMPDIR:-/tmp}/password_verify-neighbours.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cargo test --locked --package password-verify-tests "${named[@]}" --no-run --message-format=json 2>/dev/null |
    python3 -c '
import json, sys
for artifact in map(json.loads, sys.stdin):
    if artifact.get("executable") and artifact["profile"]["test"]:
        print(artifact["target"]["name"], artifact["executable"])' | sort >"$folder/tests"
[ -s "$folder/tests" ] || die "the tests do not build"
# Copies: a build in the meantime changes nothing.
while read -r name program; do cp "$program" "$folder/$name"; done <"$folder/tests"

processors=$(nproc)
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((processors < 4 ? processors : 4))}
mkdir -p "${RESULTS:-$TARGET/neighbours}"
results=$(realpath "${RESULTS:-$TARGET/neighbours}")
failures=0
printf '| preloaded before us | redact | passed | failed |\n| --- | --- | --- | --- |\n'
for combination in ${COMBINATIONS:-$combinations}; do
    libraries=${combination%/*} redact=${combination#*/}
    say "$libraries, redact = $redact ($(wc -l <"$folder/tests") files of tests)"
    passed=0 failed=()
    while read -r name _; do
        log=$results/${libraries//,/+}-$redact-$name.log
        (cd tests && PV_NEIGHBOURS=${libraries/#none/} PV_SETTINGS="password_verify.redact = $redact" "$folder/$name" >"$log" 2>&1 </dev/null) ||
            failed+=("$name: $(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$log" | paste -sd' ')")
        passed=$((passed + $(grep -cE '^test .* \.\.\. ok$' "$log" || true)))
    done <"$folder/tests"
    failures=$((failures + ${#failed[@]}))
    printf '| %s | %s | %s | %s |\n' "$libraries" "$redact" "$passed" "${failed[*]:-none}"
done
[ "$failures" = 0 ] || die "not everything passed: $results"

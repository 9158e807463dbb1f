#!/usr/bin/env bash
# Breaks what the doctor looks for, and writes what it found into docs/doctor.md.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "patients of the doctor on $("$PG_CONFIG" --version) (usually 3 minutes)"
log=$(mktemp) new=$(mktemp)
trap 'rm -f "$log" "$new"' EXIT
cargo test --locked --package password-verify-tests --no-fail-fast --test doctor_roles --test doctor_settings \
    --test doctor_server --test doctor_attacked -- --nocapture --test-threads 2 >"$log" 2>&1 ||
    die "a rule finds too much or too little:"$'\n'"$(grep -E 'panicked' -A 4 "$log")"
lines=$(sed -n 's/^doctor: //p' "$log" | sort -u)
# The rules as SQL has them, in its order.
rules=$(sed -n "/^CREATE VIEW password_verify.rule /,/;\$/s/^    ('[a-z]*', '\([a-z]*\)', '\(.*\)', '\(.*\)').*/| \2 | \1 | \3 |/p" \
    sql/password_verify--0.1.0.sql | sed "s/''/'/g")
{
    cat <<HEAD
# The doctor

\`SELECT * FROM auth.pv_doctor()\` says what is not as it should be, why that matters, and what mends it.
[docs/operating.md](operating.md#the-doctor) says how to use it. This page has its rules, and what came of breaking each.

Made by \`make doctor\` on $("$PG_CONFIG" --version | sed 's/ (.*//'), from the tests \`tests/operate/doctor_*.rs\`. Each of them looks at
a healthy server; makes what resembles the fault and is none, of which nothing may be found; makes the fault, of which
exactly one thing more must be found; runs the remedy, pasted into psql, or does by hand what it says; and nothing may be
left.

## Rules

| rule | severity | why |
| --- | --- | --- |
$rules

## What was broken

\`{app}\` is the application's login, and \`{db}\` the database.

| rule | severity | broken | quiet | mended |
| --- | --- | --- | --- | --- |
$lines
HEAD
} >"$new"
cat "$new" >docs/doctor.md

#!/usr/bin/env bash
# Runs the attacks on the throttle, the audit trail, the slots and the tokens, and writes
# docs/attacks.md.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "attacking $("$PG_CONFIG" --version) (usually 10 minutes)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
files=(
    # tests/attack
    'throttle_*' forgive 'keyless_*' left_in_memory record_errors restricted
    # tests/audit
    anchor chain changes come_and_go copies crash numbers recorded retention shared_workers unwritten worker
    # tests/credential
    reset reuse
    # tests/operate
    slots_cut_off hash_memory
)
cargo test --locked --workspace --exclude password_verify --no-fail-fast "${files[@]/#/--test=}" \
    -- --nocapture | tee "$log" |
    grep -E '^test result|FAILED' || true
failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | wc -l)
[ "$failed" = 0 ] || die "$failed attacks got through, or a test is wrong: see its output"

{
    cat <<HEAD
# Attacks

Each line is an attack that a test makes on a real server with real connections. The test counts how often the attack was
tried and how often it got through. Made by \`make attacks\` on $(date -u +%Y-%m-%d): $(nproc --all) processors
($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), $("$PG_CONFIG" --version).

| attack | tried | got through |
| --- | --- | --- |
HEAD
    sed -n 's/^.*attack: \(.*\)$/\1/p' "$log" | sort | awk -F' \\| ' '{ tried[$1] += $2; through[$1] += $3 }
        END { for (what in tried) printf "| %s | %s | %s |\n", what, tried[what], through[what] }' | sort
} >docs/attacks.md
cat docs/attacks.md

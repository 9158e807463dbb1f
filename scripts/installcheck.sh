#!/usr/bin/env bash
# Runs every test against what is installed in the server of PG_CONFIG.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "testing with $("$PG_CONFIG" --version) (usually 35 minutes, with a first build 45)"
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

# Tests wait more than they compute: about half of them run beside the other half. A file that fails does not hide what
# the others say.
cargo test --locked --workspace --exclude password_verify --no-run
files=$(sed -n '/^\[\[test\]\]$/,/^name = /s/^name = "\(.*\)"$/\1/p' tests/Cargo.toml)
number=0 here=() beside=()
for file in $files; do
    # The other packages, which come last here, take as long as a quarter of these files.
    if [ $((number++ % 5)) -lt 3 ]; then beside+=("--test=$file"); else here+=("--test=$file"); fi
done
[ "$number" -gt 1 ] || die "no tests were found"
log=$(mktemp)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -f "$log"' EXIT
cargo test --locked --package password-verify-tests --no-fail-fast "${beside[@]}" >"$log" 2>&1 &
failed=0
cargo test --locked --package password-verify-tests --no-fail-fast "${here[@]}" || failed=1
cargo test --locked --workspace --exclude password_verify --exclude password-verify-tests --no-fail-fast || failed=1
wait $! || failed=1
cat "$log"
exit $failed

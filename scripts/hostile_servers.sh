#!/usr/bin/env bash
# Runs the hostile mail servers, and writes what came of each into docs/hostile-servers.md.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "hostile servers with $("$PG_CONFIG" --version) (usually 2 minutes)"
log=$(mktemp) new=$(mktemp)
trap 'rm -f "$log" "$new"' EXIT
PV_HOSTILE_WRITE=1 cargo test --locked --package password-verify-keeper --test hostile -- --nocapture >"$log" ||
    die "a test failed:"$'\n'"$(grep -E 'panicked' -A 3 "$log")"
{
    sed '/^<!-- made by `make hostile-servers` -->$/q' docs/hostile-servers.md
    cat <<'HEAD'

| a server that | outcome | detail | the secret |
| --- | --- | --- | --- |
HEAD
    # By what comes of it: the best first.
    for outcome in done retry failed rejected; do
        sed -n "s/^hostile: \(.* | $outcome | .*\)$/| \1 |/p" "$log" | LC_ALL=C sort -t '|' -k 4,4 -k 2,2
    done
} >"$new"
cat "$new" >docs/hostile-servers.md

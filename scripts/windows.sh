#!/usr/bin/env bash
# Puts passwords into statements in every way, looks for them in PostgreSQL's own windows, and writes what came of it
# into docs/windows.md.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "PostgreSQL's windows with $("$PG_CONFIG" --version) (usually 4 minutes)"
log=$(mktemp) new=$(mktemp)
trap 'rm -f "$log" "$new"' EXIT
for target in everything sampled; do
    PV_WINDOWS_WRITE=1 cargo test --locked --package password-verify-tests --test "windows_$target" \
        -- --nocapture --test-threads 2 >>"$log" 2>&1 ||
        die "a test failed:"$'\n'"$(grep -E 'panicked' -A 40 "$log")"
done
told() { sed -n "s/^$1: //p" "$log" | awk "!seen[\$0]++"; }
{
    cat <<HEAD
# PostgreSQL's windows

A password in a statement may be seen in the log, in views and in files, which PostgreSQL and its libraries fill without
knowing what a password is. [The table](#ways) says what was seen of it, once on a server with
\`password_verify.redact = on\`, and once on the same server without. Each row is a way to send passwords that nobody has
seen before (by its name it is found in [\`tests/src/windows/\`](../tests/src/windows)); each column is a window.

- empty: neither server shows a password there
- 0: the server without redaction shows it, the one with redaction does not
- a letter: the server with redaction shows it as well: a [limit](#limits)

Made by \`scripts/windows.sh\` on $("$PG_CONFIG" --version | sed 's/ (.*//'), with \`pg_stat_statements\`, \`auto_explain\` and
\`pgaudit\`, each of which logs all it can, to stderr, csvlog and jsonlog. $(told passwords)
The test [\`tests/windows/everything.rs\`](../tests/windows/everything.rs) fails on any server from 14 to 18 if a password is
seen beyond the limits, or if a limit is none, and on this one if the table says something else. \`variants.rs\` beside it
repeats a part with other formats of plans, other encodings, \`standard_conforming_strings = off\` and texts that are cut
off, and \`orders.rs\` with the libraries in every order.

| column | what it is |
| --- | --- |
| statement | what \`log_statement\` prints |
| duration | what \`log_min_duration_statement\` prints |
| message | any other message of the log, errors among them |
| DETAIL | its \`DETAIL\`: parameters, rows, processes that wait for each other, and the trees of \`debug_print_plan\` |
| CONTEXT | its \`CONTEXT\` and its \`QUERY\` |
| STATEMENT | its \`STATEMENT\` |
| plan | \`auto_explain\` |
| audit | \`pgaudit\` |
| running | \`pg_stat_activity\` while the statement waits for a lock |
| afterwards | \`pg_stat_activity\` when it is over |
| statements | \`pg_stat_statements\` |
| session | what the session itself has: \`pg_prepared_statements\`, \`pg_cursors\`, its memory contexts, also where \`pg_log_backend_memory_contexts\` prints them |
| client | errors and notices that the client gets |
| files | tables, catalogs, WAL, temporary files, statistics that are kept, all other views of \`pg_catalog\` |

The memory that all processes share was looked through as well, when all was over, and \`pg_stat_activity\` all the time.

HEAD
    printf '## Limits\n\n'
    told limits
    cat <<SAMPLED

## Sampled

One session calls \`pv_check_password\` as fast as it can, and nothing of it is logged. Another one looks at its row of
\`pg_stat_activity\` as fast as it can. How many of those samples had the password in them, in this run:

| how it is sent | calls a second | samples a second | samples | with the password | |
| --- | --- | --- | --- | --- | --- |
SAMPLED
    told sampled
    printf '\n## Ways\n\n'
    told windows
} >"$new"
cat "$new" >docs/windows.md

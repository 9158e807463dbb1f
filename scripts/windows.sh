#!/usr/bin/env bash
# Puts passwords into statements in every way, looks for them in PostgreSQL's own windows, and writes what came of it
# into docs/windows.md.
. "$(dirname "$0")/lib.sh"
need_pg_config

say "PostgreSQL's windows with $("$PG_CONFIG" --version) (usually 2 minutes)"
log=$(mktemp) new=$(mktemp)
trap 'rm -f "$log" "$new"' EXIT
PV_WINDOWS_WRITE=1 cargo test --locked --package password-verify-tests --test windows_everything \
    -- --nocapture >"$log" 2>&1 ||
    die "a test failed:"$'\n'"$(grep -E 'panicked' -A 40 "$log")"
{
    cat <<HEAD
# PostgreSQL's windows

A password in a statement may be seen in the log, in views and in files, which PostgreSQL and its libraries fill without
knowing what a password is. Each row is a way to put one into a statement, each column a window. \`0\`: a server without
redaction shows the password there, and one with redaction does not. A letter is a [limit](#limits). Where nothing is
written, neither of them shows it. Made by \`scripts/windows.sh\` on $("$PG_CONFIG" --version | sed 's/ (.*//'), with
\`pg_stat_statements\`, \`auto_explain\` and \`pgaudit\`, each of which logs all it can, to stderr, csvlog and jsonlog. The test
\`tests/windows/everything.rs\` fails if this table says something else.

The windows: \`statement\` and \`duration\` are what \`log_statement\`, and \`log_duration\` and
\`log_min_duration_statement\` print; \`message\` to \`STATEMENT\` are the fields of any other message, errors and the dumps of
\`debug_print_plan\` among them; \`plan\` is \`auto_explain\`, \`audit\` is \`pgaudit\`. \`running\` and \`afterwards\` are
\`pg_stat_activity\` while the statement waits for a lock, and when it is over; \`statements\` is \`pg_stat_statements\`.
\`session\` is what the session itself has: \`pg_prepared_statements\`, \`pg_cursors\`, and memory contexts, also where
\`pg_log_backend_memory_contexts\` prints them; \`client\` the messages that it gets. \`files\` are tables, catalogs, WAL,
temporary files, and the statistics that are kept. The memory that processes share was looked through as well, and
\`pg_stat_activity\` was sampled all the time.

HEAD
    sed -n 's/^windows: //p' "$log"
    printf '\n## Limits\n\n'
    sed -n 's/^limits: //p' "$log"
} >"$new"
cat "$new" >docs/windows.md

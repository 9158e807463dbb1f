#!/usr/bin/env bash
# Measures what the throttle and the audit trail cost, in a throw-away cluster with fsync on. Writes
# docs/figures.md.
. "$(dirname "$0")/cluster.sh"
seconds=${SECONDS_EACH:-5}

make_cluster figures <<CONF
max_connections = 100
$CHEAP
password_verify.throttle_first_wait = 1h
CONF
start_cluster
make_shop

# durability POLICY: sets it for the sessions that follow.
durability() { sql "ALTER DATABASE shop SET password_verify.audit_durability = $1"; }
# bench CLIENTS SCRIPT: prints transactions per second.
bench() {
    "$bin/pgbench" -n -M prepared -h "$folder" -U app -c "$1" -j 1 -T "$seconds" -f "$2" \
        -l --log-prefix="$folder/latency" shop 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*without.*/\1/p'
}
# Median latency of the last bench, in microseconds.
median() { cat "$folder"/latency.* | awk '{print $3}' | sort -n | awk '{a[NR]=$1} END {print a[int((NR+1)/2)]}'; }
chmod 777 "$folder"

say "refusals a second, the server on one processor, pgbench on the others"
echo "SELECT valid FROM auth.pv_validate_password(99::bigint, 'guess')" >"$folder/refused.sql"
for _ in 1 2 3 4 5; do sql "SELECT auth.pv_validate_password(99::bigint, 'guess')" >/dev/null; done
# on CPUS SERVER_CPUS: binds this script's children to the first, and the server to the second.
on() {
    taskset -a -p -c "$1" $$ >/dev/null
    as_root taskset -a -p -c "$2" "$(head -1 "$folder/data/postmaster.pid")" >/dev/null
}
last=$(($(nproc --all) - 1))
on "1-$last" 0
sleep 3 # until the worker has left, so that the next one runs there too
for clients in 1 64; do
    for mode in commit async; do
        durability $mode
        declare "refusals_${mode}_$clients=$(bench $clients "$folder/refused.sql")"
        rm -f "$folder"/latency.*
    done
done
on "0-$last" "0-$last"
sleep 3

say "latency of right logins of 8 clients, commit and async in turn"
echo "SELECT valid FROM auth.pv_validate_password((:client_id + 1)::bigint, 'correct horse battery staple')" >"$folder/login.sql"
commits=() asyncs=()
for _ in 1 2 3 4 5; do
    durability commit; bench 8 "$folder/login.sql" >/dev/null; commits+=("$(median)"); rm -f "$folder"/latency.*
    durability async; bench 8 "$folder/login.sql" >/dev/null; asyncs+=("$(median)"); rm -f "$folder"/latency.*
done
middle() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
commit=$(middle "${commits[@]}") async=$(middle "${asyncs[@]}")
added=$(awk "BEGIN { printf \"%.1f\", ($commit - $async) / 1000 }")

say "a flood of distinct ids: 2000 real ones, then a million rows as the worker writes them"
durability async
before=$(sql "SELECT count(*) FROM password_verify.throttle WHERE kind >= 0")
sql "SELECT count(auth.pv_validate_password('flood' || n, 'guess')) FROM generate_series(1, 2000) n" >/dev/null
sleep 1
rows=$(($(sql "SELECT count(*) FROM password_verify.throttle WHERE kind >= 0") - before))
sql "INSERT INTO password_verify.throttle SELECT gen_random_uuid(), 0, 1, now(), '2000-01-01', now() + '30 d', ''
       FROM generate_series(1, 1000000)"
size=$(sql "SELECT pg_size_pretty(pg_total_relation_size('password_verify.throttle'))")
sql "SELECT auth.pv_validate_password('cold' || n, 'guess') FROM generate_series(1, 5) n" >/dev/null
punished=$(sql "SELECT reason FROM auth.pv_validate_password(99::bigint, 'guess')")
used=$(sql "SELECT value FROM auth.pv_stats WHERE statistic = 'throttle_entries_used'")
bytes=$(sql "SELECT pg_total_relation_size('password_verify.event') / count(*) FROM password_verify.event")

cat >docs/figures.md <<TABLE
# What the throttle and the audit cost

Measured by \`make figures\` on $(date -u +%Y-%m-%d): $(nproc --all) processors ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)),
$("$PG_CONFIG" --version), a local disk with fsync on. The machine is shared: compare ratios, not machines.

| what | figure | aim |
| --- | --- | --- |
| refusals a second, the server on one processor, 64 clients, \`commit\` | $refusals_commit_64 | 10,000 |
| the same, \`async\` | $refusals_async_64 | 10,000 |
| one client, \`commit\`: each waits for its own commit | $refusals_commit_1 | |
| one client, \`async\` | $refusals_async_1 | |
| right logins of 8 clients, 7 MiB and 5 passes, median latency, \`commit\` | $(awk "BEGIN { printf \"%.1f ms\", $commit / 1000 }") | |
| the same, \`async\` | $(awk "BEGIN { printf \"%.1f ms\", $async / 1000 }") | |
| added by \`commit\` | $added ms | 5 ms |
| rows in \`password_verify.throttle\` for 2,000 distinct ids | $rows | 2000 |
| its size with a million rows more, index included | $size | |
| budgets in shared memory after that, of 65,536 | $used | |
| answer to an account that waited before it | \`$punished\` | \`throttled\` |
| bytes of an event, index included | $bytes | |
TABLE
cat docs/figures.md

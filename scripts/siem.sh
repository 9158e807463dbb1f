#!/usr/bin/env bash
# Measures what events cost that are read by a SIEM, as lines of the log and as a feed, in a throw-away cluster with fsync on.
# Writes docs/siem-figures.md.
. "$(dirname "$0")/cluster.sh"
out=${OUT:-docs/siem-figures.md}
clients=8 each=1000

make_cluster siem <<CONF
$CHEAP
password_verify.keyring_command = 'echo k1:$(openssl rand -base64 32)'
logging_collector = on
log_filename = 'log'
CONF
start_cluster
make_shop
chmod 755 "$folder"
sql "SELECT auth.pv_grant('app', 'enroller'); CREATE ROLE watch LOGIN; GRANT USAGE ON SCHEMA auth TO watch;
     SELECT auth.pv_grant('watch', 'auditor')" >/dev/null
# Refused before it costs a hash: what is measured is the worker. Up to 10,000 of these are a row each.
echo "SELECT auth.pv_create_password(:client_id || ' ' || random(), 'short')" >"$folder/refused.sql"
echo "SELECT valid FROM auth.pv_validate_password((:client_id + 1)::bigint, 'correct horse battery staple')" >"$folder/login.sql"
chmod 644 "$folder"/*.sql
worker() { sql "SELECT pid FROM pg_stat_activity WHERE backend_type = 'password_verify' AND datname = 'shop'"; }
# Microseconds that a process has run.
ran() { awk '{ printf "%d", $1 / 1000 }' "/proc/$1/schedstat"; }
median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }

# with SETTINGS...: restarts with them; prints microseconds of the worker for an event.
with() {
    local setting pid before rows
    for setting in "$@"; do sql "ALTER SYSTEM SET $setting"; done
    server restart
    sql "SELECT auth.pv_create_password('first', 'short')" >/dev/null
    pid=$(worker) before=$(ran "$pid") rows=$(sql "SELECT count(*) FROM password_verify.event")
    "$bin/pgbench" -n -M prepared -h "$folder" -U app -c $clients -j 1 -t $each -f "$folder/refused.sql" shop >/dev/null 2>&1
    echo $((($(ran "$pid") - before) / (clients * each)))
    rows=$(($(sql "SELECT count(*) FROM password_verify.event") - rows))
    [ "$rows" -ge $((clients * each)) ] || die "only $rows rows"
}
say "the worker's time for an event, with and without lines, three times in turn"
off=() plain=() json=()
for _ in 1 2 3; do
    off+=("$(with "password_verify.log_events = off")")
    plain+=("$(with "password_verify.log_events = on" "log_destination = stderr")")
    json+=("$(with "password_verify.log_events = on" "log_destination = jsonlog")")
done
say "latency of right logins of one client, with and without lines in turn"
login() {
    rm -f "$folder"/latency.*
    "$bin/pgbench" -n -M prepared -h "$folder" -U app -c 1 -j 1 -T 5 -f "$folder/login.sql" -l --log-prefix="$folder/latency" \
        shop >/dev/null
    cat "$folder"/latency.* | awk '{ print $3 }' | median
}
chmod 777 "$folder"
quiet=() told=()
for _ in 1 2 3; do
    with "password_verify.log_events = off" >/dev/null
    quiet+=("$(login)")
    with "password_verify.log_events = on" "log_destination = jsonlog" >/dev/null
    told+=("$(login)")
done
line=$(grep -h '"ecs".*"too_short"' "$folder/data/log/log" | tail -1 | sed 's/.*password_verify: {/{/' | wc -c)

say "the feed"
rows=$(sql "SELECT count(*) FROM password_verify.event")
ask() {
    {
        echo '\timing on'
        for _ in $(seq 11); do echo "SELECT sum(length(event::text)) FROM auth.pv_events_after(NULL, NULL, 10000);"; done
    } | "$bin/psql" -X -q -At -v ON_ERROR_STOP=1 -h "$folder" -U watch -d shop -o /dev/null |
        sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n +2 | median
}
rate=$(ask | awk '{ printf "%d", 10000 / $1 * 1000 }')

ms() { printf '%s\n' "$@" | median | awk '{ printf "%.2f ms", $1 / 1000 }'; }
us() { echo "$(printf '%s\n' "$@" | median) µs"; }
cat >"$out" <<TABLE
# What events cost that a SIEM reads

Measured by \`make siem-figures\` on $(date -u +%Y-%m-%d): $(nproc --all) processors ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)),
$("$PG_CONFIG" --version), a local disk with fsync on, a keyring. The machine is shared: compare ratios, not machines.

| what | figure | aim |
| --- | --- | --- |
| the worker's time for an event, \`log_events = off\` | $(us "${off[@]}") | |
| the same, \`on\`, \`log_destination = stderr\` | $(us "${plain[@]}") | |
| the same, \`on\`, \`log_destination = jsonlog\` | $(us "${json[@]}") | |
| a right login (7 MiB, 5 passes), one client, median latency, \`off\` | $(ms "${quiet[@]}") | |
| the same, \`on\`, \`jsonlog\` | $(ms "${told[@]}") | |
| bytes of the line of a refused sign-up | ${line} | |
| rows a second of the feed, 10,000 a page | $rate | 20,000 |
TABLE
cat "$out"

#!/usr/bin/env bash
# Measures what it takes to verify a million users and a million events, and what the keyring costs each login,
# change and event: two throw-away clusters, with a keyring and without, in turns. ROWS is the number of users (a
# million by default, which takes some minutes), ROUNDS how often the costs are measured. Writes docs/verification.md.
. "$(dirname "$0")/cluster.sh"
rows=${ROWS:-1000000}
rounds=${ROUNDS:-9}
out=${OUT:-docs/verification.md}
declare -A folders

finish() {
    local which
    for which in "${!folders[@]}"; do
        folder=${folders[$which]}
        remove_cluster
    done
}

# cluster NAME: a running server with the shop in $folders[NAME].
cluster() {
    make_cluster "verification-$1" <<CONF
$CHEAP
max_wal_size = 8GB
autovacuum = off
password_verify.throttle_caller_hashes = 0
CONF
    folders[$1]=$folder
    trap finish EXIT
    if [ "$1" = keyring ]; then
        (umask 077 && echo "a:$(openssl rand -base64 32)" >"$folder/keys")
        as_root chown "$PV_SERVER_USER" "$folder/keys"
        echo "password_verify.keyring_file = '$folder/keys'" | as_server tee -a "$folder/data/postgresql.conf" >/dev/null
    fi
    start_cluster
    make_shop
    sql "ALTER DATABASE shop SET password_verify.audit_durability = async"
}

# Processor time of a process, in nanoseconds, once it sleeps.
work() {
    until [[ $(<"/proc/$1/stat") == *") S "* ]]; do :; done
    sleep 0.002
    cut -d' ' -f1 "/proc/$1/schedstat"
}
worker() { sql "SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'password_verify' AND datname = 'shop'"; }
settle() { until [ "$(sql "SELECT value FROM auth.pv_stats WHERE statistic = 'queue_used'")" = 0 ]; do :; done; }
# batch NUMBER CALL: processor time of the worker for each of so many events, written together, in nanoseconds.
batch() {
    local pid before
    sql "SELECT auth.pv_create_password('poke'::text, 'short')" >/dev/null
    settle
    pid=$(worker)
    as_root kill -STOP "$pid"
    sql "DO \$\$ BEGIN FOR i IN 1..$1 LOOP PERFORM $2; END LOOP; END \$\$"
    before=$(cut -d' ' -f1 "/proc/$pid/schedstat")
    as_root kill -CONT "$pid"
    settle
    echo $((($(work "$pid") - before) / $1))
}
# session CALL: processor time of a session and of the worker for each of 40 calls, which wait for their event.
session() {
    local session before written
    coproc PSQL { psql -d shop -f -; }
    tell() {
        local line
        printf '%s;\n\\echo done\n' "$1" >&"${PSQL[1]}"
        while read -r line <&"${PSQL[0]}" && [ "$line" != "done" ]; do answer=$line; done
    }
    tell 'SET password_verify.audit_durability = commit'
    tell 'SELECT pg_backend_pid()'
    session=$answer
    tell "$1"
    settle
    local pid
    pid=$(worker)
    before=$(work "$session") written=$(work "$pid")
    local i
    for i in {1..40}; do tell "${1//NUMBER/$i}"; done
    settle
    before=$((($(work "$session") - before) / 40)) written=$((($(work "$pid") - written) / 40))
    echo '\q' >&"${PSQL[1]}"
    wait "$PSQL_PID" 2>/dev/null || true
    echo "$before $written"
}
# hashes_take MEMORY ITERATIONS PARALLELISM: for the sessions that follow.
hashes_take() {
    sql "ALTER DATABASE shop SET password_verify.argon2_memory = '$1';
         ALTER DATABASE shop SET password_verify.argon2_iterations = $2;
         ALTER DATABASE shop SET password_verify.argon2_parallelism = $3"
}
middle() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

cluster plain
cluster keyring

say "what the keyring costs, $rounds rounds in turns"
declare -A times
for ((round = 1; round <= rounds; round++)); do
    for which in keyring plain; do
        folder=${folders[$which]}
        times[$which-refusal]+=" $(batch 512 "auth.pv_create_password('r$round-' || i, 'short')")"
        times[$which-guess]+=" $(batch 256 "auth.pv_validate_password('g$round-' || i, 'guess', '192.0.2.1'::inet)")"
        read -r session worker <<<"$(session "SELECT auth.pv_validate_password(1::bigint, 'correct horse battery staple')")"
        times[$which-login]+=" $((session + worker))"
        read -r session worker <<<"$(session "SELECT auth.pv_set_password(2::bigint, 'correct horse battery staple NUMBER')")"
        times[$which-change]+=" $((session + worker))"
        hashes_take 64MB 3 4
        read -r session worker <<<"$(session "SELECT auth.pv_validate_password(3::bigint, 'correct horse battery staple')")"
        times[$which-default]+=" $((session + worker))"
        hashes_take 7MB 5 1
    done
done
# cost WHAT: the medians without a keyring and with one in microseconds, and the ratio.
cost() {
    local plain keyring
    plain=$(middle ${times[plain-$1]}) keyring=$(middle ${times[keyring-$1]})
    awk "BEGIN { printf \"%.1f µs | %.1f µs | × %.3f\", $plain / 1e3, $keyring / 1e3, $keyring / $plain }"
}

folder=${folders[keyring]}
say "$rows users, imported 10,000 a transaction"
for ((from = 1; from <= rows; from += 10000)); do
    sql "DO \$\$ BEGIN FOR n IN $from..$((from + 9999 < rows ? from + 9999 : rows)) LOOP
             PERFORM auth.pv_import_hash('user' || n, '\$2b\$10\$E2zMiFD6CER8OUVZQXoz4uLyfVXBR4P.yr8A8gbpIH0kOewADosZC');
         END LOOP; END \$\$"
done
settle
sql 'VACUUM ANALYZE' 2>/dev/null
# verified CALL: the median time of five, in seconds; the first one reads the tables into memory.
verified() {
    local i start times=()
    for i in 0 1 2 3 4 5; do
        start=$(date +%s%N)
        [ "$(sql "SELECT intact FROM auth.$1" 2>/dev/null)" = t ] || die "$1 does not say intact"
        [ "$i" = 0 ] || times+=($((($(date +%s%N) - start) / 1000000)))
    done
    awk "BEGIN { printf \"%.2f s\", $(middle "${times[@]}") / 1e3 }"
}
records=$(sql "SELECT rows FROM auth.pv_verify_credentials()" 2>/dev/null)
events=$(sql "SELECT events FROM auth.pv_verify_events()")
credentials=$(verified "pv_verify_credentials()")
chain=$(verified "pv_verify_events()")
read -r epoch seq mac <<<"$(sql "SELECT epoch || ' ' || seq || ' ' || encode(mac, 'hex') FROM password_verify.event
                                  ORDER BY epoch DESC, seq DESC LIMIT 1 OFFSET $events / 10")"
tail=$(verified "pv_verify_events($epoch, $seq, '$mac')")

cat >"$out" <<TABLE
# What verifying costs, and what the keyring costs

Measured by \`make verification\` on $(date -u +%Y-%m-%d): $(nproc --all) processors ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)),
$("$PG_CONFIG" --version). The machine is shared: compare ratios, not machines.

| what is verified | rows | time | aim |
| --- | --- | --- | --- |
| \`pv_verify_credentials()\` with $rows users | $records | $credentials | seconds |
| \`pv_verify_events()\` | $events | $chain | 2 s a million |
| \`pv_verify_events(epoch, seq, mac)\` from a head before the last tenth | $((events / 10)) | $tail | |

Processor time, medians of $rounds rounds in turns. A hash takes 7 MiB and 5 passes. The keyring seals what is stored, and
signs each row and the anchor: what the MACs cost is a part of the difference. Differences of a few percent, in both
directions, are the machine's.

| what is done | without a keyring | with one | ratio |
| --- | --- | --- | --- |
| the worker, for each of 512 refusals that it writes together | $(cost refusal) |
| the worker, for each of 256 guesses at different users: an event and three budgets | $(cost guess) |
| a right login: session and worker | $(cost login) |
| the same at the default cost of a hash (64 MiB, 3 passes, 4 lanes) | $(cost default) |
| a password that is set: session and worker | $(cost change) |
TABLE
cat "$out"

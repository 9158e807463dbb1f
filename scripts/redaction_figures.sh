#!/usr/bin/env bash
# Measures what redaction costs, in three throw-away clusters: two without the library, of which the second shows what the
# noise is, and one with it. ROUNDS is how often they are started and everything is measured. Writes
# docs/redaction-figures.md. PARTS=counted,others prints these parts alone and writes nothing: counted, others, ours, big.
. "$(dirname "$0")/cluster.sh"
rounds=${ROUNDS:-24}
out=${OUT:-docs/redaction-figures.md}
export PARTS=${PARTS:-}
declare -A folders

# Counts instructions.
if ! command -v valgrind >/dev/null; then
    command -v apt-get >/dev/null || die "valgrind is missing"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >/dev/null
fi

finish() {
    local which
    for which in "${!folders[@]}"; do
        folder=${folders[$which]}
        remove_cluster
    done
}

# cluster NAME: a server in $folders[NAME], not started. Nothing but the statement uses the processor: no vacuum, no waiting
# for a disk, no checkpoint.
cluster() {
    make_cluster "redaction-$1" <<CONF
$CHEAP
fsync = off
autovacuum = off
checkpoint_timeout = 1h
max_wal_size = 16GB
password_verify.audit_durability = async
password_verify.throttle_first_wait = 10h
CONF
    folders[$1]=$folder
    trap finish EXIT
    chmod 755 "$folder"
    case $1 in without*) as_server tee -a "$folder/data/postgresql.conf" >/dev/null <<<"shared_preload_libraries = ''" ;; esac
}

# On one processor, client and server wake each other without an interrupt, whose cost is as it happens.
taskset -p -c "$(($(nproc --all) - 1))" $$ >/dev/null
for which in without again with; do
    cluster "${which/again/without-again}"
    start_cluster
    psql -d postgres -c "CREATE DATABASE shop"
    "$bin/pgbench" -i -q -h "$folder" -U admin shop 2>/dev/null
    sql "CREATE TABLE big (id int, line text)"
    # The states with the library differ by the login alone. They read the same tables.
    for role in redacts does_not does_not_again; do
        psql -d postgres -c "CREATE ROLE $role SUPERUSER LOGIN"
        [ "$role" = redacts ] || psql -d postgres -c "ALTER ROLE $role SET password_verify.redact = off"
    done
    if [ "$which" = with ]; then
        sql "CREATE SCHEMA auth; CREATE EXTENSION password_verify SCHEMA auth" >/dev/null
        sql "SELECT auth.pv_set_password(1::bigint, 'correct horse battery staple')" >/dev/null
        # The sixth guess is refused.
        for _ in 1 2 3 4 5; do sql "SELECT auth.pv_validate_password(99::bigint, 'guess')" >/dev/null; done
    fi
    server stop
done

# counted LIBRARIES REDACT: the instructions of the server for 500 and for 1500 SELECTs, without a client.
counted() {
    local number
    for number in 500 1500; do
        for ((aid = 1; aid <= number; aid++)); do echo "SELECT abalance FROM pgbench_accounts WHERE aid = $aid"; done |
            (cd "$folder" && as_server valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bin/postgres" --single -D data \
                -c "shared_preload_libraries=$1" -c "password_verify.redact=$2" shop 2>&1) | sed -n 's/.*Collected : //p'
    done
}
: >"$folder/tables"
if [[ -z $PARTS || $PARTS == *counted* ]]; then
    say "counting instructions (usually a minute)"
    python3 scripts/redaction_figures.py counted $(counted '' on; counted password_verify off; counted password_verify on) >"$folder/tables"
fi

timed=${PARTS:-others,ours,big}
timed=${timed#counted} timed=${timed#,}
[ -n "$timed" ] || rounds=0
for ((round = 1; round <= rounds; round++)); do
    say "round $round of $rounds (usually 40 seconds)"
    # Where its memory lies makes a server quicker or slower by some percent, until it is started anew.
    for folder in "${folders[@]}"; do
        start_cluster
        sql "SELECT count(*) FROM pgbench_accounts; SELECT count(*) FROM (SELECT aid FROM pgbench_accounts ORDER BY aid) a" >/dev/null
    done
    folder=${folders[with]}
    PARTS=$timed python3 scripts/redaction_figures.py measure "$bin/pgbench" "${folders[without]}" \
        "${folders[without-again]}" "$folder" >>"$folder/costs"
    for folder in "${folders[@]}"; do server stop; done
done
folder=${folders[with]}
[ "$rounds" = 0 ] || python3 scripts/redaction_figures.py tables <"$folder/costs" >"$folder/timed"

[ -z "$PARTS" ] || { cat "$folder/tables" "$folder/timed" 2>/dev/null; exit; }
{
    cat <<HEAD
# What redaction costs

Measured by \`make redaction-figures\` on $(date -u +%Y-%m-%d): $(nproc --all) processors
($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), $("$PG_CONFIG" --version). The machine is shared: compare ratios, not machines. In
the last quarter of an hour, $(cut -d' ' -f3 /proc/loadavg) processes wanted a processor on average.

What is timed is the processor time of a session's process for each of its transactions, because others use the machine as
well. In each of $rounds rounds, servers and sessions are new. States take turns of some milliseconds, in random order, and the
first quartile of a session's turns counts: a turn can be disturbed, but not hurried. A difference is the median of the
rounds' differences. With it come the interval in which the true one lies with 95 % certainty, and the quartiles of the
rounds. Rows that compare two states of one kind say what the noise is. An aim is met, or missed, if the whole interval says
so.

## Counted

Instructions in user mode, of a server that has no client (\`postgres --single\`), which valgrind counts. They are always the
same, so there is no noise. The time of a statement has the kernel's part in it too, and the client's messages.

HEAD
    cat "$folder/tables" "$folder/timed"
} >"$out"
cat "$out"

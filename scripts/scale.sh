#!/usr/bin/env bash
# Measures what an auditor's questions take as the trail grows, what logins pay for its indexes, how fast it is fed to
# others, and whether retention keeps up, in a throw-away cluster. SIZES are millions of events (1 10 20 by default, in
# ascending order), USERS is how many users there are, ROUNDS how often logins are compared. Writes docs/scale.md. Needs
# some 600 bytes of disk for each event, and PostgreSQL 16 or newer (for pageinspect).
. "$(dirname "$0")/cluster.sh"
sizes=${SIZES:-1 10 20}
users=${USERS:-1000000}
rounds=${ROUNDS:-45}
out=${OUT:-docs/scale.md}
busy=$(cut -d' ' -f3 /proc/loadavg)

make_cluster scale <<CONF
$CHEAP
max_wal_size = 2GB
shared_buffers = 1GB
maintenance_work_mem = 512MB
password_verify.throttle_caller_rate = 0
CONF
load=
finish() {
    [ -z "$load" ] || kill $load 2>/dev/null || true
    remove_cluster
}
trap finish EXIT
start_cluster
make_shop
chmod 777 "$folder"
sql "CREATE ROLE watch LOGIN; CREATE ROLE manage LOGIN; GRANT USAGE ON SCHEMA auth TO watch, manage;
     SELECT auth.pv_grant('watch', 'auditor'), auth.pv_grant('manage', 'manager')" >/dev/null
sql "CREATE EXTENSION pageinspect SCHEMA public" || die "CREATE EXTENSION pageinspect fails: install postgresql-contrib"

say "$users users"
# Records as an import leaves them. They are found by a place that is computed from their id, which SQL cannot do: those
# that are asked for are the eight that were enrolled.
sql "INSERT INTO password_verify.credential
     SELECT gen_random_uuid(), 'user' || i, verifier, false, NULL, now(), now(), NULL, NULL, NULL, NULL, mac
       FROM generate_series(1, $users) i, (SELECT verifier, mac FROM password_verify.credential WHERE user_id = '1') one;
     INSERT INTO password_verify.account
     SELECT c.blind_index, c.user_id, NULL, NULL, NULL, now(), '', ''
       FROM password_verify.credential c WHERE c.user_id LIKE 'user%'"
sql "VACUUM ANALYZE password_verify.credential, password_verify.account"

last=$((${sizes##* } * 1000000))
began=$(sql "SELECT now()")
# fill FROM TO: events in the worker's form, a tenth of a second apart and one epoch an hour, of a hundred thousand users at
# ten thousand addresses; a tenth of them are those of user 1, and one in fifty is a change or its end. Counted from the
# newest, so that the trail always ends with what the worker writes.
fill() {
    sql "SET synchronous_commit = off;
         INSERT INTO password_verify.event
         SELECT 2 + ($last - 1 - i) / 36000, $last - i, '$began'::timestamptz - i * interval '0.1 s',
                '$began'::timestamptz - (i + 2 * (i % 100 = 0)::int) * interval '0.1 s', 1,
                CASE WHEN i % 100 = 1 THEN 'disable' WHEN i % 100 = 0 THEN 'end' ELSE 'validate' END,
                CASE WHEN i % 100 = 1 THEN 'pending' WHEN i % 100 = 0 THEN 'committed'
                     WHEN i % 7 = 0 THEN 'invalid_credentials' ELSE 'valid' END,
                CASE WHEN i % 100 = 0 THEN NULL WHEN i % 10 = 3 OR i % 1000 = 1 THEN '1' ELSE 'user' || i * 7919 % 100000 END,
                CASE WHEN i % 100 > 1 THEN '198.51.' || i * 31 % 100 || '.' || i / 100 * 17 % 100 END,
                CASE WHEN i % 100 > 0 THEN 'app' END, CASE WHEN i % 100 > 0 THEN 'app' END,
                CASE WHEN i % 100 > 0 THEN 'local' END, NULL, NULL, CASE WHEN i % 100 > 0 THEN 'shop' END,
                CASE WHEN i % 100 > 0 THEN 4711 END, CASE WHEN i % 100 < 2 THEN 1000000000 + i / 100 END, 0, NULL,
                CASE WHEN i % 100 > 0 THEN decode(repeat('7e', 16), 'hex') END, decode(repeat('5f', 32), 'hex')
           FROM generate_series($2::bigint - 1, $1::bigint, -1) i"
}
# ask SQL: the median of 21 in ms, in a session that has asked before.
ask() {
    {
        echo '\timing on'
        for _ in $(seq 22); do echo "$1;"; done
    } | "$bin/psql" -X -q -At -v ON_ERROR_STOP=1 -h "$folder" -U watch -d shop -o "$folder/answer" |
        sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n +2 | sort -n | sed -n 11p
}
# answered SQL: fails if the last question had no answer, or a question of which it is not said that it has none.
answered() { [ -s "$folder/answer" ] || [[ $1 == *nobody* ]] || die "no answer to $1"; }
# Of an unknown user, with the hash of a known one, from an address of its own: so that each is a row somewhere in each
# index, and none a repetition that is counted.
cat >"$folder/login.sql" <<'SQL'
\set user random(1, 1000000)
\set client random(0, 4294967295)
SELECT 1 / (reason = 'invalid_credentials')::int
  FROM auth.pv_validate_password('user' || :user, 'guess', '0.0.0.0'::inet + :client::bigint)
SQL
# Two rows an import: the change, and the end of a thousand of them. Nothing is hashed.
cat >"$folder/import.sql" <<'SQL'
\set from random(1, 1000000000)
SELECT count(auth.pv_import_hash('i' || (:from::bigint * 1000 + n), '$2b$10$E2zMiFD6CER8OUVZQXoz4uLyfVXBR4P.yr8A8gbpIH0kOewADosZC')) FROM generate_series(1, 1000) n
SQL
chmod 644 "$folder"/*.sql
# Latencies of logins, one after the other for so many seconds: in ms, sorted.
login() {
    rm -f "$folder"/latency.*
    "$bin/pgbench" -n -M prepared -h "$folder" -U app -c 1 -T "$1" -f "$folder/login.sql" -l \
        --log-prefix="$folder/latency" shop >/dev/null 2>"$folder/pgbench.err" || die "$(cat "$folder/pgbench.err")"
    awk '{ printf "%.3f\n", $3 / 1000 }' "$folder"/latency.* | sort -n
}
median() { awk '{ all[NR] = $1 } END { printf "%.2f", all[int((NR + 1) / 2)] }'; }

# A day ago, which is there at every size.
at=$((last - 864000))
place() { echo "$((2 + ($1 - 1) / 36000)), $1"; }
middle=$(place "$at")
questions=(
    "pv_user_events('1'::text)|the last 50 of a user with a tenth of all events"
    "pv_user_events('user15838'::text)|the last 50 of one with some"
    "pv_user_events('nobody'::text)|of one with none"
    "pv_user_events('1'::text, '$began'::timestamptz - interval '1 hour', 1000)|an hour of hers, 1000 rows at most"
    "pv_client_events('198.51.62.17')|the last 50 of a client"
    "pv_recent_events()|the last 50"
    "pv_recent_events(50, $middle)|50 before a place of yesterday"
    "pv_events_after($middle, 50)|50 after it"
    "pv_user(1::bigint)|the state of one account"
    "pv_keys|not one of the questions: it reads every record"
)
declare -A took
done_to=0 columns= rule=
for size in $sizes; do
    say "$size million events"
    fill "$done_to" "$((size * 1000000))"
    done_to=$((size * 1000000))
    sql "VACUUM ANALYZE password_verify.event"
    sql CHECKPOINT
    columns+=" $size million |" rule+=" --- |"
    for question in "${questions[@]}"; do
        took[${question%%|*}]+=" $(ask "SELECT * FROM auth.${question%%|*}") |"
        answered "$question"
    done
    took[login]+=" $(login 20 | median) |"
    took[table]+=" $(sql "SELECT pg_size_pretty(pg_table_size('password_verify.event'))") |"
    for index in event_pkey event_user event_client event_xid; do
        took[$index]+=" $(sql "SELECT pg_size_pretty(pg_relation_size('password_verify.$index')) || ', ' || level + 1
                                 FROM public.bt_metap('password_verify.$index')") |"
    done
done

# levels INDEX: how deep it will be with 345 million events (ten a second for 400 days), if its pages stay as full.
levels() {
    sql "SELECT count(*) FILTER (WHERE btpo_level = 0), count(*) FILTER (WHERE btpo_level = 1)
           FROM public.bt_multi_page_stats('password_verify.$1', 1, (SELECT pg_relation_size('password_verify.$1') / 8192 - 1))" |
        awk -F'|' -v size="$last" '{
            pages = $1 * 345e6 / size; fan = $1 / $2
            for (levels = 1; pages > 1; levels++) pages = int((pages - 1) / fan) + 1
            print levels }'
}
for index in event_pkey event_user event_client event_xid; do
    took[$index]+=" $(levels "$index") |"
done

say "the feed"
fed=0
for ((page = 0; page < 20; page++)); do
    ms=$("$bin/psql" -X -q -At -h "$folder" -U watch -d shop -o "$folder/answer" <<SQL | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
\timing on
SELECT * FROM auth.pv_events_after($(place $((at + page * 10000))), 10000);
SQL
    )
    fed=$(awk "BEGIN { print $fed + $ms }")
done
rate=$(awk "BEGIN { printf \"%d\", 200000 / $fed * 1000 }")

say "logins with the three indexes and without them"
# Without: the worker leaves them alone, as one that is not built yet. Rows of that time are missing in them.
new="'password_verify.event_user'::regclass, 'password_verify.event_client'::regclass, 'password_verify.event_xid'::regclass"
for ((round = 0; round < rounds; round++)); do
    for indexes in true false; do
        sql "UPDATE pg_index SET indisready = $indexes WHERE indexrelid IN ($new)"
        login 2 >>"$folder/with.$indexes"
    done
done
sql "UPDATE pg_index SET indisready = true WHERE indexrelid IN ($new)"
with=$(sort -n "$folder/with.true" | median) without=$(sort -n "$folder/with.false" | median)
dearer=$(awk "BEGIN { printf \"%+.1f %%\", ($with / $without - 1) * 100 }")

say "retention"
count() { sql "SELECT n_tup_ins, n_tup_del FROM pg_stat_user_tables WHERE relid = 'password_verify.event'::regclass" | tr '|' ' '; }
# One row of the table: logins for 30 seconds, and what came and went meanwhile.
row() {
    local before after
    before=$(count)
    login 30 >"$folder/logins"
    after=$(count)
    awk -v name="$1" -v before="$before" -v after="$after" '{ ms[NR] = $1 } END {
        split(before, b, " "); split(after, a, " ")
        printf "| %s | %d | %d | %.1f | %.1f | %.1f |\n", name, (a[1] - b[1]) / 30, (a[2] - b[2]) / 30,
            ms[int((NR + 1) / 2)], ms[int(NR * 0.99 + 0.999)], ms[NR] }' "$folder/logins"
}
retain() { sql "ALTER SYSTEM SET password_verify.audit_retention = '$1'" && sql "SELECT pg_reload_conf()" >/dev/null && sleep 5; }
begin_imports() {
    "$bin/pgbench" -n -h "$folder" -U manage -c 2 -T 600 -f "$folder/import.sql" shop >/dev/null 2>"$folder/import.err" &
    load=$!
    sleep 5
    kill -0 "$load" || die "$(cat "$folder/import.err")"
}
end_imports() { kill "$load"; wait "$load" 2>/dev/null || true; load=; }
# Old enough to go: three days, or all but a day if there are no more.
days=$((last / 864000))
kept="$((days > 4 ? days - 3 : 1))d"
sql "ALTER ROLE manage SET password_verify.audit_durability = async"
retained=
# In turns. What is left of an hour's epoch goes within the five seconds after the retention was taken back.
for round in 1 2; do
    retained+="$(row "nothing")"$'\n'
    retain "$kept"
    retained+="$(row "retention")"$'\n'
    retain 0
done
begin_imports
for round in 1 2; do
    retained+="$(row "imports")"$'\n'
    retain "$kept"
    retained+="$(row "imports, retention")"$'\n'
    retain 0
done
end_imports

{
    cat <<HEAD
# Questions of the auditor as the trail grows

Measured by \`make scale\` on $(date -u +%Y-%m-%d) with $users users: $(nproc --all) processors
($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), $("$PG_CONFIG" --version), 1 GB of shared buffers, a local disk
with fsync on. Each figure is the median of 21 calls by an auditor's login, in milliseconds. The rows are made by SQL in the
form in which the worker writes them: a tenth of a second apart, of a hundred thousand users at ten thousand addresses.

What else ran on the machine in the quarter of an hour before: a load average of $busy. The more, the more figures scatter.

| \`SELECT * FROM auth.…\` | |$columns 345 million, computed |
| --- | --- |$rule --- |
HEAD
    for question in "${questions[@]}"; do
        printf '| `%s` | %s |%s |\n' "${question%%|*}" "${question#*|}" "${took[${question%%|*}]}"
    done | sed "s/'$began'::timestamptz/now()/"
    printf '| a login (7 MB, 5 passes), nothing beside it | |%s |\n' "${took[login]}"
    printf '| the table of events | size |%s |\n' "${took[table]}"
    for index in event_pkey event_user event_client event_xid; do
        printf '| `%s` | size, levels |%s\n' "$index" "${took[$index]}"
    done
    cat <<REST

A question goes down one of these indexes, and down \`event_xid\` once for each change in its answer; so with 345 million
events (ten a second for 400 days) it reads as many pages more as its index has more levels.

The feed (\`pv_events_after\`, 20 calls of 10,000 rows) gives $rate rows a second.

A login takes $with ms with the indexes \`event_user\`, \`event_client\` and \`event_xid\`, and $without ms without them:
$dearer, in the median of $rounds times 2 seconds each, in turns, at $((last / 1000000)) million events.

## Retention

Logins one after the other, 30 seconds each; imports by two other sessions that do not wait for the disk. Retention is
off, or so short that three days of the trail are to go.

| beside the logins | rows that came, a second | rows that went, a second | median login, ms | of 100 logins the slowest, ms | slowest login, ms |
| --- | --- | --- | --- | --- | --- |
REST
    printf '%s' "$retained"
} >"$out"
cat "$out"

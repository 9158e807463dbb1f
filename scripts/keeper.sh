#!/usr/bin/env bash
# Measures what the keeper's tables cost, in a throw-away cluster with fsync on: USERS users with a secret each, and JOBS
# jobs a minute beside logins. Writes docs/keeper-figures.md.
. "$(dirname "$0")/cluster.sh"
users=${USERS:-10000}
jobs=${JOBS:-500}
seconds=${SECONDS_EACH:-60}
out=${OUT:-docs/keeper-figures.md}

make_cluster keeper <<CONF
$CHEAP
CONF
as_server sh -c 'umask 077; echo "keeper:$(openssl rand -base64 32)" >"$0"' "$folder/keyring"
as_server tee -a "$folder/data/postgresql.conf" >/dev/null <<<"password_verify.keyring_file = '$folder/keyring'"
start_cluster
make_shop
sql "CREATE ROLE webmail LOGIN; CREATE ROLE keeper LOGIN; GRANT USAGE ON SCHEMA auth TO webmail, keeper;
     SELECT auth.pv_grant('webmail', 'depositor'), auth.pv_grant('keeper', 'connector')" >/dev/null
chmod 777 "$folder"

cat >"$folder/store.sql" <<'SQL'
SELECT 1 / success::int FROM auth.pv_store_secret(nextval('public.users'), 'mail', 'eagle-lantern-77',
    '{"protocol": "imaps", "host": "mail.example.org", "port": 993, "login": "anna", "mechanism": "PLAIN"}')
SQL
cat >"$folder/login.sql" <<'SQL'
\set user random(1, 8)
SELECT 1 / valid::int FROM auth.pv_validate_password(:user::bigint, 'correct horse battery staple')
SQL
cat >"$folder/request.sql" <<SQL
\\set user random(1, $users)
SELECT auth.pv_request(:user::bigint, 'mail', '{"mailbox": "INBOX"}')
SQL
# What the keeper does for a job, each step a transaction of its own; no row of pv_take_job is an error of \gset.
cat >"$folder/work.sql" <<'SQL'
SELECT COALESCE(max(job), 0) AS job FROM auth.pv_take_job() \gset
\if :job > 0
SELECT 1 / (secret IS NOT NULL)::int FROM auth.pv_open_secret(:job);
SELECT auth.pv_deliver(:job, '{"subject": "Lunch?"}'), auth.pv_finish_job(:job, 'done');
\else
\sleep 20 ms
\endif
SQL
# bench NAME ROLE OPTIONS...: runs pgbench with that script.
bench() {
    local name=$1 role=$2; shift 2
    rm -f "$folder/$name".[0-9]*
    "$bin/pgbench" -n -M simple -h "$folder" -U "$role" -j 1 -f "$folder/$name.sql" -l --log-prefix="$folder/$name" "$@" shop \
        >"$folder/$name.out" 2>"$folder/$name.err" || cat "$folder/$name.err" >&2
}
# times NAME: median, 99th percentile, maximum in milliseconds, and number of its transactions.
times() {
    cat "$folder/$1".[0-9]* | awk '{ print $3 / 1000 }' | sort -n | awk '
        { ms[NR] = $1 } END { printf "%.1f | %.1f | %.1f | %d", ms[int((NR + 1) / 2)], ms[int(NR * 0.99 + 0.999)], ms[NR], NR }'
}
failed() { cat "$folder"/*.err | grep -c "ERROR" || true; }

say "$users users store a secret each"
sql "CREATE SEQUENCE public.users; GRANT USAGE ON SEQUENCE public.users TO webmail"
bench store webmail -c 4 -t $((users / 4))
stored=$(times store)

say "ten logins a second, alone"
bench login app -c 4 -R 10 -T "$seconds"
alone=$(times login)

say "$jobs jobs a minute beside them"
bench request webmail -c 1 -R "$(awk "BEGIN { print $jobs / 60 }")" -T "$seconds" & requesting=$!
bench work keeper -c 2 -T "$((seconds + 3))" & working=$!
bench login app -c 4 -R 10 -T "$seconds"
wait "$requesting" "$working"
beside=$(times login)
requested=$(times request)
done=$(sql "SELECT count(*) FROM password_verify.job WHERE state = 'ended' AND outcome = 'done'")
left=$(sql "SELECT count(*) FROM password_verify.job WHERE state <> 'ended'")

say "as many jobs as there can be"
before=$done
psql -d shop -c "SET ROLE webmail" -c "SELECT count(auth.pv_request(user_id, 'mail', '{}')) FROM (SELECT n % $users + 1 FROM generate_series(1, 3000) n) asked (user_id)" >/dev/null
began=$(date +%s.%N)
bench work keeper -c 2 -T 20
ended=$(sql "SELECT extract(epoch FROM max(finished_at)) - $began FROM password_verify.job WHERE outcome = 'done'")
most=$(sql "SELECT round(((SELECT count(*) FROM password_verify.job WHERE outcome = 'done') - $before) * 60 / $ended::numeric)")
intact=$(sql "SELECT (SELECT intact FROM auth.pv_verify_credentials()), (SELECT intact FROM auth.pv_verify_events())")

cat >"$out" <<TABLE
# What the keeper's tables cost

Measured by \`make keeper-figures\` on $(date -u +%Y-%m-%d): $(nproc --all) processors
($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), $("$PG_CONFIG" --version), a local disk with fsync on, clients on
the same machine. Logins take a hash of 7 MB and 5 passes. A time is counted from when a call was due.

| | median, ms | of 100 the slowest, ms | slowest, ms | calls |
| --- | --- | --- | --- | --- |
| \`pv_store_secret\`, 4 sessions, $users users | $stored |
| ten logins a second, alone | $alone |
| ten logins a second, beside $jobs jobs a minute | $beside |
| \`pv_request\`, $jobs a minute | $requested |

A job is leased, opened, delivered and finished, each in a transaction of its own but for the last two. Of those that were
asked for in $seconds seconds, $done were done and $left were left. Two keepers at once do $most jobs a minute when there are
enough. Failed calls: $(failed). Afterwards both verifications say intact: \`$intact\`.
TABLE
cat "$out"

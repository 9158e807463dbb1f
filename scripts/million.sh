#!/usr/bin/env bash
# Measures how an import with one savepoint per row affects concurrent logins, in a throw-away
# cluster with fsync on. ROWS is the number of rows (a million by default, which takes some
# minutes), ENDS how the imports end (COMMIT and ROLLBACK by default). Writes docs/million.md.
. "$(dirname "$0")/cluster.sh"
rows=${ROWS:-1000000}
out=${OUT:-docs/million.md}

make_cluster million <<CONF
max_wal_size = 8GB
$CHEAP
CONF
start_cluster
make_shop

# Ten logins a second, nine of known users and one of an unknown user.
cat >"$folder/known.sql" <<'SQL'
\set user random(1, 8)
SELECT 1 / valid::int FROM auth.pv_validate_password(:user::bigint, 'correct horse battery staple')
SQL
cat >"$folder/unknown.sql" <<'SQL'
\set user random(100000000, 999999999)
SELECT 1 / (NOT valid)::int FROM auth.pv_validate_password(:user::bigint, 'guess')
SQL
chmod 777 "$folder"
# times FROM TO: of the logins that ended in this interval, the median, the 99th percentile and the maximum in
# milliseconds, and their number.
times() {
    latencies "$1" "$2" | awk '
        { ms[NR] = $1 }
        END { printf "%.0f | %.0f | %.0f | %d", ms[int((NR + 1) / 2)], ms[int(NR * 0.99 + 0.999)], ms[NR], NR }'
}
span() { awk "BEGIN { printf \"%.0f s\", $2 - $1 }"; }
# import PREFIX END: imports $rows rows in one transaction that ends with END.
import() {
    psql -d shop <<SQL
BEGIN;
DO \$\$ BEGIN
    FOR n IN 1..$rows LOOP
        BEGIN
            PERFORM auth.pv_import_hash('$1' || n, '\$2b\$10\$E2zMiFD6CER8OUVZQXoz4uLyfVXBR4P.yr8A8gbpIH0kOewADosZC');
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING '%', SQLERRM;
        END;
    END LOOP;
END \$\$;
$2;
SQL
}
await_end() {
    while [ "$(sql 'SELECT count(*) FROM (SELECT FROM password_verify.open_change LIMIT 1) left_over')" != 0 ]; do
        sleep 0.5
    done
}

say "ten logins a second with nothing beside them"
begin_logins 10 -f "$folder/known.sql@9" -f "$folder/unknown.sql@1"
t0=$(now); sleep 20; t1=$(now)
lines=
for end in ${ENDS:-COMMIT ROLLBACK}; do
    say "$rows rows, then $end"
    a=$(now); import "$end$rows-" "$end" || die "the import has failed"; b=$(now)
    await_end; c=$(now); sleep 20; d=$(now)
    lines+="| \`$end\`: until it is sent and answered | $(span "$a" "$b") | $(times "$a" "$b") |
| until all of its end is on record | $(span "$b" "$c") | $(times "$b" "$c") |
| 20 seconds after that | $(span "$c" "$d") | $(times "$c" "$d") |
"
done
alone="$(span "$t0" "$t1") | $(times "$t0" "$t1")"
end_logins
intact=$(sql "SELECT intact FROM auth.pv_verify_events()")
ended=$(sql "SELECT string_agg(outcome || ' ' || count, ', ' ORDER BY outcome) FROM (SELECT outcome, count(*)
               FROM password_verify.event WHERE action = 'end' GROUP BY outcome) ends")
problems=$(grep -c ERROR "$folder/pgbench.err" || true)

cat >"$out" <<TABLE
# A million rows imported with a savepoint each

\`\`\`sql
BEGIN;
DO \$\$ BEGIN
    FOR n IN 1..$rows LOOP
        BEGIN
            PERFORM auth.pv_import_hash(…);
        EXCEPTION WHEN OTHERS THEN …;
        END;
    END LOOP;
END \$\$;
COMMIT;
\`\`\`

Ten logins a second run beside it, nine of existing users and one of an unknown user, each with a hash of 7 MB and 5
passes. A login's time is counted from when it was due, not from when it could be sent.

Measured by \`make million\` on $(date -u +%Y-%m-%d) with $rows rows: $(nproc --all) processors
($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), $("$PG_CONFIG" --version), a local disk with fsync on.
${NOTE:-}

| | took | median login, ms | of 100 logins the slowest, ms | slowest login, ms | logins |
| --- | --- | --- | --- | --- | --- |
| nothing beside them | $alone |
$lines
Logins that failed: $problems. Ends on record: $ended. The audit is intact: \`$intact\`.

The aim is a login below 100 ms. An open savepoint costs a row of \`password_verify.open_change\` and no memory of the
worker, and in the importing session the memory that PostgreSQL itself needs for it.
TABLE
cat "$out"

#!/usr/bin/env bash
# Shows the main use as a story in a throw-away cluster. KEEP=1 leaves the cluster running.
. "$(dirname "$0")/cluster.sh"
. scripts/story.sh

make_cluster demo <<'CONF'
# As much as a server can log of statements, for the last chapter.
log_statement = all
log_min_duration_statement = 0
CONF
as_server sh -c 'umask 077; echo "demo:$(openssl rand -base64 32)" >"$0"' "$folder/keyring"
as_server tee -a "$folder/data/postgresql.conf" >/dev/null <<<"password_verify.keyring_file = '$folder/keyring'"
start_cluster

# runs ROLE SQL: prints both, and PostgreSQL's answer.
runs() {
    printf '\n%s=> %s\n' "$1" "$2"
    output=$("$bin/psql" -X -q -h "$folder" -U "$1" -d shop -c "$2" 2>&1) && failed= || failed=yes
    printf '%s\n' "$output"
}

"$bin/psql" -X -q -h "$folder" -U admin -d postgres -c 'CREATE DATABASE shop'

say "1. An administrator installs the extension, and lets the application's login sign people up and log them in"
succeeds admin "CREATE SCHEMA auth;
CREATE EXTENSION password_verify SCHEMA auth;
CREATE ROLE app LOGIN;
GRANT USAGE ON SCHEMA auth TO app;
SELECT auth.pv_grant('app', 'verifier');
SELECT auth.pv_grant('app', 'enroller');"
answers admin "SELECT role, kind FROM auth.pv_grants" "app +\| enroller"

say "2. The application signs a user up"
answers app "SELECT success, reason FROM auth.pv_create_password(42::bigint, 'password')" "f +\| too_short"
answers app "SELECT success, reason FROM auth.pv_create_password(42::bigint, 'correct horse battery staple')" "t +\|"

say "3. The user logs in: right, wrong, and somebody who has no account"
answers app "SELECT valid, reason FROM auth.pv_validate_password(42::bigint, 'correct horse battery staple')" "t +\|"
answers app "SELECT valid, reason FROM auth.pv_validate_password(42::bigint, 'incorrect horse')" "f +\| invalid_credentials"
answers app "SELECT valid, reason FROM auth.pv_validate_password(43::bigint, 'incorrect horse')" "f +\| invalid_credentials"

say "4. The user changes the password, which takes the old one"
answers app "SELECT success, reason FROM auth.pv_change_password(42::bigint, 'incorrect horse', 'velvet anvil under monsoon')" "f +\| invalid_credentials"
answers app "SELECT success, reason FROM auth.pv_change_password(42::bigint, 'correct horse battery staple', 'velvet anvil under monsoon')" "t +\|"
answers app "SELECT valid, reason FROM auth.pv_validate_password(42::bigint, 'correct horse battery staple')" "f +\| invalid_credentials"
answers app "SELECT valid, reason FROM auth.pv_validate_password(42::bigint, 'velvet anvil under monsoon')" "t +\|"

say "5. Somebody has the application's login, runs any SQL with it, and wants the hashes"
is_refused app "SELECT * FROM password_verify.credential"
is_refused app "UPDATE password_verify.credential SET verifier = 'mine'"
is_refused app "SELECT auth.pv_set_password('42', 'velvet anvil of the attacker')"
is_refused app "SELECT auth.pv_grant('app', 'registrar')"
is_refused app "SET ROLE pv_owner"
is_refused app "CREATE FUNCTION auth.pv_validate_password(int, text) RETURNS text LANGUAGE sql AS 'SELECT \$2'"

say "6. Even with pg_read_all_data and pg_write_all_data, which read and write every table"
succeeds admin "GRANT pg_read_all_data, pg_write_all_data TO app"
answers app "SELECT count(*) FROM password_verify.credential" "0"
is_refused app "SET row_security = off; SELECT * FROM password_verify.credential" "row-level security"
is_refused app "INSERT INTO password_verify.credential VALUES (gen_random_uuid(), '42', 'mine', false, NULL, now(), now())" "row-level security"
answers app "WITH hit AS (UPDATE password_verify.credential SET verifier = 'mine' RETURNING 1) SELECT count(*) AS overwritten FROM hit" "0"
answers app "SELECT valid, reason FROM auth.pv_validate_password(42::bigint, 'velvet anvil under monsoon')" "t +\|"
succeeds admin "REVOKE pg_read_all_data, pg_write_all_data FROM app"

say "7. Guessing: in a loop, in transactions that are rolled back. It is charged before it is hashed, and stays charged"
answers app "SELECT success FROM auth.pv_create_password(44::bigint, 'purple elephants never forget')" "t"
succeeds app "BEGIN; SELECT auth.pv_validate_password(44::bigint, 'guess ' || n) FROM generate_series(1, 3) n; ROLLBACK"
answers app "SELECT valid, reason FROM auth.pv_validate_password(44::bigint, 'guess 4')" "f +\| invalid_credentials"
answers app "SELECT valid, reason FROM auth.pv_validate_password(44::bigint, 'guess 5')" "f +\| invalid_credentials"
answers app "SELECT valid, reason, retry_after < '30s' AS soon FROM auth.pv_validate_password(44::bigint, 'purple elephants never forget')" "f +\| throttled +\| t"

say "8. An administrator sees all of it, and unlocks the account"
answers admin "SELECT sum(count) FROM auth.pv_user_events(44::bigint) WHERE outcome = 'invalid_credentials'" "5"
succeeds admin "SELECT at, action, outcome, count, login_role FROM auth.pv_user_events(44::bigint)"
answers admin "SELECT intact, problem FROM auth.pv_verify_events()" "t +\|"
answers admin "SELECT auth.pv_unlock_user(44::bigint)" "t"
answers app "SELECT valid, reason FROM auth.pv_validate_password(44::bigint, 'purple elephants never forget')" "t +\|"

say "9. Somebody steals the table: without the keyring it opens nothing"
answers admin "SELECT left(verifier, 17) || '...' AS verifier, count(*) FROM password_verify.credential WHERE user_id <> '' GROUP BY 1" '\$sealed\$v=1\$demo\$... +\| +2'
answers admin "SELECT key_id, active, records FROM auth.pv_keys" "demo +\| t +\| +2"

say "10. A user from another system, whose hash was SHA-1: wrapped in Argon2id at once, made anew at the first login"
answers admin "SELECT success, reason FROM auth.pv_import_hash(45::bigint, '{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=')" "t +\|"
answers admin "SELECT algorithm FROM auth.pv_users WHERE user_id = '45'" "argon2id\+ldap-sha1"
answers app "SELECT valid, reason FROM auth.pv_validate_password(45::bigint, 'password')" "t +\|"
answers admin "SELECT algorithm FROM auth.pv_users WHERE user_id = '45'" "argon2id$"

say "11. The keeper: a password for another server goes in, and the application that put it in cannot get it out"
succeeds admin "CREATE ROLE webmail LOGIN; CREATE ROLE keeper LOGIN;
GRANT USAGE ON SCHEMA auth TO webmail, keeper;
SELECT auth.pv_grant('webmail', 'depositor');
SELECT auth.pv_grant('keeper', 'connector');"
answers webmail "SELECT success, reason FROM auth.pv_store_secret('42', 'mail', 'eagle-lantern-77',
  '{\"protocol\": \"imaps\", \"host\": \"mail.example.org\", \"port\": 993, \"login\": \"anna\", \"mechanism\": \"PLAIN\"}')" "t +\|"
answers webmail "SELECT name, state, destination ->> 'host' AS host FROM auth.pv_secrets('42')" "mail +\| new +\| mail.example.org"
is_refused webmail "SELECT * FROM password_verify.secret"
is_refused webmail "SELECT * FROM auth.pv_take_job()"
is_refused webmail "SELECT * FROM auth.pv_open_secret(1)"
is_refused admin "SELECT auth.pv_grant('webmail', 'connector')" "no role can be both depositor and connector"
succeeds admin "GRANT pg_read_all_data TO webmail"
answers webmail "SELECT count(*) FROM password_verify.secret" "0"
succeeds admin "REVOKE pg_read_all_data FROM webmail"
answers admin "SELECT count(*) FROM password_verify.secret s WHERE s::text LIKE '%eagle-lantern-77%'" "0"

say "12. Only a job opens it, for the keeper's own login, and on record"
answers webmail "SELECT auth.pv_request('42', 'mail', '{\"mailbox\": \"INBOX\"}') > 0 AS asked" "t"
succeeds keeper "SELECT job, user_id, destination ->> 'host' AS host, what FROM auth.pv_take_job()"
job=$(grep -oE "^ *[0-9]+ \|" <<<"$output" | tr -d ' |')
answers keeper "SELECT secret, reason FROM auth.pv_open_secret($job)" "eagle-lantern-77 +\|"
succeeds keeper "SELECT auth.pv_deliver($job, '{\"subject\": \"Lunch?\"}'), auth.pv_finish_job($job, 'done')"
answers keeper "SELECT secret, reason FROM auth.pv_open_secret($job)" "\| not_leased"
is_refused keeper "SELECT * FROM auth.pv_results($job)"
answers webmail "SELECT seq, result FROM auth.pv_results($job)" '1 +\| \{"subject": "Lunch\?"\}'
answers webmail "SELECT auth.pv_ack_results($job, 1)" "t"
answers admin "SELECT action, outcome, user_id, login_role FROM auth.pv_events WHERE action = 'open_secret' ORDER BY epoch, seq LIMIT 1" "open_secret +\| valid +\| 42 +\| keeper"

say "13. The server has logged every statement of this story, and what a session does can be seen: what was done, not the passwords"
coproc SESSION { "$bin/psql" -X -q -h "$folder" -U app -d shop 2>&1; }
echo "SELECT valid FROM auth.pv_validate_password(42::bigint, 'velvet anvil under monsoon') AS of_a_session;" >&"${SESSION[1]}"
read -r _ <&"${SESSION[0]}" # the answer is there, and the session waits
answers admin "SELECT usename, state, query FROM pg_stat_activity WHERE usename = 'app'" \
    "app +\| idle +\| SELECT valid FROM auth.pv_validate_password\('<redacted>'::bigint, '<redacted>'\) AS of_a_session;$"
eval "exec ${SESSION[1]}>&-"
wait "$SESSION_PID"
answers app "PREPARE login AS SELECT valid FROM auth.pv_validate_password(\$1::bigint, \$2);
EXECUTE login(42, 'velvet anvil under monsoon');" "t$"
is_refused app "SELECT valid FROM auth.pv_validate_password('velvet anvil under monsoon'::bigint, '42')" "invalid input syntax for type bigint: \"<redacted>\""
# is_logged PATTERN: the log has such lines, and prints them.
is_logged() {
    output=$(grep -E "$1" "$folder/log" || true)
    printf '\n$ grep -E %q log\n%s\n' "$1" "$output"
    [ -n "$output" ] || die "this should have been logged"
}
# is_not_logged WORD...: none of them is in the log.
is_not_logged() {
    local words=()
    for word in "$@"; do words+=(-e "$word"); done
    output=$(grep -F "${words[@]}" "$folder/log" || true)
    printf '\n$ grep -F'
    printf ' %q' "${words[@]}"
    printf ' log\n%s\n' "${output:-(nothing)}"
    [ -z "$output" ] || die "this should not have been logged"
}
is_logged "LOG: .*pv_(create_password|change_password|import_hash)\("
is_logged "of_a_session|(PREPARE|EXECUTE) login"
is_logged "ERROR:  invalid input syntax"
is_not_logged 'correct horse' 'velvet anvil' 'purple elephants' 'guess ' W6ph5Mm5Pz8GgiULbPgzG37mj9g

say "The end. What happens to a password: src/gate/mod.rs. Who may do what: the end of sql/password_verify--0.1.0.sql."
if [ -n "${KEEP:-}" ]; then
    stay=yes
    echo "The cluster stays up in $folder; its log is $folder/log."
    echo "As the application:    $bin/psql -h $folder -U app -d shop"
    echo "As the administrator:  $bin/psql -h $folder -U admin -d shop"
    [ "$(id -u)" != 0 ] || down="setpriv --reuid=$PV_SERVER_USER --regid=$(id -g "$PV_SERVER_USER") --clear-groups "
    echo "To stop and remove it: ${down:-}$bin/pg_ctl -D $folder/data stop && rm -r $folder"
else
    echo "The cluster is gone. To try things by hand: make demo KEEP=1 leaves it running and says how to connect."
fi

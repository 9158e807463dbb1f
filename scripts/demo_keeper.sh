#!/usr/bin/env bash
# Shows the keeper at work as a story: PostgreSQL, a mail server and the keeper, all three throw-away. KEEP=1 leaves them
# running.
. "$(dirname "$0")/keeper_cluster.sh"
. scripts/story.sh

say "building pv-keeper (the first time usually 3 to 5 minutes, then seconds)"
cargo build --release --locked --package password-verify-keeper

make_keeper_cluster demo_keeper
has_password anna eagle-lantern-77
has_password ben cobalt-meadow-58

# runs ROLE SQL: prints both, and PostgreSQL's answer.
asks() { output=$("$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$folder" -U "$1" -d mail <<<"$2" 2>&1) && failed= || failed=yes; }
shows() { printf '\n%s=> %s\n%s\n' "$1" "$2" "$output"; }
runs() { asks "$@"; shows "$@"; }
# The number of a request.
number() { grep -oE '^ *[0-9]+$' <<<"$output" | tr -d ' '; }
# in_time ROLE SQL ANSWER [SECONDS]: asks until that is the answer.
in_time() {
    local end=$((SECONDS + ${4:-30}))
    until asks "$1" "$2" && [ -z "$failed" ] && grep -qE "^ *$3" <<<"$output"; do
        [ "$SECONDS" -lt "$end" ] || { shows "$1" "$2"; die "the answer should have become $3"; }
        sleep 0.2
    done
    shows "$1" "$2"
}
# says PATTERN TEXT COMMAND...: prints the text as what was typed, and what the command says.
says() {
    local pattern=$1 text=$2
    shift 2
    output=$("$@" 2>&1) && failed= || failed=yes
    printf '\n$ %s\n%s\n' "$text" "$output"
    grep -qE "$pattern" <<<"$output" || die "it should have said $pattern"
}
# has_nothing TEXT FILE...: no password, old or new, and nothing of a mail is in there. The text is: it was searched.
words=(-e eagle-lantern-77 -e harbour-violin-31 -e 'plane trees')
has_nothing() {
    local known=$1
    shift
    # Files come and go meanwhile.
    [ -n "$(grep -rlaF -e "$known" "$@" 2>/dev/null || true)" ] || die "$known should have been found"
    output=$(grep -rlaF "${words[@]}" -e "$dsn_password" "$@" 2>/dev/null || true)
    printf '\n$ grep -rlaF'
    printf ' %q' "${words[@]}" "$@"
    printf '\n%s\n' "${output:-(nothing)}"
    [ -z "$output" ] || die "this should not have been found"
}

say "1. An administrator lets webmail's login hand passwords in, and the keeper's login, connector, open them for its jobs"
succeeds admin "CREATE SCHEMA auth;
CREATE EXTENSION password_verify SCHEMA auth;
CREATE ROLE webmail LOGIN; CREATE ROLE connector LOGIN;
GRANT USAGE ON SCHEMA auth TO webmail, connector;
SELECT auth.pv_grant('webmail', 'depositor'), auth.pv_grant('connector', 'connector');"
# Not shown: it is in the keeper's file and nowhere else.
asks admin "ALTER ROLE connector PASSWORD '$dsn_password'"
says "password" "sed 's/password=[^ ]*/password=.../' dsn" sed 's/password=[^ ]*/password=.../' "$keeper/dsn"
says "domains" "cat keeper.toml" cat "$keeper/keeper.toml"
says "good, and the database gives jobs" "pv-keeper --config keeper.toml --check" pv_keeper --check
start_keeper

say "2. Anna gives webmail the password of her mailbox. The keeper tries it once"
answers webmail "SELECT success, reason FROM auth.pv_register_imap_account(42::bigint, 'inbox', 'localhost', $imaps, 'anna',
    'eagle-lantern-77')" "t +\|"
in_time webmail "SELECT name, destination ->> 'host' AS host, state FROM auth.pv_secrets(42::bigint)" \
    "inbox +\| localhost +\| verified"

say "3. A mail arrives, webmail asks for mail every minute, and reads what the keeper has fetched"
arrives anna 1.demo <<'END'
From: Berta Beispiel <berta@example.org>
To: anna@localhost
Subject: =?utf-8?Q?Caf=C3=A9=3F?=
Date: Fri, 27 Nov 2026 09:30:00 +0100
Message-ID: <1@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="parts"

--parts
Content-Type: text/plain; charset=utf-8

Tuesday at noon, under the plane trees. The map is attached.
--parts
Content-Type: text/plain; charset=utf-8; name="map.txt"
Content-Disposition: attachment; filename="map.txt"
Content-Transfer-Encoding: base64

UGFzdCB0aGUgbWlsbCwgdGhlbiBsZWZ0Lgo=
--parts--
END
answers webmail "SELECT auth.pv_request_mail(42::bigint, 'inbox', every => '1 minute',
    until => now() + interval '1 day') AS request" "[0-9]+$"
request=$(number)
in_time webmail "SELECT seq, uid, sender, subject, text, attachments FROM auth.pv_read_mail($request)" \
    "1 +\| +1 +\| Berta .*Café\?.*Tuesday at noon.*map.txt"
answers webmail "SELECT auth.pv_request_attachment(42::bigint, 'inbox', mailbox, uidvalidity, uid, attachments -> 0 ->> 'part')
    AS request FROM auth.pv_read_mail($request)" "[0-9]+$"
attachment=$(number)
in_time webmail "SELECT seq, part, convert_from(data, 'UTF8') AS data, last FROM auth.pv_read_attachment($attachment)" \
    "1 +\| 2 +\| Past the mill"
answers webmail "SELECT auth.pv_ack_mail($attachment, 1), auth.pv_ack_mail($request, 1)" "t +\| t"
answers webmail "SELECT count(*) FROM auth.pv_read_mail($request)" "0"
says "messages=1 unseen=1" "doveadm mailbox status -u anna 'messages unseen' INBOX" mails_of_anna

say "4. A second mail arrives. It is read when the minute is over: that is step 8"
arrives anna 2.demo <<'END'
From: Berta Beispiel <berta@example.org>
To: anna@localhost
Subject: Later
Date: Fri, 27 Nov 2026 09:45:00 +0100
Message-ID: <2@example.org>

Make it one o'clock.
END
answers webmail "SELECT state, every, due_at > now() AS later FROM auth.pv_requests(42::bigint)
    WHERE request = $request" "waiting +\| 00:01:00 +\| t"

say "5. Anna changes her password at the mail server. The old one is tried once, however often webmail asks"
has_password anna harbour-violin-31
answers webmail "SELECT auth.pv_request_mail(42::bigint, 'inbox', parts => 'headers') AS request" "[0-9]+$"
headers=$(number)
in_time webmail "SELECT name, state, why FROM auth.pv_secrets(42::bigint)" "inbox +\| rejected +\| credential_refused"
for blocked in 2 3; do
    answers webmail "SELECT auth.pv_request_mail(42::bigint, 'inbox', parts => 'headers') AS request" "[0-9]+$"
    in_time webmail "SELECT count(*) FROM auth.pv_requests(42::bigint) WHERE state = 'blocked'" "$blocked"
done
# Time enough to try again.
sleep 1
says "^1$" "grep -c 'auth failed.*user=<anna>' mail/log" refusals_of_anna
answers webmail "SELECT success, reason FROM auth.pv_register_imap_account(42::bigint, 'inbox', 'localhost', $imaps, 'anna',
    'harbour-violin-31')" "t +\|"
in_time webmail "SELECT name, state FROM auth.pv_secrets(42::bigint)" "inbox +\| verified"
in_time webmail "SELECT seq, uid, subject FROM auth.pv_read_mail($headers)" "1 +\| +2 +\| Later"

say "6. Somebody has webmail's login, runs any SQL with it, and wants Anna's password"
say "6.1 From the tables"
is_refused webmail "SELECT * FROM password_verify.secret"
succeeds admin "GRANT pg_read_all_data TO webmail"
answers webmail "SELECT count(*) FROM password_verify.secret" "0"
is_refused webmail "SET row_security = off; SELECT * FROM password_verify.secret" "row-level security"
succeeds admin "REVOKE pg_read_all_data FROM webmail"
say "6.2 With the keeper's functions"
is_refused webmail "SELECT * FROM auth.pv_take_job()"
is_refused webmail "SELECT * FROM auth.pv_open_secret($request)"
say "6.3 With the keeper's rights"
is_refused webmail "SELECT auth.pv_grant('webmail', 'connector')"
is_refused webmail "GRANT connector TO webmail" "(permission denied|must have admin option)"
is_refused webmail "SET ROLE connector"
is_refused admin "SELECT auth.pv_grant('webmail', 'connector')" "no role can be both depositor and connector"
say "6.4 By having it sent elsewhere: that takes the password, and who writes it into the table is found out"
is_refused webmail "SELECT * FROM auth.pv_register_imap_account(42::bigint, 'inbox', 'thief.example', 993, 'anna', NULL)" \
    "secret must not be null"
is_refused admin "BEGIN; UPDATE password_verify.secret SET destination = replace(destination, 'localhost', 'thief.example');
SELECT name, state, destination FROM auth.pv_secrets(42::bigint); ROLLBACK" "not as it was written"
say "6.5 From the keeper's process and its log, which says everything that it can say"
pid=$(cat "$keeper/pid")
says "Permission denied" "cat /proc/$pid/environ    # as the keeper's own user" as_keeper cat "/proc/$pid/environ"
traces=("$keeper/log" "/proc/$pid/cmdline")
[ ! -r "/proc/$pid/environ" ] || traces+=("/proc/$pid/environ")
has_nothing "--config" "${traces[@]}"
says '"outcome":"rejected"' "grep rejected keeper/log" grep '"outcome":"rejected"' "$keeper/log"
say "6.6 From the server's files and a dump"
succeeds admin "CHECKPOINT"
"$bin/pg_dump" -h "$folder" -U admin mail >"$folder/dump"
has_nothing '"host":"localhost","login":"anna"' "$folder/data" "$folder/log" "$folder/dump"

say "7. Ben has a master password as well: without it nobody opens his, not even the keeper"
arrives ben 1.demo <<'END'
From: Berta Beispiel <berta@example.org>
To: ben@localhost
Subject: For Ben
Date: Fri, 27 Nov 2026 10:00:00 +0100
Message-ID: <3@example.org>

The key is under the mat.
END
answers webmail "SELECT success, reason FROM auth.pv_create_vault(43::bigint, 'seven quiet lighthouses')" "t +\|"
answers webmail "SELECT success, request FROM auth.pv_register_imap_account(43::bigint, 'inbox', 'localhost', $imaps, 'ben',
    'cobalt-meadow-58', vault_password => 'seven quiet lighthouses')" "t +\|"
is_refused webmail "SELECT auth.pv_request_mail(43::bigint, 'inbox')" "in a vault that is not unlocked"
answers webmail "SELECT handle, reason FROM auth.pv_unlock_vault(43::bigint, 'one loud lighthouse')" "\| invalid_credentials"
answers webmail "SELECT handle, reason FROM auth.pv_unlock_vault(43::bigint, 'seven quiet lighthouses')" "pvh_"
handle=$(grep -oE 'pvh_[A-Za-z0-9_-]+' <<<"$output")
answers webmail "SELECT auth.pv_request_mail(43::bigint, 'inbox', vault_handle => '$handle') AS request" "[0-9]+$"
in_time webmail "SELECT seq, uid, subject, text FROM auth.pv_read_mail($(number))" "1 +\| +1 +\| For Ben"
answers webmail "BEGIN;
SELECT auth.pv_request_mail(43::bigint, 'inbox', vault_handle => '$handle') AS request;
SELECT auth.pv_lock_vault('$handle');
COMMIT" "t$"
in_time webmail "SELECT state, outcome, detail FROM auth.pv_requests(43::bigint) WHERE request = $(number)" \
    "ended +\| failed +\| vault_locked"
is_refused webmail "SELECT auth.pv_request_mail(43::bigint, 'inbox', vault_handle => '$handle')" \
    "in a vault that is not unlocked"

say "8. When the minute is over, Anna's second mail comes, and the first one not again"
in_time webmail "SELECT seq, uid, sender, subject, text FROM auth.pv_read_mail($request)" "2 +\| +2 +\| Berta .*Later" 90
grep -qF '(1 row)' <<<"$output" || die "a mail has come twice"
answers webmail "SELECT auth.pv_ack_mail($request, 2)" "t"
says "messages=2 unseen=2" "doveadm mailbox status -u anna 'messages unseen' INBOX" mails_of_anna

say "9. An auditor sees every opening: whose, for which job, and that it was the keeper's login"
succeeds admin "CREATE ROLE auditor LOGIN; GRANT USAGE ON SCHEMA auth TO auditor; SELECT auth.pv_grant('auditor', 'auditor')"
succeeds auditor "SELECT at::time(0), login_role, user_id, outcome, detail FROM auth.pv_events WHERE action = 'open_secret'
    ORDER BY epoch, seq"
answers auditor "SELECT login_role, outcome, count(*) FROM auth.pv_events WHERE action = 'open_secret' GROUP BY 1, 2 ORDER BY 2" \
    "connector +\| vault_locked +\| +1"
answers auditor "SELECT count(*) AS without_a_job FROM auth.pv_events o WHERE action = 'open_secret' AND NOT EXISTS (
    SELECT FROM auth.pv_events t WHERE t.action = 'take_job' AND t.login_role = 'connector'
    AND t.detail::jsonb -> 'job' = o.detail::jsonb -> 'job')" "0"
answers auditor "SELECT intact, problem FROM auth.pv_verify_events()" "t +\|"

say "The end. How to run it: docs/keeper.md. How it is built: crates/keeper/src/main.rs."
if [ -n "${KEEP:-}" ]; then
    stay=yes
    [ "$(id -u)" != 0 ] || down="setpriv --reuid=$PV_SERVER_USER --regid=$(id -g "$PV_SERVER_USER") --clear-groups "
    echo "All three stay up in $folder, with their logs: log, mail/log, keeper/log."
    echo "As the application:    $bin/psql -h $folder -p $PGPORT -U webmail -d mail"
    echo "As the administrator:  $bin/psql -h $folder -p $PGPORT -U admin -d mail"
    echo "As Anna, by IMAP:      openssl s_client -quiet -CAfile $folder/tls/ca.pem -connect localhost:$imaps"
    echo "                       and there: a login anna harbour-violin-31"
    echo "To stop and remove it: kill \$(cat $keeper/pid $mail/run/master.pid);" \
        "${down:-}$bin/pg_ctl -D $folder/data stop && rm -rf $folder"
else
    echo "All three are gone. To try things by hand: make demo-keeper KEEP=1 leaves them running and says how to connect."
fi

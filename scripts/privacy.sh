#!/usr/bin/env bash
# Measures how users are forgotten in a throw-away cluster with fsync on: how long it takes, what logins take meanwhile,
# and where the name can still be found. SIZES are numbers of events of one user. Writes docs/privacy.md.
. "$(dirname "$0")/cluster.sh"
sizes=${SIZES:-100 10000 100000}
out=${OUT:-docs/privacy.md}

make_cluster privacy <<CONF
$CHEAP
autovacuum = off
CONF
start_cluster
make_shop

cat >"$folder/login.sql" <<'SQL'
\set user random(1, 8)
SELECT 1 / valid::int FROM auth.pv_validate_password(:user::bigint, 'correct horse battery staple')
SQL
chmod 777 "$folder"
# times FROM TO: of the logins that ended in this interval, the median, the slowest, and their number.
times() {
    latencies "$1" "$2" | awk '
        { ms[NR] = $1 }
        END { if (NR) printf "%.0f | %.0f | %d", ms[int((NR + 1) / 2)], ms[NR], NR; else printf "– | – | 0" }'
}

# fill NAME EVENTS: that many events of one user, who has had another name before, each with a row of its own.
fill() {
    sql "SELECT auth.pv_set_password('before-$1'::text, 'correct horse battery staple')" >/dev/null
    sql "SELECT auth.pv_rename_user('before-$1'::text, '$1'::text)" >/dev/null
    local left=$2 step
    while [ "$left" -gt 0 ]; do
        step=$((left < 10000 ? left : 10000))
        sql "DO \$\$ BEGIN FOR i IN 1..$((step / 2)) LOOP
                PERFORM auth.pv_disable_user('$1'::text), auth.pv_enable_user('$1'::text); END LOOP; END \$\$"
        left=$((left - step))
    done
    while [ "$(sql "SELECT count(*) FROM password_verify.event WHERE user_id = '$1'")" -lt "$2" ]; do sleep 0.2; done
}
await_forgotten() {
    while [ "$(sql 'SELECT count(*) FROM password_verify.forgetting')" != 0 ]; do sleep 0.05; done
}
# found NAME: in how many files of the data directory it stands: of tables and indexes, and of the WAL.
found() {
    local tables wal
    tables=$(grep -rl "$1" "$folder/data/base" | wc -l)
    wal=$(grep -rl "$1" "$folder/data/pg_wal" | wc -l)
    printf "%d | %d" "$tables" "$wal"
}

lines=
for size in $sizes; do
    name=forgotten-person-$size
    say "$size events of one user"
    fill "$name" "$size"
    begin_logins 20 -f "$folder/login.sql"
    sleep 5
    a=$(now)
    sql "SELECT auth.pv_forget_user('$name'::text)" >/dev/null
    await_forgotten
    b=$(now)
    sleep 2
    end_logins
    [ "$(sql "SELECT count(*) FROM password_verify.event WHERE user_id LIKE '%$name'")" = 0 ] || die "the name is still there"
    took=$(awk "BEGIN { printf \"%.1f\", $b - $a }")
    lines+="| $size | $took | $(times "$a" "$b") |
"
done
intact=$(sql "SELECT intact FROM auth.pv_verify_events()")
[ "$intact" = t ] || die "the chain is broken"

say "where a name can still be found"
name=forgotten-person-here
fill "$name" 100
sql CHECKPOINT
places="| before | $(found "$name") |
"
sql "SELECT auth.pv_forget_user('$name'::text)" >/dev/null
await_forgotten
sql CHECKPOINT
places+="| after \`pv_forget_user\`, and what it waits for | $(found "$name") |
"
tables='password_verify.event, password_verify.event_fold, password_verify.forgetting, password_verify.credential, password_verify.account'
sql "VACUUM $tables"
sql CHECKPOINT
places+="| after \`VACUUM\` of the tables | $(found "$name") |
"
sql "VACUUM FULL $tables"
sql CHECKPOINT
places+="| after \`VACUUM FULL\` of the tables | $(found "$name") |
"

say "twenty kills in the middle"
kills=$(cargo test --locked -q -p password-verify-tests --test forget -- --nocapture wherever_it_is_killed |
    grep 'came in the middle') || die "the chain or a name did not survive a kill"

cat >"$out" <<TABLE
# What is kept of a person, how long and why, and how it is erased

For whoever answers for a database under privacy law. \`pv_forget_user\` erases what the extension itself keeps. What it
cannot reach is named below, with what reaches it.

## What is kept

| what | where | how long | why | how it goes before its time |
| --- | --- | --- | --- | --- |
| user id, verifiers (hashed, sealed with a keyring), when the password was set, whether it must be changed | \`credential\`, \`account\` | until the account is deleted | to verify passwords; earlier ones so that they are not used again | \`pv_delete_user\`, \`pv_forget_user\` |
| events: user id, client address, login role, address and certificate of the connection, \`application_name\`, time, what was done and what came of it | \`event\` | \`audit_retention\` (400 days) | to find out who got in and what was tried, and to prove that nothing was left out | the id: \`pv_forget_user\`. The rest stays: see below |
| events of the last minute that are being counted | \`event_fold\` | a minute, and while nobody calls | as above | \`pv_forget_user\` |
| budgets: keyed hashes of user ids and addresses, counts, times | \`throttle\`, shared memory | until they are at rest: \`throttle_forget_after\`, and \`known_client_for\` | so that guessing has a limit | nobody can tell whose they are without the id and the database's key |
| secrets, jobs with them and their results, sealed | \`secret\`, \`vault\`, \`job\`, \`result\` | until they are deleted, and results for \`result_retention\` | what the application has asked the keeper to keep | \`pv_forget_secret\`, \`pv_delete_vault\`, \`pv_delete_user\`, \`pv_forget_user\` |
| ids that are still to be erased | \`forgetting\` | seconds | the worker does it after commit | |
| alerts: user id, client address, role, certificate | the server log | as long as the log | so that somebody hears of an attack | rotate and delete logs; \`audit_user_ids = digest\` keeps ids out of them |

Passwords are nowhere: not in events, not in logs. But a password that somebody types into the field for the user name is a
user id to the database, and on record like one. \`pv_forget_user\` takes any id, somebody's or nobody's, and
\`audit_user_ids = digest\` keeps such texts out from the beginning.

## Forgetting somebody

\`\`\`sql
SELECT auth.pv_forget_user('smith-77');   -- a manager
\`\`\`

deletes the account and what the keeper keeps, in the caller's transaction. Once that is committed, the worker erases the
id from all events up to then, also under names that the user had before a rename, as far as \`audit_retention\` reaches. It
takes a slice at a time, and whatever kills it, it goes on with the next call in that database. It leaves, in each row, a
hash that the chain of the audit covers in place of the id: \`pv_verify_events\` holds before, during and after. The hash is
of the id and 16 random bytes, which are erased with it, so that nobody can find the id by guessing.

When it is done, an event says so: \`action\` is \`forget\`, \`outcome\` is \`recorded\`, and \`detail\` names the transaction that
asked, how many rows of each epoch were erased, and \`"done":true\` in the last of them. Whoever erased ids without the
worker would be found by those numbers: \`pv_verify_events\` compares them with the rows.

What stays, and why:

- **The events themselves**, without a name: when, from which address, what came of it. They are evidence about attacks and
  about the application's logins. Which of them belonged together can no longer be told, but a client address may still be
  that of a person. Where it must not be kept, do not pass \`client_addr\`, or shorten \`audit_retention\`.
- **What comes later.** An id that is used again after \`pv_forget_user\` is on record again.
- **Names that others have had.** All events of the id itself are erased, whoever had it. Of a former name, only those of the
  account that gave it up, back to its sign-up or to whoever gave the name up before. Who lives on under another name keeps
  the events of that one: forgetting a name that she had for a while erases that name only.
- **A sign-up that is open** while somebody forgets its id: it is of whoever comes now.
- **Names from before \`digest\`.** Where a rename was recorded as digests, events from a time when ids were text are
  not found by it. Forget such a name by itself: \`pv_forget_user\` takes it.

What \`pv_forget_user\` does not reach:

- **Old versions of rows**, in the files of tables and indexes. No statement shows them, but whoever reads the files does.
  VACUUM gives their space free, and their bytes stay in it until something is written over them. \`VACUUM FULL\` writes the
  tables anew; meanwhile logins wait, so it is for a maintenance window:
  \`VACUUM FULL password_verify.event, password_verify.event_fold, password_verify.forgetting, password_verify.credential, password_verify.account\`.
- **WAL**, its archive and replication slots, until they are removed. A segment that is recycled keeps its bytes until it is
  written over.
- **Backups and dumps.** Whoever restores one has the person back. Keep a list of who was forgotten outside of the database,
  and call \`pv_forget_user\` for each after a restore.
- **Server logs**, and systems that have read them or \`pv_events_after\`.
- **The application's own tables.**

## Digests instead of ids

\`password_verify.audit_user_ids = digest\` (needs a keyring; reload) has events, folds and log lines name users by
\`digest:\` and 32 hexadecimal digits: BLAKE2b of the id with a random key of this database, which is kept sealed in the
anchor, so that rotating the keyring does not change digests. Every id is a digest then, known or unknown: text for some
would show who exists. Nobody can have an id that looks like a digest: as text, an id that begins with \`digest:\` or \`text:\`
has \`text:\` before it in events. \`pv_user_events\` finds events by the id in either form, and \`pv_forget_user\` erases both.

| | \`text\` | \`digest\` |
| --- | --- | --- |
| an auditor without an id sees | ids | that two events are about the same user |
| a password in the wrong field | is legible for \`audit_retention\` | is not |
| a search by a part of an id | \`pv_events\` | impossible |
| without the keyring | all is legible | digests cannot be computed any more |
| if the anchor is lost | | older digests cannot be computed any more |

Digests are pseudonyms in the sense of the law, and still personal data for whoever has the keyring.

## Measured

By \`make privacy\` on $(date -u +%Y-%m-%d): $(nproc --all) processors ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)),
$("$PG_CONFIG" --version), a local disk with fsync on. Twenty logins a second run beside it, each with a hash of 7 MB and 5 passes.
${NOTE:-}

| events of the user | until all are erased, s | median login meanwhile, ms | slowest, ms | logins |
| --- | --- | --- | --- | --- |
$lines
The audit is intact: \`$intact\`. Killed while it was erasing 10,000 events (\`tests/audit/forget.rs\`): $kills; the chain
held right after each, and in the end the name was in no table.

Where the name of a user with 100 events stands in the data directory, in how many files:

| | tables and indexes | WAL |
| --- | --- | --- |
$places
TABLE
cat "$out"

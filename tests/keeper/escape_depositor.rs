//! Attacks, each told as a story and replayed with the application's login, which holds the kind depositor and may do
//! whatever an application may at most: nothing of it reads a secret that is kept.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keeper::{
    DESTINATION, KeptSite, TABLES, VAULT, await_job, contents, create_vault, deliver, finish, open,
    request, requests, secrets, store, store_in_vault, take, try_request, unlock,
};
use password_verify_tests::query::{number, text};
use password_verify_tests::victim::all_refused;
use password_verify_tests::{attack, sqlstate};
use postgres::{Client, IsolationLevel, SimpleQueryMessage};

const CANARY: &str = "canary of the victim 7d1f";

/// A site with a secret of a victim, and one in a vault, both long enough for a toast table; the application may
/// create schemas.
fn victim() -> KeptSite {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "victim", "imap", &format!("{CANARY} {}", "x".repeat(8000)));
    assert!(create_vault(&mut app, "victim", VAULT).0);
    store_in_vault(&mut app, "victim", "vaulted", &format!("{CANARY} {}", "y".repeat(8000)));
    let job = request(&mut app, "victim", "imap");
    assert_eq!(take(&mut keeper), Some(job));
    finish(&mut keeper, job, "retry", "unavailable");
    let grant =
        format!("GRANT CREATE, TEMP ON DATABASE {} TO {}", kept.site.database, kept.depositor);
    kept.admin().batch_execute(&grant).unwrap();
    kept
}

/// Everything that a statement answers with, rows and errors.
fn all_of(client: &mut Client, sql: &str) -> String {
    match client.simple_query(sql) {
        Ok(messages) => {
            let mut seen = String::new();
            for message in messages {
                if let SimpleQueryMessage::Row(row) = message {
                    (0..row.len()).for_each(|i| seen.push_str(row.get(i).unwrap_or_default()));
                }
            }
            seen
        }
        Err(error) => format!("{error:?}"),
    }
}

/// The secret of the victim, as only its job has it, and nothing has changed.
fn unharmed(kept: &KeptSite) {
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(secrets(&mut app, "victim"), ["imap new", "vaulted vault new"]);
    let handle = unlock(&mut app, "victim");
    let job = try_request(&mut app, "victim", "vaulted", Some(&handle)).unwrap();
    assert_eq!(await_job(&mut keeper), job);
    assert!(open(&mut keeper, job).unwrap().starts_with(CANARY));
    kept.assert_sound();
}

/// What somebody may execute.
fn functions_of(kept: &KeptSite, role: &str) -> Vec<String> {
    let sql = "SELECT DISTINCT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname IN ('auth', 'password_verify') AND has_function_privilege($1, p.oid, 'EXECUTE') ORDER BY 1";
    kept.admin().query(sql, &[&role]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn each_of_the_two_has_its_own_functions_and_no_others() {
    let kept = victim();
    assert_eq!(
        functions_of(&kept, &kept.depositor),
        [
            "mail_bytes",
            "mail_number",
            "mail_texts",
            "mail_time",
            "pv_ack_mail",
            "pv_ack_results",
            "pv_cancel_request",
            "pv_change_vault_password",
            "pv_create_vault",
            "pv_delete_vault",
            "pv_forget_secret",
            "pv_lock_vault",
            "pv_read_attachment",
            "pv_read_mail",
            "pv_register_imap_account",
            "pv_request",
            "pv_request_attachment",
            "pv_request_mail",
            "pv_requests",
            "pv_results",
            "pv_secrets",
            "pv_store_secret",
            "pv_unlock_vault",
        ]
    );
    assert_eq!(
        functions_of(&kept, &kept.connector),
        ["pv_deliver", "pv_finish_job", "pv_open_secret", "pv_store_rotated", "pv_take_job",]
    );
    // Not for anybody who only holds the kinds of passwords.
    let app = functions_of(&kept, &kept.site.app);
    assert!(app.iter().all(|name| name.contains("password") || name.contains("token")), "{app:?}");
}

/// They lease, open, deliver and finish as the keeper does.
#[test]
fn the_keepers_functions() {
    let kept = victim();
    let mut app = kept.depositor();
    let job = requests(&mut app, "victim")[0].0;
    let calls = [
        "pv_take_job()",
        "pv_open_secret(JOB)",
        "pv_store_rotated(JOB, 'x')",
        "pv_deliver(JOB, '{}')",
        "pv_finish_job(JOB, 'done')",
    ];
    let calls = calls.map(|call| format!("SELECT auth.{}", call.replace("JOB", &job.to_string())));
    all_refused(&mut app, &calls.each_ref().map(|sql| &**sql));
    let (me, it) = (&kept.depositor, &kept.connector);
    all_refused(
        &mut app,
        &[
            &format!("SET ROLE {it}"),
            &format!("SET SESSION AUTHORIZATION {it}"),
            &format!("GRANT {it} TO {me}"),
            &format!("SELECT auth.pv_grant('{me}', 'connector')"),
            &format!("GRANT EXECUTE ON FUNCTION auth.pv_open_secret(bigint, bigint) TO {me}"),
            "SET ROLE pv_owner",
            "CREATE FUNCTION pg_temp.raw(bigint, OUT a text, OUT b text, OUT c interval) RETURNS SETOF record LANGUAGE c AS '$libdir/password_verify', 'pv_open_secret_wrapper'",
            "CREATE OR REPLACE FUNCTION auth.pv_take_job(lease_for interval DEFAULT '5 minutes') RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
            "ALTER FUNCTION auth.pv_store_secret(text, text, text, jsonb, text, inet) SECURITY INVOKER",
        ],
    );
    unharmed(&kept);
}

/// They read the tables, write them, or hang something onto them.
#[test]
fn touching_the_tables() {
    let kept = victim();
    let before = contents(&mut kept.admin());
    let mut app = kept.depositor();
    app.batch_execute("CREATE SCHEMA mine; CREATE FUNCTION mine.t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$").unwrap();
    for table in TABLES {
        let table = format!("password_verify.{table}");
        let toast = format!(
            "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = '{table}'::regclass"
        );
        let toast = text(&mut kept.admin(), &toast);
        let mut statements = Vec::new();
        for sql in [
            "SELECT * FROM @",
            "SELECT count(*) FROM @",
            "COPY @ TO STDOUT",
            "COPY (SELECT * FROM @) TO STDOUT",
            "UPDATE @ SET mac = ''",
            "DELETE FROM @",
            "TRUNCATE @",
            "SELECT * FROM @ FOR UPDATE",
            "SELECT s FROM @ s",
            "ALTER TABLE @ DISABLE ROW LEVEL SECURITY",
            "CREATE POLICY p ON @ USING (true)",
            "CREATE TRIGGER t BEFORE UPDATE ON @ FOR EACH ROW EXECUTE FUNCTION mine.t()",
            "CREATE RULE r AS ON INSERT TO @ DO ALSO NOTHING",
            "CREATE INDEX i ON @ (mac)",
            "CREATE TABLE mine.child () INHERITS (@)",
            "CREATE PUBLICATION p FOR TABLE @",
            "CREATE STATISTICS mine.s ON key, mac FROM @",
            "DO $do$ BEGIN LOCK TABLE @; END $do$",
            "SELECT * FROM #",
        ] {
            statements.push(sql.replace('@', &table).replace('#', &toast));
        }
        all_refused(&mut app, &statements.iter().map(|sql| &**sql).collect::<Vec<_>>());
    }
    assert_eq!(contents(&mut kept.admin()), before);
    unharmed(&kept);
}

/// They have been given the roles that read and write all data, "for reporting".
#[test]
fn pg_read_all_data_and_pg_write_all_data() {
    let kept = victim();
    let (before, mut admin) = (contents(&mut kept.admin()), kept.admin());
    admin.batch_execute("ANALYZE").unwrap();
    admin
        .batch_execute(&format!(
            "GRANT pg_read_all_data, pg_write_all_data, pg_monitor TO {}",
            kept.depositor
        ))
        .unwrap();
    let mut app = kept.depositor();
    let (mut seen, mut toasted) = (String::new(), 0);
    for table in TABLES {
        for sql in [
            format!("SELECT count(*) FROM password_verify.{table}"),
            format!(
                "SELECT count(*) FROM pg_statistic WHERE starelid = 'password_verify.{table}'::regclass"
            ),
            format!(
                "SELECT count(*) FROM pg_stats WHERE schemaname = 'password_verify' AND tablename = '{table}'"
            ),
        ] {
            assert_eq!(number(&mut app, &sql), 0, "{sql}");
        }
        for sql in [
            format!("UPDATE password_verify.{table} SET mac = ''"),
            format!("DELETE FROM password_verify.{table}"),
        ] {
            assert_eq!(app.execute(&sql, &[]).unwrap(), 0, "{sql}");
        }
        // Row security does not cover these: there is ciphertext.
        let toast = format!(
            "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'password_verify.{table}'::regclass"
        );
        let toast = text(&mut admin, &toast);
        toasted += number(&mut admin, &format!("SELECT count(*) FROM {toast}"));
        seen += &all_of(&mut app, &format!("SELECT encode(chunk_data, 'escape') FROM {toast}"));
        seen += &all_of(&mut app, &format!("SELECT encode(chunk_data, 'hex') FROM {toast}"));
        app.batch_execute("SET row_security = off").unwrap();
        assert_eq!(
            sqlstate(app.query(&format!("SELECT * FROM password_verify.{table}"), &[])),
            "42501"
        );
        app.batch_execute("SET row_security = on").unwrap();
    }
    assert!(
        toasted > 4 && seen.contains("$kept$"),
        "the test looks where there is something: {toasted}"
    );
    let compressible = "xxxxxxxxxxxxxxxx";
    let hex = CANARY.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    for hidden in [CANARY, &hex, compressible] {
        assert!(!seen.contains(hidden), "{hidden}");
    }
    // Nor by a function of their own that says what it sees before the rows are filtered.
    app.batch_execute("CREATE SCHEMA mine; CREATE FUNCTION mine.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE EXCEPTION 'leaked %', $1; END $$").unwrap();
    assert!(
        app.query("SELECT * FROM password_verify.secret WHERE mine.leak(sealed)", &[])
            .unwrap()
            .is_empty()
    );
    assert_eq!(contents(&mut admin), before);
    unharmed(&kept);
}

/// They look at all that plans, activity, catalogs, locks, statistics, notices and errors show, while they call
/// everything that they may call.
#[test]
fn whatever_their_functions_and_the_catalogs_show() {
    let kept = victim();
    kept.admin().batch_execute(&format!("GRANT pg_monitor TO {}", kept.depositor)).unwrap();
    let (mut app, heard) = kept.site.cluster.listen(&kept.depositor, &kept.site.database);
    for setting in [
        "debug_print_parse = on",
        "debug_print_rewritten = on",
        "debug_print_plan = on",
        "client_min_messages = debug5",
        "debug_pretty_print = off",
        "bytea_output = hex",
    ] {
        app.batch_execute(&format!("SET {setting}")).unwrap();
    }
    app.batch_execute("LISTEN password_verify_jobs").unwrap();
    let job = requests(&mut app, "victim")[0].0;
    // By another session, and by the keeper, while they look.
    let mut other = kept.depositor();
    store(&mut other, "victim", "imap", CANARY);
    store_in_vault(&mut other, "victim", "vaulted", CANARY);
    let own = request(&mut other, "victim", "imap");
    let mut keeper = kept.connector();
    assert_eq!(await_job(&mut keeper), own);
    assert_eq!(open(&mut keeper, own), Ok(CANARY.into()));
    deliver(&mut keeper, own, r#"{"a":1}"#);
    let mut seen = String::new();
    let calls = [
        format!("pv_store_secret('victim'::text, 'other', 'mine', '{DESTINATION}')"),
        "pv_secrets('victim'::text)".into(),
        "pv_requests('victim'::text)".into(),
        "pv_request('victim'::text, 'imap', '{}')".into(),
        "pv_request('victim'::text, 'vaulted', '{}')".into(),
        format!("pv_results({own})"),
        format!("pv_results({job})"),
        format!("pv_read_mail({own})"),
        format!("pv_read_attachment({own})"),
        "pv_register_imap_account('victim'::text, 'other', 'mail.example.org', 993, 'a', 'mine')"
            .into(),
        "pv_request_mail('victim'::text, 'imap')".into(),
        format!("pv_cancel_request({job})"),
        format!("pv_ack_results({own}, 0)"),
        "pv_unlock_vault('victim'::text, 'guess')".into(),
        "pv_change_vault_password('victim'::text, 'guess', 'another guess')".into(),
        "pv_create_vault('victim'::text, 'another guess of ours')".into(),
        "pv_lock_vault('pvh_guess')".into(),
        format!("pv_store_secret('victim'::text, '', 'mine', '{DESTINATION}')"),
        "pv_forget_secret('victim'::text, 'other')".into(),
    ];
    let mut tried = 0;
    for call in &calls {
        for sql in [
            "SELECT * FROM auth.CALL",
            "EXPLAIN (ANALYZE, VERBOSE, BUFFERS, SETTINGS) SELECT * FROM auth.CALL",
            "DO $$ BEGIN PERFORM auth.CALL; RAISE EXCEPTION 'and no more'; END $$",
        ] {
            seen += &all_of(&mut app, &sql.replace("CALL", call));
            tried += 1;
        }
    }
    for sql in [
        "SELECT * FROM pg_stat_activity",
        "SELECT * FROM pg_locks",
        "SELECT * FROM pg_prepared_statements",
        "SELECT * FROM pg_cursors",
        "SELECT * FROM pg_stat_all_tables",
        "SELECT * FROM pg_statio_all_tables",
        "SELECT * FROM pg_stats",
        "SELECT * FROM pg_settings",
        "SELECT * FROM pg_proc WHERE proname LIKE 'pv%'",
        "SELECT * FROM pg_class",
        "SELECT * FROM pg_attribute WHERE attrelid > 16000",
        "SELECT * FROM pg_description",
        "SELECT * FROM pg_shmem_allocations",
        "SELECT * FROM pg_backend_memory_contexts",
        "SELECT * FROM pg_stat_user_functions",
        "SELECT * FROM pg_stat_io",
        "SELECT * FROM pg_largeobject_metadata",
        "SELECT pg_notification_queue_usage()",
        "SELECT * FROM pg_listening_channels()",
    ] {
        seen += &all_of(&mut app, sql);
        tried += 1;
    }
    let heard = heard.lock().unwrap().join("\n");
    assert!(
        seen.contains("pv_store_secret") && seen.contains("mail.example.org") && heard.len() > 1000,
        "the test looks"
    );
    let sealed =
        "SELECT split_part(sealed, '$', 4) FROM password_verify.secret WHERE name = 'imap'";
    let sealed = text(&mut kept.admin(), sealed);
    let hidden = [CANARY, VAULT, "$kept$", "$locked$", "$argon2id", &sealed];
    let through = hidden.iter().filter(|it| seen.contains(**it) || heard.contains(**it)).count();
    attack("whatever a depositor's functions and the catalogs show of a secret", tried, through);
}

/// They keep the name and change the server: what is kept is not sent there.
#[test]
fn another_destination_for_a_secret_that_is_kept() {
    let kept = victim();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let evil = DESTINATION.replace("Mail.example.org", "evil.example");
    for sql in [
        "SELECT auth.pv_store_secret('victim'::text, 'imap', '', $1::text::jsonb)",
        "SELECT auth.pv_store_secret('victim'::text, 'imap', NULL, $1::text::jsonb)",
    ] {
        assert!(["22023", "22004"].contains(&&*sqlstate(app.query(sql, &[&evil]))));
    }
    let sql = "SELECT auth.pv_store_secret('victim'::text, 'imap', 'theirs', $1::text::jsonb)";
    app.query(sql, &[&evil]).unwrap();
    let job = request(&mut app, "victim", "imap");
    let taken = password_verify_tests::keeper::try_take(&mut keeper, "1 minute").unwrap().unwrap();
    assert!(taken.job == job && taken.destination.contains("evil.example"));
    let opened = open(&mut keeper, job).unwrap();
    attack(
        "secrets sent to a destination that was put in place of theirs",
        3,
        usize::from(opened != "theirs"),
    );
    kept.assert_sound();
}

/// They read in SERIALIZABLE, where PostgreSQL notes which page and row was read.
#[test]
fn serializable_leaves_no_trace_of_the_rows() {
    let kept = victim();
    let mut app = kept.depositor();
    for user in ["victim", "nobody"] {
        let mut transaction =
            app.build_transaction().isolation_level(IsolationLevel::Serializable).start().unwrap();
        for call in
            ["pv_secrets($1::text)", "pv_requests($1::text)", "pv_unlock_vault($1::text, 'guess')"]
        {
            transaction.query(&format!("SELECT * FROM auth.{call}"), &[&user]).unwrap();
        }
        let sql = "SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND relation > 16000";
        assert_eq!(number(&mut transaction, sql), 0, "{user}");
    }
}

//! Texts that can be recognised go through every function of the keeper. Afterwards they are in no file of the server,
//! no dump, no line of the log and no statistics.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use password_verify_tests::calls::{manage, rename};
use password_verify_tests::cluster::run;
use password_verify_tests::hold::pid;
use password_verify_tests::hunt::{Hunt, canary, forms};
use password_verify_tests::keeper::{DESTINATION, KeptSite};
use password_verify_tests::keyring::{fresh_key, line};
use password_verify_tests::kill::crash_by;
use password_verify_tests::rotation::{ROTATE, activate};
use password_verify_tests::sqlstate;
use postgres::types::ToSql;
use postgres::{Client, Error, SimpleQueryMessage};

/// No file is written over before the test reads it, and the log is as loud as it gets.
const KEEP: [&str; 4] = [
    "wal_keep_size = 1GB",
    "autovacuum = off",
    "shared_buffers = 16MB",
    "log_min_messages = debug5",
];

/// How arguments, which are all texts, come to the server.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Bound,
    Literals,
}

impl Way {
    /// The one value of a statement.
    fn try_call(
        self,
        client: &mut Client,
        sql: &str,
        args: &[&str],
    ) -> Result<Option<String>, Error> {
        if self == Self::Bound {
            let args: Vec<_> = args.iter().map(|arg| arg as &(dyn ToSql + Sync)).collect();
            return Ok(client.query(sql, &args)?.first().and_then(|row| row.get(0)));
        }
        let numbered = args.iter().enumerate().rev();
        let sql = numbered.fold(sql.to_owned(), |sql, (i, arg)| {
            sql.replace(&format!("${}", i + 1), &format!("'{arg}'"))
        });
        let mut value = None;
        for message in client.simple_query(&sql)? {
            if let SimpleQueryMessage::Row(row) = message {
                value = row.get(0).map(str::to_owned);
            }
        }
        Ok(value)
    }

    fn call(self, client: &mut Client, sql: &str, args: &[&str]) -> String {
        self.try_call(client, sql, args).expect(sql).expect(sql)
    }

    /// Where it must be that error. Of another one than ours the log has the statement, which is not about us.
    fn fails(self, client: &mut Client, state: &str, sql: &str, args: &[&str]) {
        assert_eq!(sqlstate(self.try_call(client, sql, args)), state, "{sql}");
        if self == Self::Literals {
            let inside = format!("DO $do$ BEGIN PERFORM ({sql}); END $do$");
            assert_eq!(sqlstate(self.try_call(client, &inside, args)), state, "{inside}");
        }
    }
}

const STORE: &str =
    "SELECT COALESCE(reason, 'yes') FROM auth.pv_store_secret($1::text, $2, $3, $4::text::jsonb)";
const STORE_IN_VAULT: &str = "SELECT COALESCE(reason, 'yes') FROM auth.pv_store_secret($1::text, $2, $3, $4::text::jsonb, $5)";
const REQUEST: &str = "SELECT auth.pv_request($1::text, $2, $3::text::jsonb)::text";
const REQUEST_IN_VAULT: &str =
    "SELECT auth.pv_request($1::text, $2, $3::text::jsonb, NULL, NULL, $4)::text";
const CREATE: &str = "SELECT COALESCE(reason, 'yes') FROM auth.pv_create_vault($1::text, $2)";
const CHANGE: &str =
    "SELECT COALESCE(reason, 'yes') FROM auth.pv_change_vault_password($1::text, $2, $3)";
const UNLOCK: &str = "SELECT COALESCE(handle, reason) FROM auth.pv_unlock_vault($1::text, $2)";
const LOCK: &str = "SELECT auth.pv_lock_vault($1)::text";
const TAKE: &str = "SELECT job::text FROM auth.pv_take_job()";
const OPEN: &str = "SELECT COALESCE(secret, reason) FROM auth.pv_open_secret($1::text::bigint)";
const ROTATED: &str = "SELECT auth.pv_store_rotated($1::text::bigint, $2)::text";
const DELIVER: &str = "SELECT auth.pv_deliver($1::text::bigint, $2::text::jsonb)::text";
const NOTE: &str = "SELECT auth.pv_deliver($1::text::bigint, '{}', NULL, $2::text::jsonb)::text";
const REGISTER: &str = "SELECT COALESCE(reason, request::text)
    FROM auth.pv_register_imap_account($1::text, $2, $3, 993, 'alice', $4)";
const FINISH: &str = "SELECT auth.pv_finish_job($1::text::bigint, $2, $3)::text";
const RESULTS: &str = "SELECT string_agg(result::text, '') FROM auth.pv_results($1::text::bigint)";
const ACK: &str = "SELECT auth.pv_ack_results($1::text::bigint, 99)::text";

/// A whole life of secrets, in and outside of a vault, and everything that goes wrong in it.
fn live(kept: &KeptSite, way: Way, hunt: &mut Hunt, name: &str) {
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let (app, keeper, to) = (&mut app, &mut keeper, DESTINATION);
    let json = |canary: &str| format!(r#"{{"text":"{canary}"}}"#);
    let many = |canary: &str, bytes: usize| canary.repeat(bytes / 32 + 1);
    kept.site.enroll("42", "a password of 42");

    // Outside of a vault.
    let [old, rolled_back, secret] =
        ["a replaced secret", "one that was rolled back", "a secret"].map(|it| hunt.canary(it));
    let (what, result, rotated) =
        (hunt.canary("what"), hunt.canary("a result"), hunt.canary("a rotated secret"));
    let refused = hunt.canary("something that was refused");
    for new in [&old, &secret] {
        assert_eq!(way.call(app, STORE, &["42", name, new, to]), "yes");
    }
    for (begin, end) in [("BEGIN", "ROLLBACK"), ("BEGIN; SAVEPOINT s", "ROLLBACK TO s; COMMIT")] {
        app.batch_execute(begin).unwrap();
        assert_eq!(way.call(app, STORE, &["42", name, &rolled_back, to]), "yes");
        app.batch_execute(end).unwrap();
    }
    for (state, args) in [
        ("22023", ["42", "", &refused, to]),
        ("22023", ["", name, &refused, to]),
        ("22023", ["42", name, &many(&refused, 8192), to]),
        ("22023", ["42", name, &refused, &json(&refused)]),
        ("22023", ["42", name, "x", &to.replace("org", &refused).replace("Mail", "_")]),
        ("22023", ["42", &many(&refused, 128), "x", to]),
    ] {
        way.fails(app, state, STORE, &args);
    }
    way.fails(
        app,
        "22004",
        &STORE.replace("$2", "NULLIF($2::text, $2)"),
        &["42", name, &refused, to],
    );
    app.batch_execute("BEGIN READ ONLY").unwrap();
    assert_eq!(sqlstate(way.try_call(app, STORE, &["42", name, &refused, to])), "25006");
    app.batch_execute("ROLLBACK").unwrap();
    way.fails(app, "22023", REQUEST, &["42", name, &json(&many(&refused, 2048))]);
    way.fails(app, "42704", REQUEST, &["nobody", name, &json(&refused)]);
    let again = "SELECT auth.pv_request($1::text, $2, $3::text::jsonb, '1 day', now() + interval '1 week')::text";
    let job = way.call(app, again, &["42", name, &json(&what)]);
    let no_job = (job.parse::<i64>().unwrap() + 1).to_string();
    assert_eq!(way.call(keeper, TAKE, &[]), job);
    assert_eq!(way.call(keeper, OPEN, &[&job]), secret);
    way.call(keeper, ROTATED, &[&job, &rotated]);
    assert_eq!(way.call(keeper, OPEN, &[&job]), rotated);
    way.fails(keeper, "42704", ROTATED, &[&no_job, &refused]);
    way.fails(keeper, "22023", ROTATED, &[&job, &many(&refused, 8192)]);
    way.fails(keeper, "42704", DELIVER, &[&no_job, &json(&refused)]);
    way.fails(keeper, "22023", DELIVER, &[&job, &json(&many(&refused, 1 << 20))]);
    way.fails(keeper, "22023", FINISH, &[&job, "failed", &refused]);
    way.fails(keeper, "22023", FINISH, &[&job, &refused, "ok"]);
    let long = format!("{}{}", result, fresh_key().repeat(200));
    for result in [&result, &long] {
        way.call(keeper, DELIVER, &[&job, &json(result)]);
    }
    let progress = hunt.canary("what was noted");
    way.call(keeper, NOTE, &[&job, &json(&progress)]);
    way.fails(keeper, "22023", NOTE, &[&job, &json(&many(&refused, 2048))]);
    way.call(keeper, FINISH, &[&job, "done", "ok"]);
    let read = way.call(app, RESULTS, &[&job]);
    assert_eq!(read.matches(&result).count(), 2);
    let sql = "SELECT what::text FROM auth.pv_requests($1::text)";
    assert!(way.call(app, sql, &["42"]).contains(&what));
    assert_eq!(way.call(app, "SELECT state FROM auth.pv_secrets($1::text)", &["42"]), "verified");
    way.fails(keeper, "55000", DELIVER, &[&job, &json(&refused)]);

    // By what is written in SQL.
    let (mailbox, address) = (hunt.canary("a mailbox's password"), "mail.example.org");
    for (state, args) in [
        ("22023", ["42", "", address, &refused]),
        ("22023", ["", name, address, &refused]),
        ("22023", ["42", name, address, &many(&refused, 8192)]),
        ("22023", ["42", name, "no host", &refused]),
    ] {
        way.fails(app, state, REGISTER, &args);
    }
    let job = way.call(app, REGISTER, &["42", "a mailbox", address, &mailbox]);
    assert_eq!(way.call(keeper, TAKE, &[]), job);
    assert_eq!(way.call(keeper, OPEN, &[&job]), mailbox);
    way.call(keeper, FINISH, &[&job, "done", "ok"]);
    assert_eq!(way.call(app, ACK, &[&job]), "true");

    // In one.
    let [vault, vault2, wrong] =
        ["a vault password", "another one", "a wrong one"].map(|it| hunt.canary(it));
    let kept_in_it = hunt.canary("a secret in a vault");
    way.fails(app, "22004", &CREATE.replace("$1::text", "NULLIF($1::text, $1)"), &["42", &vault]);
    assert_eq!(way.call(app, CREATE, &["42", &vault]), "yes");
    assert_eq!(way.call(app, CREATE, &["42", &refused]), "already_set");
    assert_eq!(way.call(app, CREATE, &["43", &many(&refused, 5000)]), "too_long");
    let inside = format!("{name} in a vault");
    for (user, password) in [("42", &wrong), ("nobody", &vault)] {
        let args = [user, &inside, &refused, to, password];
        assert_eq!(way.call(app, STORE_IN_VAULT, &args), "invalid_credentials");
        assert_eq!(way.call(app, UNLOCK, &[user, password]), "invalid_credentials");
        assert_eq!(way.call(app, CHANGE, &[user, password, &refused]), "invalid_credentials");
    }
    let long = format!("{kept_in_it}{}", fresh_key().repeat(180));
    assert_eq!(way.call(app, STORE_IN_VAULT, &["42", &inside, &long, to, &vault]), "yes");
    assert_eq!(way.call(app, STORE_IN_VAULT, &["42", &inside, &kept_in_it, to, &vault]), "yes");
    assert_eq!(way.call(app, CHANGE, &["42", &vault, &many(&refused, 5000)]), "too_long");
    assert_eq!(way.call(app, CHANGE, &["42", &vault, &vault2]), "yes");
    way.fails(app, "22004", &UNLOCK.replace("$2", "$2, NULL"), &["42", &vault2]);
    way.fails(app, "22023", &UNLOCK.replace("$2", "$2, '1 year'"), &["42", &vault2]);
    let handles = [0, 1].map(|_| way.call(app, UNLOCK, &["42", &vault2]));
    handles.iter().for_each(|handle| hunt.handle(&mut kept.admin(), handle));
    way.fails(app, "55000", REQUEST, &["42", &inside, &json(&refused)]);
    for handle in [&refused, &format!("pvh_{refused}{}", &refused[..11])] {
        way.fails(app, "55000", REQUEST_IN_VAULT, &["42", &inside, "{}", handle]);
        assert_eq!(way.call(app, LOCK, &[handle]), "false");
    }
    way.fails(app, "42704", REQUEST_IN_VAULT, &["nobody", &inside, "{}", &handles[0]]);
    let job = way.call(app, REQUEST_IN_VAULT, &["42", &inside, &json(&what), &handles[0]]);
    let left = way.call(app, REQUEST_IN_VAULT, &["42", &inside, &json(&what), &handles[0]]);
    assert_eq!(way.call(keeper, TAKE, &[]), job);
    assert_eq!(way.call(keeper, OPEN, &[&job]), kept_in_it);
    way.call(keeper, ROTATED, &[&job, &rotated]);
    way.call(keeper, DELIVER, &[&job, &json(&result)]);
    assert_eq!(way.call(app, LOCK, &[&handles[0]]), "true");
    assert_eq!(way.call(app, LOCK, &[&handles[0]]), "false");
    assert_eq!(way.call(keeper, OPEN, &[&job]), "vault_locked");
    way.fails(keeper, "55000", ROTATED, &[&job, &refused]);
    way.call(keeper, FINISH, &[&job, "rejected", "credential_refused"]);
    assert!(way.call(app, RESULTS, &[&job]).contains(&result));
    assert_eq!(way.call(app, ACK, &[&job]), "true");
    assert_eq!(
        way.call(app, "SELECT auth.pv_cancel_request($1::text::bigint)::text", &[&left]),
        "true"
    );

    // Keys, users and the end of it.
    activate(&kept.site, &format!("{}{}", kept.keys, line("b", &fresh_key())), "b");
    kept.admin().batch_execute(ROTATE).unwrap();
    assert!(rename(&mut kept.admin(), "42", "44").0);
    kept.assert_sound();
    // It stays unlocked.
    let handle = way.call(app, UNLOCK, &["44", &vault2]);
    hunt.handle(&mut kept.admin(), &handle);
    while way.call(app, UNLOCK, &["44", &wrong]) == "invalid_credentials" {}
    assert_eq!(way.call(app, STORE, &["45", name, &secret, to]), "yes");
    assert_eq!(way.call(app, CREATE, &["45", &vault]), "yes");
    assert_eq!(way.call(app, STORE_IN_VAULT, &["45", &inside, &kept_in_it, to, &vault]), "yes");
    let sql = "SELECT auth.pv_forget_secret($1::text, $2)::text";
    assert_eq!(way.call(app, sql, &["45", name]), "true");
    assert_eq!(way.call(app, "SELECT auth.pv_delete_vault($1::text)::text", &["45"]), "true");
    assert_eq!(way.call(app, STORE, &["46", name, &secret, to]), "yes");
    assert!(manage(&mut kept.admin(), "pv_delete_user", "46"));
}

/// All that the statistics show, without what each session does just now.
fn statistics(kept: &KeptSite) -> String {
    let mut admin = kept.admin();
    admin.batch_execute("ANALYZE").unwrap();
    let sql = "SELECT relname::text FROM pg_class WHERE relkind IN ('v', 'r') AND relnamespace = 'pg_catalog'::regnamespace
                AND (relname LIKE 'pg\\_stat%' OR relname IN ('pg_locks', 'pg_cursors', 'pg_prepared_statements'))
                AND relname <> 'pg_stat_activity'";
    let views: Vec<String> = admin.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let own = ["password_verify.throttle", "auth.pv_stats", "auth.pv_events"].map(str::to_owned);
    let mut shown = String::new();
    for view in views.iter().chain(&own) {
        for message in admin.simple_query(&format!("SELECT * FROM {view}")).unwrap() {
            if let SimpleQueryMessage::Row(row) = message {
                (0..row.len()).for_each(|i| shown.push_str(row.get(i).unwrap_or_default()));
            }
        }
    }
    shown
}

/// Nothing of it is anywhere, and what nobody hides is found where it is looked for.
fn assert_nowhere(kept: &KeptSite, way: Way, hunt: &Hunt, name: &str) {
    let cluster = &kept.site.cluster;
    let shown = statistics(kept);
    assert!(shown.contains("secret_pkey") && shown.contains(name), "the statistics are read");
    assert_eq!(hunt.look(shown.as_bytes()), [""; 0], "statistics");
    let dump = run(cluster.command("pg_dump").arg(&kept.site.database)).stdout;
    let everything = run(&mut cluster.command("pg_dumpall")).stdout;
    let shown = Hunt::plain(name);
    for dump in [dump, everything] {
        assert_eq!(shown.look(&dump), [name], "the dump is read");
        assert_eq!(hunt.look(&dump), [""; 0], "dump");
    }
    kept.admin().batch_execute("CHECKPOINT").unwrap();
    // What each session does just now is there, too: the statement, without what is bound.
    let memory = hunt.look_in_memory(cluster.postmaster()).filter(|_| way == Way::Bound);
    match memory {
        Some(found) => {
            assert!(!shown.look_in_memory(cluster.postmaster()).unwrap().is_empty());
            assert_eq!(found, [""; 0], "shared memory");
        }
        None => println!("nobody looks into the memory of the server"),
    }
    cluster.down();
    for folder in ["base", "pg_wal"] {
        assert!(!shown.look_through(&cluster.data().join(folder)).is_empty(), "{folder} is read");
    }
    assert_eq!(hunt.look_through(&cluster.data()), [""; 0]);
    let log = cluster.log();
    let told: Vec<&str> =
        log.lines().filter(|line| !hunt.look(line.as_bytes()).is_empty()).collect();
    assert_eq!(told, [""; 0], "log");
}

/// An application that binds its arguments may have every statement logged, if not its parameters.
#[test]
fn what_is_bound_is_nowhere() {
    let logged =
        ["log_statement = all", "log_min_duration_statement = 0", "log_parameter_max_length = 0"];
    let kept = KeptSite::with(&[&KEEP[..], &logged].concat());
    let (mut hunt, way, name) = (Hunt::default(), Way::Bound, "a name that shows");
    live(&kept, way, &mut hunt, name);

    // Errors that are not ours: of the statement around the call, of a login that may not call it, of an argument before
    // the call.
    let cut_short = hunt.canary("a secret of a statement that failed");
    let args = ["42", name, &cut_short, DESTINATION];
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let around =
        STORE.replace("COALESCE(reason, 'yes')", "(1 / length(COALESCE(reason, '')))::text");
    way.fails(&mut app, "22012", &around, &args);
    way.fails(&mut keeper, "42501", STORE, &args);
    way.fails(&mut app, "22P02", STORE, &["42", name, &cut_short, "{"]);
    way.fails(&mut app, "42883", &STORE.replace("$3", "$3::text::bytea"), &args);
    app.batch_execute("BEGIN").unwrap();
    way.fails(&mut app, "22P02", STORE, &["42", name, &cut_short, "{"]);
    way.fails(&mut app, "25P02", STORE, &args);
    app.batch_execute("ROLLBACK").unwrap();
    drop((app, keeper));
    assert_nowhere(&kept, way, &hunt, name);

    // A server that has crashed says what was being done.
    kept.site.cluster.up();
    let mut app = kept.depositor();
    let doomed = pid(&mut app);
    app.batch_execute("BEGIN").unwrap();
    assert_eq!(way.call(&mut app, STORE, &args), "yes");
    crash_by(&kept.site.cluster, doomed);
    let log = kept.site.cluster.log();
    assert!(log.contains("Failed process was running: SELECT COALESCE"), "the log is read");
    assert_nowhere(&kept, way, &hunt, name);
}

/// One that does not, where statements are not logged: those that succeed, and those that end in an error of ours.
#[test]
fn literals_are_nowhere_where_statements_are_not_logged() {
    let kept = KeptSite::with(&KEEP);
    let (mut hunt, way, name) = (Hunt::default(), Way::Literals, "a name that shows");
    live(&kept, way, &mut hunt, name);
    let marker = canary();
    assert_eq!(
        sqlstate(kept.depositor().batch_execute(&format!("SELECT 1 / 0, '{marker}'"))),
        "22012"
    );
    assert!(kept.site.cluster.log().contains(&marker), "the log is read");
    assert_nowhere(&kept, way, &hunt, name);
}

#[test]
fn the_hunt_finds_what_there_is() {
    let (mut hunt, text) = (Hunt::default(), "0123456789abcdefQRSTUVWXYZ+-~*#!");
    hunt.add("it", text.as_bytes());
    let found = |bytes: &[u8]| hunt.look(bytes) == ["it"];
    for half in [&text[..16], &text[16..]] {
        assert!(found(format!("...{half}...").as_bytes()));
        for form in forms(half.as_bytes()) {
            assert!(found(&form) && found(&[b"..", &form[..]].concat()));
            assert!(!found(&form[1..]) && !found(&form[..form.len() - 1]));
        }
    }
    assert!(!found(b"0123456789abcde fQRSTUVWXYZ"));
    // The second in base64 after two other bytes, and in hexadecimal digits.
    assert!(found(b"Li5RUlNUVVZXWFlaKy1+KiMh"));
    assert!(found(b"\\x5152535455565758595a2b2d7e2a2321"));
}

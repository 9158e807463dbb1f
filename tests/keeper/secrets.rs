//! Secrets that are kept: stored, replaced, forgotten, moved with their user, dumped, sealed anew; and always opened
//! by a job only.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use password_verify_tests::calls::{manage, rename, validate};
use password_verify_tests::cluster::run;
use password_verify_tests::keeper::{
    DESTINATION, KeptSite, TABLES, VAULT, VAULT2, acknowledge, await_job, cancel, contents,
    create_vault, deliver, finish, forget, open, request, requests, results, rows, secrets, store,
    store_in_vault, take, try_open, try_request, try_take, unlock, work_once,
};
use password_verify_tests::keyring::{fresh_key, line, restart, sealed_server};
use password_verify_tests::roles::globals;
use password_verify_tests::rotation::{ROTATE, activate, left};
use password_verify_tests::trail::{of_user, settle};
use password_verify_tests::whole::assert_whole;
use password_verify_tests::{Answer, GOOD, Site, refused, sqlstate};

const SECRET: &str = "s3cret of the mailbox";
const NEWER: &str = "a newer one";

#[test]
fn a_secret_goes_in_and_a_job_opens_it() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", SECRET);
    store(&mut app, "42", "smtp", NEWER);
    assert_eq!(secrets(&mut app, "42"), ["imap new", "smtp new"]);
    assert_eq!(take(&mut keeper), None, "nothing is asked for");
    let number = request(&mut app, "42", "imap");
    assert!(number > 0);
    assert_eq!(requests(&mut app, "42"), [(number, "imap waiting".into(), 0)]);

    let taken = try_take(&mut keeper, "1 minute").unwrap().unwrap();
    assert_eq!((taken.job, &*taken.user, &*taken.name), (number, "42", "imap"));
    assert_eq!(taken.what, r#"{"mailbox": "INBOX"}"#);
    // As it was written in its canonical form: a host is lower case.
    assert!(taken.destination.contains(r#""host": "mail.example.org""#), "{}", taken.destination);
    assert_eq!(open(&mut keeper, number), Ok(SECRET.into()));
    assert_eq!(deliver(&mut keeper, number, r#"{"subject":"hi"}"#), 1);
    finish(&mut keeper, number, "done", "ok");
    assert_eq!(open(&mut keeper, number), Err("not_leased".into()));
    assert_eq!(secrets(&mut app, "42"), ["imap verified", "smtp new"]);
    assert_eq!(requests(&mut app, "42"), [(number, "imap ended done ok".into(), 1)]);
    assert_eq!(results(&mut app, number, 0), [(1, r#"{"subject": "hi"}"#.into())]);
    assert!(acknowledge(&mut app, number, 1));
    assert!(requests(&mut app, "42").is_empty());
    assert_eq!(rows(&mut kept.admin(), "result"), 0);
    kept.assert_sound();
    let told = of_user(&mut kept.admin(), "42");
    assert!(told.contains(&"open_secret valid".into()), "{told:?}");
    for action in ["store_secret", "request", "take_job", "deliver", "finish_job", "ack_results"] {
        assert!(told.contains(&format!("{action} committed")), "{action}: {told:?}");
    }
}

#[test]
fn a_secret_that_is_stored_again_is_another_one() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", SECRET);
    let first = request(&mut app, "42", "imap");
    let later = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(first));
    finish(&mut keeper, first, "rejected", "credential_refused");
    assert_eq!(secrets(&mut app, "42"), ["imap rejected credential_refused"]);
    store(&mut app, "42", "imap", NEWER);
    assert_eq!(secrets(&mut app, "42"), ["imap new"]);
    assert_eq!(rows(&mut kept.admin(), "secret"), 1);
    for _ in 0..2 {
        let (job, opened) = work_once(&mut keeper);
        assert!([first, later].contains(&job));
        assert_eq!(opened, Ok(NEWER.into()));
    }
    // While a lease is held, what it was given for is gone, and nothing is said of what came instead.
    let third = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(third));
    assert_eq!(open(&mut keeper, third), Ok(NEWER.into()));
    store(&mut app, "42", "imap", SECRET);
    assert_eq!(open(&mut keeper, third), Err("not_leased".into()));
    finish(&mut keeper, third, "rejected", "credential_refused");
    assert_eq!(secrets(&mut app, "42"), ["imap new"]);
    assert_eq!(work_once(&mut keeper), (third, Ok(SECRET.into())));
    assert_eq!(secrets(&mut app, "42"), ["imap verified"]);
    kept.assert_sound();
}

/// The handle was given for what is in the vault; a job goes on with what is put there instead, or says that it
/// cannot. It never says that somebody has tampered with it.
#[test]
fn a_secret_in_a_vault_that_is_stored_again_is_no_altered_one() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    store_in_vault(&mut app, "42", "imap", SECRET);
    let handle = unlock(&mut app, "42");
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    assert_eq!(take(&mut keeper), Some(job));
    store_in_vault(&mut app, "42", "imap", NEWER);
    assert_eq!(open(&mut keeper, job), Err("not_leased".into()));
    finish(&mut keeper, job, "done", "ok");
    assert_eq!(take(&mut keeper), Some(job), "what is kept by now has not been tried");
    let opened = try_open(&mut keeper, job).expect("no error");
    assert!([Ok(NEWER.to_owned()), Err("vault_locked".to_owned())].contains(&opened), "{opened:?}");
    // Out of the vault, the job needs no handle.
    store(&mut app, "42", "imap", "in no vault");
    assert_eq!(secrets(&mut app, "42"), ["imap new"]);
    finish(&mut keeper, job, "done", "ok");
    assert_eq!(work_once(&mut keeper), (job, Ok("in no vault".into())));
    let job = request(&mut app, "42", "imap");
    store_in_vault(&mut app, "42", "imap", SECRET);
    assert_eq!(take(&mut keeper), Some(job));
    assert_eq!(open(&mut keeper, job), Err("vault_locked".into()));
    kept.assert_sound();
}

#[test]
fn what_is_forgotten_goes_with_its_jobs_and_results() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    store(&mut app, "42", "imap", SECRET);
    store(&mut app, "42", "smtp", NEWER);
    let ended = request(&mut app, "42", "imap");
    assert_eq!(work_once(&mut keeper).0, ended);
    let leased = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(leased));
    deliver(&mut keeper, leased, "{}");
    let waiting = request(&mut app, "42", "imap");
    let other = request(&mut app, "42", "smtp");
    assert_eq!((rows(&mut admin, "job"), rows(&mut admin, "result")), (4, 2));

    assert!(forget(&mut app, "42", "imap"));
    assert!(!forget(&mut app, "42", "imap"));
    assert_eq!((rows(&mut admin, "job"), rows(&mut admin, "result")), (1, 0));
    assert_eq!(secrets(&mut app, "42"), ["smtp new"]);
    assert_eq!(open(&mut keeper, leased), Err("not_leased".into()));
    let (state, message, _) = refused(keeper.query("SELECT auth.pv_deliver($1, '{}')", &[&leased]));
    assert_eq!(state, "42704", "{message}");
    for job in [ended, leased, waiting] {
        assert!(results(&mut app, job, 0).is_empty());
        assert!(!acknowledge(&mut app, job, 9));
    }
    assert_eq!(take(&mut keeper), Some(other));
    assert_eq!(open(&mut keeper, other), Ok(NEWER.into()));
    // What is stored under its name later has nothing to do with it.
    store(&mut app, "42", "imap", NEWER);
    let late = keeper.query("SELECT auth.pv_finish_job($1, 'done')", &[&leased]);
    assert_eq!(sqlstate(late), "42704");
    assert_eq!(secrets(&mut app, "42"), ["imap new", "smtp new"]);
    kept.assert_sound();
}

/// Something of everything for a user: a secret with a job that is leased and has a result, one in a vault with a job
/// that may open it, and the handle.
fn furnish(kept: &KeptSite, user: &str) -> (i64, i64, String) {
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, user, "imap", SECRET);
    assert_eq!(create_vault(&mut app, user, VAULT), Answer::yes());
    store_in_vault(&mut app, user, "smtp", NEWER);
    let leased = request(&mut app, user, "imap");
    assert_eq!(take(&mut keeper), Some(leased));
    deliver(&mut keeper, leased, r#"{"a":1}"#);
    let handle = unlock(&mut app, user);
    let waiting = try_request(&mut app, user, "smtp", Some(&handle)).unwrap();
    (leased, waiting, handle)
}

#[test]
fn what_is_kept_moves_with_its_user() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    for (old, has_password) in [("with a password", true), ("without one", false)] {
        if has_password {
            kept.site.enroll(old, GOOD);
        }
        let new = &format!("{old}, renamed");
        let (leased, waiting, _) = furnish(&kept, old);
        assert_eq!(rename(&mut admin, old, new), Answer::yes(), "{old}");
        assert_eq!(secrets(&mut app, old), [""; 0]);
        assert_eq!(secrets(&mut app, new), ["imap new", "smtp vault new"]);
        if has_password {
            assert_eq!(validate(&mut kept.site.login(), new, GOOD), Answer::yes());
        }
        // The work goes on where it was.
        assert_eq!(open(&mut keeper, leased), Ok(SECRET.into()));
        assert_eq!(deliver(&mut keeper, leased, r#"{"b":2}"#), 2);
        finish(&mut keeper, leased, "done", "ok");
        assert_eq!(results(&mut app, leased, 0).len(), 2);
        let taken = try_take(&mut keeper, "1 minute").unwrap().unwrap();
        assert_eq!((taken.job, &taken.user), (waiting, new));
        // What is in the vault may have to be unlocked for the user of that name.
        let opened = open(&mut keeper, waiting);
        assert!([Ok(NEWER.into()), Err("vault_locked".into())].contains(&opened), "{opened:?}");
        finish(&mut keeper, waiting, "failed", "vault_locked");
        let handle = unlock(&mut app, new);
        let another = try_request(&mut app, new, "smtp", Some(&handle)).unwrap();
        assert_eq!(work_once(&mut keeper), (another, Ok(NEWER.into())));
        // Nothing is moved onto what is there.
        store(&mut app, old, "imap", "of somebody else");
        assert_eq!(rename(&mut admin, old, new), Answer::no("already_set"));
        assert_eq!(secrets(&mut app, old), ["imap new"]);
    }
    kept.assert_sound();
}

#[test]
fn of_a_user_who_is_deleted_nothing_stays() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    store(&mut app, "stays", "imap", SECRET);
    for (user, has_password) in [("with a password", true), ("without one", false)] {
        if has_password {
            kept.site.enroll(user, GOOD);
        }
        let (leased, waiting, handle) = furnish(&kept, user);
        assert!(manage(&mut admin, "pv_delete_user", user), "{user}");
        assert!(!manage(&mut admin, "pv_delete_user", user), "{user}");
        assert_eq!(TABLES.map(|table| rows(&mut admin, table)), [1, 0, 0, 1]);
        assert_eq!(take(&mut keeper), None);
        for job in [leased, waiting] {
            assert_eq!(open(&mut keeper, job), Err("not_leased".into()));
        }
        // A user of the same id is another one.
        assert_eq!(create_vault(&mut app, user, VAULT2), Answer::yes());
        store(&mut app, user, "imap", NEWER);
        assert_eq!(sqlstate(try_request(&mut app, user, "smtp", Some(&handle))), "42704");
        assert!(manage(&mut admin, "pv_delete_user", user));
    }
    assert_eq!(secrets(&mut app, "stays"), ["imap new"]);
    kept.assert_sound();
}

#[test]
fn a_dump_carries_what_is_kept_to_a_server_with_the_keyring() {
    let kept = KeptSite::shared();
    let (leased, waiting, handle) = furnish(&kept, "42");
    settle(&mut kept.admin());
    let file = kept.site.cluster.folder().join("dump.sql");
    run(kept.site.cluster.command("pg_dump").arg("-f").arg(&file).arg(&kept.site.database));
    let dump = std::fs::read_to_string(&file).unwrap();
    assert!(dump.contains("COPY password_verify.secret") && dump.contains("mail.example.org"));
    for hidden in [SECRET, NEWER, VAULT, &handle] {
        assert!(!dump.contains(hidden), "{hidden}");
    }

    let elsewhere = sealed_server(&kept.keys);
    let mut root = elsewhere.admin("postgres");
    root.batch_execute(&globals(&kept.site.cluster)).unwrap();
    root.batch_execute("CREATE DATABASE restored TEMPLATE template0").unwrap();
    let psql: &mut Command = &mut elsewhere.command("psql");
    run(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f"]).arg(&file));
    let site = Site { cluster: elsewhere, database: "restored".into(), app: kept.site.app.clone() };
    let there = KeptSite {
        site,
        keys: kept.keys.clone(),
        depositor: kept.depositor.clone(),
        connector: kept.connector.clone(),
    };
    let (mut app, mut keeper) = (there.depositor(), there.connector());
    assert_eq!(secrets(&mut app, "42"), ["imap new", "smtp vault new"]);
    assert_eq!(results(&mut app, leased, 0), [(1, r#"{"a": 1}"#.into())]);
    // A handle is good for one server, until it ends.
    assert_eq!(sqlstate(try_request(&mut app, "42", "smtp", Some(&handle))), "55000");
    assert_eq!(await_job(&mut keeper), waiting);
    assert_eq!(open(&mut keeper, waiting), Err("vault_locked".into()));
    finish(&mut keeper, waiting, "failed", "vault_locked");
    assert_eq!(open(&mut keeper, leased), Ok(SECRET.into()), "the lease is still held");
    finish(&mut keeper, leased, "done", "ok");
    let again = request(&mut app, "42", "imap");
    assert_eq!(work_once(&mut keeper), (again, Ok(SECRET.into())));
    let handle = unlock(&mut app, "42");
    let again = try_request(&mut app, "42", "smtp", Some(&handle)).unwrap();
    assert_eq!(work_once(&mut keeper), (again, Ok(NEWER.into())));
    there.assert_sound();
    kept.assert_sound();
}

#[test]
fn keys_rotate_and_the_old_one_can_go() {
    let kept = KeptSite::new();
    let (leased, waiting, handle) = furnish(&kept, "42");
    let (a, b) = (&kept.keys, line("b", &fresh_key()));
    activate(&kept.site, &format!("{a}{b}"), "b");
    let mut manager = kept.admin();
    assert!(left(&mut manager) > 0);
    manager.batch_execute(ROTATE).unwrap();
    assert_eq!(left(&mut manager), 0);
    // What is unlocked stays so, and what is asked for is what it was.
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(open(&mut keeper, leased), Ok(SECRET.into()));
    assert_eq!(take(&mut keeper), Some(waiting));
    assert_eq!(open(&mut keeper, waiting), Ok(NEWER.into()));
    let another = try_request(&mut app, "42", "smtp", Some(&handle)).unwrap();
    settle(&mut manager);
    drop((manager, app, keeper));
    restart(&kept.site.cluster, &b);

    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(results(&mut app, leased, 0), [(1, r#"{"a": 1}"#.into())]);
    assert_eq!(open(&mut keeper, leased), Ok(SECRET.into()));
    finish(&mut keeper, leased, "done", "ok");
    let again = request(&mut app, "42", "imap");
    assert_eq!(work_once(&mut keeper), (again, Ok(SECRET.into())));
    // Everything is locked after a restart.
    assert_eq!(open(&mut keeper, waiting), Err("vault_locked".into()));
    finish(&mut keeper, waiting, "failed", "vault_locked");
    assert!(cancel(&mut app, another));
    let handle = unlock(&mut app, "42");
    let again = try_request(&mut app, "42", "smtp", Some(&handle)).unwrap();
    assert_eq!(work_once(&mut keeper), (again, Ok(NEWER.into())));
    // The events of before are for whoever keeps the old key.
    settle(&mut kept.admin());
    assert_whole(&mut kept.admin());
}

#[test]
fn an_id_is_the_same_user_in_every_type() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for (one, other, text) in [
        ("7::bigint", "'7'::text", "7"),
        (
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::text",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
    ] {
        let mut yes =
            |sql: &str| app.query_one(&format!("SELECT {sql}"), &[]).unwrap().get::<_, bool>(0);
        assert!(yes(&format!(
            "success FROM auth.pv_store_secret({one}, 'imap', '{SECRET}', '{DESTINATION}')"
        )));
        assert!(yes(&format!("count(*) = 1 FROM auth.pv_secrets({other})")));
        assert!(yes(&format!("auth.pv_request({other}, 'imap', '{{}}') > 0")));
        assert!(yes(&format!("count(*) = 1 FROM auth.pv_requests({one})")));
        assert!(yes(&format!("success FROM auth.pv_create_vault({one}, '{VAULT}')")));
        assert!(yes(&format!(
            "handle LIKE 'pvh\\_%' FROM auth.pv_unlock_vault({other}, '{VAULT}')"
        )));
        assert!(yes(&format!(
            "success FROM auth.pv_change_vault_password({one}, '{VAULT}', '{VAULT2}')"
        )));
        assert!(yes(&format!("auth.pv_delete_vault({other})")));
        let taken = try_take(&mut keeper, "1 minute").unwrap().unwrap();
        assert_eq!(taken.user, text);
        assert!(yes(&format!("auth.pv_forget_secret({one}, 'imap')")));
        assert!(!yes(&format!("auth.pv_forget_secret({other}, 'imap')")));
    }
    kept.assert_sound();
}

#[test]
fn whatever_is_rolled_back_has_not_happened() {
    let kept = KeptSite::shared();
    let (leased, waiting, handle) = furnish(&kept, "42");
    let mut admin = kept.admin();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    finish(&mut keeper, leased, "done", "ok");
    let to = DESTINATION;
    let calls = [
        format!("success FROM auth.pv_store_secret('42'::text, 'new', 'x', '{to}')"),
        format!("success FROM auth.pv_store_secret('43'::text, 'new', 'x', '{to}')"),
        format!("success FROM auth.pv_store_secret('42'::text, 'imap', 'x', '{to}')"),
        "auth.pv_request('42'::text, 'imap', '{}') > 0".into(),
        format!("auth.pv_request('42'::text, 'smtp', '{{}}', NULL, NULL, '{handle}') > 0"),
        format!("success FROM auth.pv_store_secret('42'::text, 'imap', 'x', '{to}', '{VAULT}')"),
        format!("auth.pv_ack_results({leased}, 1)"),
        format!("auth.pv_cancel_request({waiting})"),
        format!("success FROM auth.pv_create_vault('43'::text, '{VAULT}')"),
        format!("success FROM auth.pv_change_vault_password('42'::text, '{VAULT}', '{VAULT2}')"),
        "auth.pv_forget_secret('42'::text, 'imap')".into(),
        "auth.pv_delete_vault('42'::text)".into(),
    ];
    let before = contents(&mut admin);
    for call in &calls {
        let mut ends = |begin: &str, end: &str| {
            app.batch_execute(begin).unwrap();
            let row = app.query_one(&format!("SELECT {call}"), &[]).unwrap();
            assert!(row.get::<_, bool>(0), "{call}");
            app.batch_execute(end).unwrap();
            assert_eq!(contents(&mut admin), before, "{begin}; {call}; {end}");
        };
        ends("BEGIN", "ROLLBACK");
        ends("BEGIN; SAVEPOINT s", "ROLLBACK TO s; COMMIT");
    }
    assert_eq!(secrets(&mut app, "42"), ["imap verified", "smtp vault new"]);
    // A vault that is about to be changed is locked at once, whatever becomes of the change.
    let again = unlock(&mut app, "42");
    for call in &calls {
        let call = call.replace(&handle, &again);
        app.batch_execute("BEGIN; SAVEPOINT s").unwrap();
        assert!(app.query_one(&format!("SELECT {call}"), &[]).unwrap().get::<_, bool>(0), "{call}");
        app.batch_execute("RELEASE s; COMMIT").unwrap();
        assert_ne!(contents(&mut admin), before, "{call}: it does something");
    }
    kept.assert_sound();
}

//! Kept secrets without their key, on servers that only read, and among rows of another database.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::validate;
use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::keeper::{
    DESTINATION, KeptSite, TABLES, VAULT, VAULT2, create_vault, deliver, open, request, rows,
    secrets, store, store_in_vault, take, try_open, try_request, try_store, try_take, try_unlock,
    unlock,
};
use password_verify_tests::keyring::{fresh_key, keyring, line, restart, setting};
use password_verify_tests::query::number;
use password_verify_tests::trail::{settle, wait_until};
use password_verify_tests::whole::problem;
use password_verify_tests::{Answer, Cluster, GOOD, refused, sqlstate};
use postgres::Client;

#[test]
fn a_key_that_is_lost_is_said_to_be_lost() {
    let kept = KeptSite::new();
    let mut app = kept.depositor();
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    store(&mut app, "42", "imap", "canary");
    store_in_vault(&mut app, "42", "smtp", "canary");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take(&mut kept.connector()), Some(job));
    settle(&mut kept.admin());
    drop(app);
    let other = line("b", &fresh_key());
    restart(&kept.site.cluster, &other);
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for call in [
        "pv_secrets('42'::text)".to_owned(),
        "pv_requests('42'::text)".into(),
        "pv_request('42'::text, 'imap', '{}')".into(),
        format!("pv_store_secret('42'::text, 'imap', 'x', '{DESTINATION}')"),
    ] {
        let (state, message, _) = refused(app.query(&format!("SELECT * FROM auth.{call}"), &[]));
        assert_eq!(state, "55000", "{call}: {message}");
        assert!(message.contains("key"), "{message}");
    }
    match try_open(&mut keeper, job) {
        Ok(opened) => assert_eq!(opened, Err("busy".into())),
        Err(error) => assert_eq!(error.code().unwrap().code(), "55000"),
    }
    drop((app, keeper));
    restart(&kept.site.cluster, &format!("{}{other}", kept.keys));
    let mut keeper = kept.connector();
    wait_until("it is there again", || {
        try_open(&mut keeper, job).is_ok_and(|opened| opened == Ok("canary".into()))
    });
    unlock(&mut kept.depositor(), "42");
}

#[test]
fn what_only_reads_changes_nothing() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    store(&mut app, "42", "imap", "canary");
    store(&mut app, "43", "imap", "canary");
    let (job, next) = (request(&mut app, "42", "imap"), request(&mut app, "43", "imap"));
    assert_eq!(take(&mut keeper), Some(job));
    deliver(&mut keeper, job, "{}");
    settle(&mut kept.admin());
    let standby = Cluster::empty();
    let mut copy = standby.command("pg_basebackup");
    copy.arg("-D")
        .arg(standby.data())
        .arg("-h")
        .arg(kept.site.cluster.folder())
        .args(["-R", "-c", "fast"]);
    run(&mut copy);
    let keys = keyring(&standby, "keys", &kept.keys, 0o600);
    standby.configure(
        &[PRELOADED, &[&setting(&keys), "password_verify.standby_validation = on"]].concat(),
    );
    standby.up();
    let there = |role: &str| standby.connect(role, &kept.site.database);
    let read_only = |mut client: Client| {
        client.batch_execute("SET default_transaction_read_only = on").unwrap();
        client
    };
    let depositors = [read_only(kept.depositor()), there(&kept.depositor)];
    let connectors = [read_only(kept.connector()), there(&kept.connector)];
    for mut app in depositors {
        for call in [
            format!("pv_store_secret('42'::text, 'n', 's', '{DESTINATION}')"),
            format!("pv_store_secret('42'::text, 'n', 's', '{DESTINATION}', '{VAULT}')"),
            "pv_forget_secret('42'::text, 'imap')".into(),
            "pv_request('42'::text, 'imap', '{}')".into(),
            format!("pv_cancel_request({job})"),
            format!("pv_ack_results({job}, 1)"),
            "pv_register_imap_account('42'::text, 'n', 'a.example', 993, 'l', 'x')".into(),
            "pv_request_mail('42'::text, 'imap')".into(),
            "pv_request_attachment('42'::text, 'imap', 'INBOX', 1, 1, '2')".into(),
            format!("pv_ack_mail({job}, 1)"),
            format!("pv_create_vault('44'::text, '{VAULT}')"),
            format!("pv_change_vault_password('42'::text, '{VAULT}', '{VAULT2}')"),
            "pv_delete_vault('42'::text)".into(),
            format!("pv_unlock_vault('42'::text, '{VAULT}')"),
        ] {
            assert_eq!(sqlstate(app.query(&format!("SELECT auth.{call}"), &[])), "25006", "{call}");
        }
        assert_eq!(secrets(&mut app, "42"), ["imap new"]);
        assert_eq!(app.query("SELECT auth.pv_requests('42'::text)", &[]).unwrap().len(), 1);
        for call in ["pv_results", "pv_read_mail", "pv_read_attachment"] {
            let sql = format!("SELECT auth.{call}($1)");
            assert_eq!(app.query(&sql, &[&job]).unwrap().len(), 1, "{call}");
        }
    }
    for mut keeper in connectors {
        for call in [
            "pv_take_job()",
            "pv_open_secret(JOB)",
            "pv_store_rotated(JOB, 'x')",
            "pv_deliver(JOB, '{}')",
            "pv_finish_job(JOB, 'done')",
        ] {
            let sql = format!("SELECT auth.{}", call.replace("JOB", &job.to_string()));
            assert_eq!(sqlstate(keeper.query(&sql, &[])), "25006", "{call}");
        }
    }
    assert_eq!(take(&mut keeper), Some(next));
    kept.assert_sound();
}

#[test]
fn rows_of_another_database_are_nobodys() {
    let kept = KeptSite::shared();
    let other = KeptSite::on(kept.site.cluster.clone(), &kept.keys);
    for (site, secret) in [(&kept, "canary of one"), (&other, "canary of the other")] {
        let mut app = site.depositor();
        assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
        store(&mut app, "42", "imap", secret);
    }
    let job = request(&mut kept.depositor(), "42", "imap");
    assert_eq!(take(&mut kept.connector()), Some(job));
    deliver(&mut kept.connector(), job, "\"canary\"");
    settle(&mut kept.admin());
    settle(&mut other.admin());
    for table in TABLES {
        let file = kept.site.cluster.folder().join(format!("{table}.copy"));
        let to = |site: &KeptSite, sql: &str| {
            let sql = format!("{sql} '{}'", file.display());
            run(site.site.cluster.command("psql").args([
                "-X",
                "-d",
                &site.site.database,
                "-c",
                &sql,
            ]));
        };
        to(&kept, &format!("\\copy password_verify.{table} TO"));
        to(&other, &format!("\\copy password_verify.{table} FROM"));
    }
    let (mut app, mut keeper) = (other.depositor(), other.connector());
    assert_eq!(take(&mut keeper), None);
    assert_eq!(sqlstate(try_open(&mut keeper, job)), "XX001");
    assert_eq!(sqlstate(app.query("SELECT auth.pv_results($1)", &[&job])), "XX001");
    // What is there of the user is where it belongs.
    assert_eq!(secrets(&mut app, "42"), ["imap new"]);
    assert!(try_unlock(&mut app, "42", VAULT, "1 minute").unwrap().is_ok());
    let own = try_request(&mut app, "42", "imap", None).unwrap();
    assert_eq!(try_take(&mut keeper, "1 minute").unwrap().unwrap().job, own);
    assert_eq!(open(&mut keeper, own), Ok("canary of the other".into()));
    assert_eq!(try_store(&mut app, "42", "imap", "anew", None).unwrap(), Answer::yes());
    assert!(TABLES.contains(&&*problem(&mut other.admin()).unwrap().0));
    kept.assert_sound();
}

/// Passwords and secrets in two servers, as README recommends: neither has what the other has.
#[test]
fn passwords_and_secrets_live_apart() {
    let (passwords, kept) = (KeptSite::new(), KeptSite::new());
    passwords.site.enroll("42", GOOD);
    store(&mut kept.depositor(), "42", "imap", "canary");
    // Whoever logs in on one server needs no password on the other.
    assert_eq!(validate(&mut passwords.site.login(), "42", GOOD), Answer::yes());
    let job = request(&mut kept.depositor(), "42", "imap");
    assert_eq!(take(&mut kept.connector()), Some(job));
    assert_eq!(open(&mut kept.connector(), job), Ok("canary".into()));
    assert_eq!(validate(&mut kept.site.login(), "42", GOOD), Answer::wrong());
    assert!(secrets(&mut passwords.depositor(), "42").is_empty());
    assert_eq!(open(&mut passwords.connector(), job), Err("not_leased".into()));
    for (of, count) in [(&passwords, 0), (&kept, 1)] {
        let mut admin = of.admin();
        assert_eq!(rows(&mut admin, "secret"), count);
        let sql = "SELECT count(*) FROM password_verify.credential WHERE user_id = '42'";
        assert_eq!(number(&mut admin, sql), 1 - count);
        of.assert_sound();
    }
}

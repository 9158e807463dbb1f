//! Rows of what is kept that somebody with the right to write the tables has changed or moved: an error, never a secret.
#![allow(clippy::unwrap_used)]

use password_verify_tests::Answer;
use password_verify_tests::keeper::{
    DESTINATION, KeptSite, VAULT, VAULT2, acknowledge, create_vault, deliver, finish, note, open,
    request, store, take,
};
use password_verify_tests::trail::settle;
use password_verify_tests::whole::problem;
use postgres::Client;

/// Exchanges a column of a table between two rows: those of users, or of jobs by what they are of.
fn exchange(table: &str, columns: &[&str]) -> String {
    let sets = columns.iter().map(|column| format!("{column} = o.{column}"));
    let sets = sets.collect::<Vec<_>>().join(", ");
    format!(
        "UPDATE password_verify.{table} t SET {sets} FROM password_verify.{table} o WHERE o.ctid <> t.ctid"
    )
}

const ALTERED: &str = "XX001";

/// What a call comes to in a transaction that has tampered with the tables, which is rolled back.
fn after(admin: &mut Client, tamper: &str, calls: &[String]) -> Vec<String> {
    admin.batch_execute("BEGIN").unwrap();
    admin.batch_execute(tamper).unwrap();
    let states = calls.iter().map(|call| {
        admin.batch_execute("SAVEPOINT s").unwrap();
        let result = admin.query(&format!("SELECT * FROM auth.{call}"), &[]);
        let state = match result {
            Ok(rows) => format!("{} rows of {call}", rows.len()),
            Err(error) => error.code().unwrap().code().to_owned(),
        };
        admin.batch_execute("ROLLBACK TO s").unwrap();
        state
    });
    let states = states.collect();
    admin.batch_execute("ROLLBACK").unwrap();
    states
}

#[test]
fn a_secret_whose_row_was_changed_or_moved_is_not_opened() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    for user in ["a", "b"] {
        let to = DESTINATION.replace("alice", user);
        let sql =
            "SELECT auth.pv_store_secret($1::text, 'imap', 'canary of ' || $1, $2::text::jsonb)";
        app.query(sql, &[&user, &to]).unwrap();
    }
    let columns = ["key", "id", "user_id", "destination", "data_key", "sealed", "stored_at"];
    let mut tampers: Vec<String> = Vec::new();
    for column in columns.iter().skip(1) {
        tampers.push(exchange("secret", &[column]));
        tampers.push(exchange("secret", &[column, "mac"]));
    }
    tampers.push(exchange("secret", &["data_key", "sealed"]));
    tampers.push(exchange("secret", &["id", "data_key", "sealed", "mac"]));
    tampers.push(exchange(
        "secret",
        &["id", "user_id", "destination", "data_key", "sealed", "stored_at", "mac"],
    ));
    for set in [
        "destination = replace(destination, 'mail.example.org', 'evil.example')",
        "destination = replace(destination, 'imaps', 'imap')",
        "destination = replace(destination, '993', '994')",
        "user_id = 'c'",
        "name = 'smtp'",
        "in_vault = true",
        "state = 'rejected'",
        "why = 'ok'",
        "opened_at = NULL",
        "stored_at = stored_at + interval '1 us'",
        "data_key = ''",
        "sealed = ''",
        "mac = ''",
        "mac = decode(repeat('00', 32), 'hex')",
    ] {
        tampers.push(format!("UPDATE password_verify.secret SET {set}"));
    }
    for tamper in &tampers {
        let jobs = ["a", "b"].map(|user| request(&mut app, user, "imap"));
        assert_eq!([take(&mut keeper), take(&mut keeper)], jobs.map(Some));
        let calls = jobs.map(|job| format!("pv_open_secret({job})"));
        assert_eq!(after(&mut admin, tamper, &calls), [ALTERED; 2], "{tamper}");
        let calls = [
            "pv_secrets('a'::text)".to_owned(),
            "pv_requests('a'::text)".to_owned(),
            "pv_request('a'::text, 'imap', '{}')".to_owned(),
            format!("pv_store_rotated({}, 'x')", jobs[0]),
            format!("pv_finish_job({}, 'done')", jobs[0]),
        ];
        for state in after(&mut admin, tamper, &calls) {
            assert_eq!(state, ALTERED, "{tamper}");
        }
        for job in jobs {
            assert!(open(&mut keeper, job).unwrap().starts_with("canary of "), "it was put back");
            finish(&mut keeper, job, "done", "ok");
            assert!(acknowledge(&mut app, job, 0));
        }
    }
    kept.assert_sound();
}

#[test]
fn a_job_whose_row_was_changed_opens_nothing_and_is_not_taken() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    for user in ["a", "b"] {
        store(&mut app, user, "imap", &format!("canary of {user}"));
    }
    let jobs = ["a", "b"].map(|user| request(&mut app, user, "imap"));
    for job in [take(&mut keeper), take(&mut keeper)].map(Option::unwrap) {
        note(&mut keeper, job, Some(&format!("{{\"of\":{job}}}")));
    }
    // As if their secrets had been stored anew meanwhile: they are due again at once.
    for (user, job) in ["a", "b"].into_iter().zip(jobs) {
        store(&mut app, user, "imap", &format!("canary of {user}"));
        finish(&mut keeper, job, "done", "ok");
    }
    let mut tampers = vec![
        exchange("job", &["secret"]),
        exchange("job", &["secret", "mac"]),
        exchange("job", &["what"]),
        exchange("job", &["progress"]),
        exchange("job", &["progress", "mac"]),
    ];
    for set in [
        "state = 'ended'",
        "leases = leases + 1",
        "attempts = 3",
        "progress = NULL",
        "progress = what",
        "next_seq = 9",
        "acked = 1",
        "until = now()",
        "every = 1",
        "outcome = 'done'",
        "due_at = now()",
        "created_at = now()",
        "mac = ''",
    ] {
        tampers.push(format!("UPDATE password_verify.job SET {set}"));
    }
    for tamper in &tampers {
        let none = after(&mut admin, tamper, &["pv_take_job()".to_owned()]);
        assert_eq!(none, ["0 rows of pv_take_job()"], "{tamper}");
    }
    // A lease that was given by hand, and one that was made longer.
    let lease = "UPDATE password_verify.job SET state = 'leased',
                    due = encode(int8send((1::bigint << 61) | (1::bigint << 60)) || substr(uuid_send(due), 9), 'hex')::uuid";
    tampers.push(lease.into());
    let calls = jobs.map(|job| format!("pv_open_secret({job})"));
    assert_eq!(after(&mut admin, lease, &calls), [ALTERED; 2]);
    assert_eq!([take(&mut keeper), take(&mut keeper)], jobs.map(Some));
    for tamper in &tampers {
        let mut calls = Vec::new();
        for job in jobs {
            calls.push(format!("pv_deliver({job}, '{{}}')"));
            calls.push(format!("pv_finish_job({job}, 'done')"));
            calls.push(format!("pv_cancel_request({job})"));
        }
        for state in after(&mut admin, tamper, &calls) {
            assert_eq!(state, ALTERED, "{tamper}");
        }
    }
    let calls = jobs.map(|job| format!("pv_open_secret({job})"));
    assert_eq!(after(&mut admin, &tampers[0], &calls), [ALTERED; 2]);
    jobs.iter().for_each(|job| assert!(open(&mut keeper, *job).unwrap().starts_with("canary of ")));
    kept.assert_sound();
}

#[test]
fn results_and_vaults_that_were_changed_or_moved_are_not_read() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    let jobs = ["a", "b"].map(|user| {
        assert_eq!(create_vault(&mut app, user, VAULT), Answer::yes());
        store(&mut app, user, "imap", "x");
        request(&mut app, user, "imap")
    });
    for job in jobs {
        assert_eq!(take(&mut keeper), Some(job));
        deliver(&mut keeper, job, &format!("\"canary of {job}\""));
    }
    let calls = jobs.map(|job| format!("pv_results({job})"));
    for tamper in [
        exchange("result", &["sealed"]),
        exchange("result", &["sealed", "mac"]),
        exchange("result", &["sealed", "delivered_at", "mac"]),
        "UPDATE password_verify.result SET delivered_at = now()".into(),
        "UPDATE password_verify.result SET mac = ''".into(),
    ] {
        assert_eq!(after(&mut admin, &tamper, &calls), [ALTERED; 2], "{tamper}");
    }
    let calls = [
        format!("pv_unlock_vault('a'::text, '{VAULT}')"),
        format!("pv_unlock_vault('b'::text, '{VAULT2}')"),
        format!("pv_change_vault_password('a'::text, '{VAULT}', '{VAULT2}')"),
        format!("pv_store_secret('a'::text, 'n', 'x', '{DESTINATION}', '{VAULT}')"),
        "pv_delete_vault('a'::text)".into(),
    ];
    for tamper in [
        exchange("vault", &["sealed"]),
        exchange("vault", &["sealed", "mac"]),
        exchange("vault", &["id"]),
        exchange("vault", &["user_id", "id", "sealed", "created_at", "changed_at", "mac"]),
        "UPDATE password_verify.vault SET changed_at = now()".into(),
        "UPDATE password_verify.vault SET mac = ''".into(),
    ] {
        for state in after(&mut admin, &tamper, &calls) {
            assert_eq!(state, ALTERED, "{tamper}");
        }
    }
    kept.assert_sound();
}

#[test]
fn one_row_that_was_changed_keeps_nobody_from_the_others() {
    let kept = KeptSite::new();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    for user in ["a", "b"] {
        store(&mut app, user, "imap", "x");
    }
    let jobs = ["a", "b"].map(|user| request(&mut app, user, "imap"));
    settle(&mut admin);
    admin
        .batch_execute("UPDATE password_verify.secret SET name = 'other' WHERE user_id = 'a'")
        .unwrap();
    assert_eq!(take(&mut keeper), Some(jobs[1]));
    assert_eq!(open(&mut keeper, jobs[1]), Ok("x".into()));
    assert_eq!(take(&mut keeper), None);
    assert_eq!(problem(&mut admin).unwrap().0, "secret");
    admin
        .batch_execute("UPDATE password_verify.secret SET name = 'imap' WHERE user_id = 'a'")
        .unwrap();
    // What could not be read was set aside for a while; the secret is there as before.
    let again = request(&mut app, "a", "imap");
    assert!([Some(again), Some(jobs[0])].contains(&take(&mut keeper)));
    // Whoever comes before or after it in the order of keys.
    let users = ["a", "b", "c", "d", "e"];
    for user in users {
        store(&mut app, user, "imap", "x");
        let job = request(&mut app, user, "imap");
        if let Some(taken) = take(&mut keeper) {
            deliver(&mut keeper, taken, "{}");
        }
        assert!(job > 0);
    }
    for user in users {
        for (table, whose) in [
            ("secret", format!("user_id <> '{user}'")),
            (
                "job",
                format!(
                    "secret <> (SELECT key FROM password_verify.secret WHERE user_id = '{user}')"
                ),
            ),
        ] {
            let tamper = format!("UPDATE password_verify.{table} SET mac = '' WHERE {whose}");
            let calls = [
                format!("pv_secrets('{user}'::text)"),
                format!("pv_requests('{user}'::text)"),
                format!("pv_request('{user}'::text, 'imap', '{{}}')"),
                format!("pv_store_secret('{user}'::text, 'smtp', 'x', '{DESTINATION}')"),
            ];
            for state in after(&mut admin, &tamper, &calls) {
                assert!(state.contains(" rows of "), "{user}, {table}: {state}");
            }
        }
    }
    kept.assert_sound();
}

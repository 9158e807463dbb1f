//! What is left of a password, of its hash, and of what the keeper keeps in the memory of a session.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use password_verify_tests::Answer;
use password_verify_tests::calls::{create, validate};
use password_verify_tests::hold::{ONE_SLOT, pid};
use password_verify_tests::keeper::{DESTINATION, KeptSite, create_vault, store, try_store};
use postgres::Client;

/// How often these bytes are in the memory of a process that is its alone and can be written. `None`
/// where the system lets nobody look.
fn in_memory(pid: i32, needle: &[u8]) -> Option<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        memory.read_exact_at(&mut bytes, start).unwrap();
        let begins = |at: &usize| bytes[*at] == needle[0] && bytes[*at..].starts_with(needle);
        found += (0..bytes.len()).filter(begins).count();
    }
    Some(found)
}

/// The session may be idle for a long time, and then dump core.
#[test]
fn no_tag_stays_in_memory_and_no_copy_of_the_password_that_is_ours() {
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    let canary = "canary 5f1e velvet anvil monsoon";
    let mut admin = site.admin();
    // PostgreSQL's own copies of the arguments: those of any function that is called like ours.
    let like_ours = "CREATE FUNCTION auth.like_ours(text, text, OUT boolean) AS 'texteq'
                         LANGUAGE internal VOLATILE SECURITY DEFINER SET search_path = pg_catalog";
    admin.batch_execute(like_ours).unwrap();
    let copies = |call: &dyn Fn(&mut Client)| -> Option<[usize; 4]> {
        let mut app = site.login();
        app.batch_execute("SET application_name = 'somewhere in here'").unwrap();
        call(&mut app);
        // Over what was received last.
        app.query("SELECT length($1::text)", &[&"x".repeat(9000)]).unwrap();
        let pid = pid(&mut app);
        assert_ne!(in_memory(pid, b"somewhere in here")?, 0, "the search finds something");
        let sql = "SELECT split_part(verifier, '$', 6) FROM password_verify.credential
                    WHERE user_id = '42'";
        let row = site.admin().query_opt(sql, &[]).unwrap();
        let text: String = row.map_or("-".repeat(43), |row| row.get(0));
        let sql = "SELECT decode(translate($1, '-', 'x') || '=', 'base64')";
        let tag: Vec<u8> = site.admin().query_one(sql, &[&text]).unwrap().get(0);
        Some([
            in_memory(pid, canary.as_bytes())?,
            in_memory(pid, &tag[..8])?,
            in_memory(pid, &tag[24..])?,
            in_memory(pid, text.as_bytes())?,
        ])
    };
    let theirs = copies(&|app| {
        app.query("SELECT * FROM auth.like_ours($1::text, $2)", &[&"42", &canary]).unwrap();
    });
    let Some([theirs, ..]) = theirs else {
        return println!("nobody may look into the memory of a process here");
    };
    // The row that was written is on the heap of PostgreSQL, as on its page; its bytes are nowhere.
    let created = copies(&|app| assert_eq!(create(app, "42", canary), Answer::yes())).unwrap();
    assert_eq!(created[1..3], [0, 0], "{created:?}");
    let wrong = format!("{canary}.");
    let calls: [&dyn Fn(&mut Client); 2] =
        [&|app| assert_eq!(validate(app, "42", canary), Answer::yes()), &|app| {
            assert_eq!(validate(app, "42", &wrong), Answer::no("invalid_credentials"))
        }];
    for call in calls {
        let [password, tag @ ..] = copies(call).unwrap();
        assert!(password <= theirs, "{password} copies, of which {theirs} are not ours");
        assert_eq!(tag, [0, 0, 0]);
    }
}

/// A secret that was stored, and a vault password that was set or tested: no more copies than after a
/// function of PostgreSQL's own that is called like ours.
#[test]
fn no_copy_of_a_kept_secret_or_a_vault_password_that_is_ours_stays_in_memory() {
    let kept = KeptSite::new();
    // Long enough that what is freed is not soon used again.
    let canary: String = (0..25).map(|i| format!("canary{:02x}-", i * 7 + 3)).collect();
    let canary = canary.as_str();
    let like_ours =
        "CREATE FUNCTION auth.like_ours(text, text, text, jsonb, text, OUT boolean) AS 'texteq'
                         LANGUAGE internal VOLATILE SECURITY DEFINER SET search_path = pg_catalog;
                     CREATE FUNCTION auth.like_ours(text, text, OUT boolean) AS 'texteq'
                         LANGUAGE internal VOLATILE SECURITY DEFINER SET search_path = pg_catalog";
    kept.admin().batch_execute(like_ours).unwrap();
    let copies = |call: &dyn Fn(&mut Client)| {
        let mut app = kept.depositor();
        call(&mut app);
        // Over what was received last.
        app.query("SELECT length($1::text)", &[&"x".repeat(9000)]).unwrap();
        let pid = pid(&mut app);
        // The end, over which no allocator writes. Values of PostgreSQL's own, which have a header, do
        // not count: chance decides how many of them are overwritten.
        let header = (u32::try_from(canary.len()).unwrap() + 4) << 2;
        let value = [&header.to_le_bytes(), canary.as_bytes()].concat();
        let [all, values] = [in_memory(pid, &canary.as_bytes()[16..])?, in_memory(pid, &value)?];
        assert!(all > 0, "the search finds something");
        Some(all - values)
    };
    let storing = |app: &mut Client, secret: &str, vault: &str| {
        let sql = "SELECT * FROM auth.like_ours($1::text, $2, $3, $4::text::jsonb, $5)";
        app.query(sql, &[&"42", &"mail", &secret, &DESTINATION, &vault]).unwrap();
    };
    let naming = "SELECT * FROM auth.like_ours($1::text, $2)";
    let unlock = "SELECT handle FROM auth.pv_unlock_vault($1::text, $2)";
    type Call<'a> = &'a dyn Fn(&mut Client);
    // What PostgreSQL leaves, and what is left after ours.
    let pairs: [(Call<'_>, Call<'_>); 4] = [
        (&|app| storing(app, canary, "-"), &|app| store(app, "42", "mail", canary)),
        (&|app| drop(app.query(naming, &[&"42", &canary]).unwrap()), &|app| {
            assert_eq!(create_vault(app, "42", canary), Answer::yes());
        }),
        (&|app| drop(app.query(naming, &[&"42", &canary]).unwrap()), &|app| {
            let handle: Option<String> = app.query_one(unlock, &[&"42", &canary]).unwrap().get(0);
            assert!(handle.is_some());
        }),
        (&|app| storing(app, "hunter2", canary), &|app| {
            let stored = try_store(app, "42", "mail", "hunter2", Some(canary)).unwrap();
            assert_eq!(stored, Answer::yes());
        }),
    ];
    for (number, (theirs, ours)) in pairs.into_iter().enumerate() {
        let Some(theirs) = copies(theirs) else {
            return println!("nobody may look into the memory of a process here");
        };
        let seen = copies(ours).unwrap();
        assert!(seen <= theirs, "call {number}: {seen} copies, of which {theirs} are not ours");
    }
}

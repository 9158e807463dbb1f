//! What is left of a password and its hash in the memory of a session.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use password_verify_tests::Answer;
use password_verify_tests::calls::{create, validate};
use password_verify_tests::hold::{ONE_SLOT, pid};
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

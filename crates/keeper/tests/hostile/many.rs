//! A mailbox of 100,000 mails, and more of them than one round reads.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use password_verify_tests::keeper::{acknowledge, results};
use password_verify_tests::mail::hostile::{Hostile, Manner, Shelf};
use postgres::Client;

use super::room::Room;

const MAILS: u32 = 100_000;
/// The most that one round reads.
const ROUND: usize = 10_000;

fn mail(uid: u32) -> Vec<u8> {
    format!("Subject: {uid}\r\n\r\nx\r\n").into_bytes()
}

/// The numbers of the mails that have come since the last time, and that none has come twice.
fn take(app: &mut Client, request: i64, known: &mut BTreeSet<i64>) {
    let sql = "SELECT seq, uid, subject FROM auth.pv_read_mail($1)";
    loop {
        let rows = app.query(sql, &[&request]).unwrap();
        let Some(last) = rows.last().map(|row| row.get::<_, i64>(0)) else { return };
        for row in rows {
            let (uid, subject): (i64, String) = (row.get(1), row.get(2));
            assert_eq!(subject, uid.to_string());
            assert!(known.insert(uid), "{uid} came twice");
        }
        acknowledge(app, request, last);
    }
}

#[test]
fn many_mails_are_read_once_each_round_for_round() {
    let room = Room::patient();
    let shelf = Shelf { count: MAILS, mail, said: None };
    let manner = Manner { shelf, ..Manner::good(&room.certificates.good) };
    let server = Hostile::start(manner);
    let mut app = room.kept.depositor();
    let many = room.mailbox(&server, "many");
    let first = many.register(&mut app);
    assert_eq!(room.await_end(&mut app, &many, first), "done ok");

    let rounds = format!("max_mails => {ROUND}, every => '1 minute', until => now() + '1 hour'");
    let request = many.request_with(&mut app, &rounds);
    let (mut known, start) = (BTreeSet::new(), Instant::now());
    for round in 1..=2 {
        while known.len() < round * ROUND {
            assert!(start.elapsed() < Duration::from_secs(170), "{} mails", known.len());
            sleep(Duration::from_millis(100));
            take(&mut app, request, &mut known);
        }
        // The one that verified it, and one for each round.
        assert_eq!(server.logins(), 1 + round);
        println!("round {round}: {:?} after the request", start.elapsed());
    }
    assert!(results(&mut app, request, 0).is_empty());
    assert!(known.into_iter().eq(1..=2 * ROUND as i64));
    println!("many: {MAILS} mails | {} rounds, a minute each", MAILS as usize / ROUND);
    room.close();
}

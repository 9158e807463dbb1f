//! Messages a second, with an application that reads and acknowledges.

use std::thread::sleep;
use std::time::Duration;

use password_verify_tests::mail::messages::of_size;
use postgres::Client;

use crate::machine::Meter;
use crate::say;
use crate::stage::{Stage, names};

const MAILBOXES: usize = 100;
const EACH: usize = 100;
const SIZES: [usize; 2] = [3_000, 30_000];

pub fn print() {
    let users = |size: usize| names(&format!("user{size}x"), MAILBOXES);
    let all: Vec<String> = SIZES.into_iter().flat_map(users).collect();
    let stage = Stage::new();
    say("mail arrives");
    for size in SIZES {
        for user in users(size) {
            for number in 0..EACH {
                stage.deliver(&user, &of_size(&format!("mail {number}"), size));
            }
        }
    }
    let port = stage.dovecot.imaps_port();
    stage.register(&all, "localhost", port);
    let keeper = stage.keeper().start();
    // All passwords are tried.
    stage.await_all_over();
    println!("## Messages\n");
    println!(
        "{MAILBOXES} mailboxes with {EACH} messages each are read at once, as text, with the usual settings: four\n\
         connections to one server. The application reads and acknowledges meanwhile. The time ends when it has the last.\n"
    );
    println!(
        "| message | messages a second | processor, ms a message: keeper | Dovecot | PostgreSQL |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for size in SIZES {
        say(&format!("messages of {size} bytes"));
        let mut app = stage.kept.depositor();
        let meter = Meter::start(&keeper, &stage.dovecot, &stage.kept.site.cluster);
        let requests = stage.request(&mut app, &users(size), "parts => 'text'");
        consume(&mut app, requests);
        let (took, used) = meter.stop();
        let count = MAILBOXES * EACH;
        let rate = count as f64 / took.as_secs_f64();
        println!("| {} kB | {rate:.0} | {} |", size / 1000, used.each(count));
    }
    println!();
    stage.kept.assert_sound();
}

/// Reads and acknowledges until every request has brought all.
fn consume(app: &mut Client, requests: Vec<i64>) {
    let read = app.prepare("SELECT seq FROM auth.pv_read_mail($1, $2)").unwrap();
    let acknowledge = app.prepare("SELECT auth.pv_ack_mail($1, $2)").unwrap();
    // The number, the last result, and how many mails.
    let mut open: Vec<(i64, i64, usize)> = requests.into_iter().map(|it| (it, 0, 0)).collect();
    while !open.is_empty() {
        let mut is_new = false;
        for (request, last, count) in &mut open {
            let rows = app.query(&read, &[request, last]).unwrap();
            let Some(seq) = rows.iter().map(|row| row.get::<_, i64>(0)).max() else { continue };
            is_new = true;
            *last = seq;
            *count += rows.len();
            app.query(&acknowledge, &[request, last]).unwrap();
        }
        open.retain(|(_, _, count)| *count < EACH);
        if !is_new {
            sleep(Duration::from_millis(50));
        }
    }
}

//! A job has its time. When that is over, what was read counts, and nobody is blamed for it.
#![allow(clippy::unwrap_used)]

use std::thread::sleep;
use std::time::{Duration, Instant};

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::{Fault, Faults, messages};
use password_verify_tests::mail_app::{Mailbox, fetch};
use password_verify_tests::office::Office;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

#[test]
fn a_job_whose_time_is_over_goes_on_where_it_was() {
    let office = Office::on(KeptSite::shared());
    let network = Faults::before(office.dovecot.imaps_port());
    let keeper = office.setup(KEEPER).connect("job_timeout = 5").start();
    let mut app = office.kept.depositor();
    let ann = Mailbox { port: network.port(), ..office.ann.clone() };
    let verify = ann.register(&mut app);
    ann.await_end(&mut app, verify, "ended done ok");
    // Ten seconds and more.
    for number in 0..100 {
        office.dovecot.deliver("ann", &messages::of_size(&format!("mail {number}"), 50_000));
    }
    network.set(Fault::Slow(400_000));
    let before = network.accepted();
    let request = ann.request(&mut app);
    ann.await_end(&mut app, request, "waiting retry timeout");
    assert_eq!(network.accepted() - before, 1, "no other connection in vain");
    assert_eq!(keeper.metric("pv_keeper_routes_resting"), 0.0);
    let some = fetch(&mut app, request);
    assert!(!some.is_empty() && some.len() < 100, "{}", some.len());
    // The rest comes when it is tried again, which a request of its own cannot hasten.
    network.set(Fault::None);
    let mut all = some;
    let start = Instant::now();
    while all.len() < 100 && start.elapsed() < Duration::from_secs(120) {
        all.extend(fetch(&mut app, request));
        sleep(Duration::from_millis(100));
    }
    let expected: Vec<String> = (0..100).map(|number| format!("mail {number}")).collect();
    assert_eq!(all, expected);
}

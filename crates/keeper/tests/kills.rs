//! The keeper, PostgreSQL and the mail server are killed at random moments under load: no mail is lost, and none comes
//! twice. `PV_KILLS` says how often each is killed; `make test-keeper-long` says fifty times.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::{Certificates, Dovecot, messages};
use password_verify_tests::mail_app::{Mailbox, try_read};
use password_verify_tests::pv_keeper::{PvKeeper, Setup};

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");
const PASSWORD: &str = "velvet-anvil-under";
const MAILBOXES: usize = 20;
/// After the last kill everything comes in the next rounds but one or two.
const PATIENCE: Duration = Duration::from_secs(600);

/// What an application has read: how often each subject, and the last number of each request.
type Seen = BTreeMap<(usize, String), u32>;

struct Stage {
    kept: KeptSite,
    dovecot: Dovecot,
    keepers: [PvKeeper; 2],
    mailboxes: Vec<Mailbox>,
    delivered: AtomicU64,
    over: AtomicBool,
    _certificates: Certificates,
}

fn stage() -> Stage {
    let (kept, certificates) = (KeptSite::new(), Certificates::new());
    let users: Vec<String> = (0..MAILBOXES).map(|number| format!("user{number}")).collect();
    let pairs: Vec<(&str, &str)> = users.iter().map(|user| (user.as_str(), PASSWORD)).collect();
    let dovecot = Dovecot::start(&certificates, &pairs);
    let keeper = || {
        let setup = Setup::new(KEEPER, &kept, &certificates);
        // What was leased by a keeper that was killed comes again after 24 seconds.
        setup.database("timeout = 2").connect("job_timeout = 10").connect("per_host = 20").start()
    };
    let keepers = [keeper(), keeper()];
    let port = dovecot.imaps_port();
    let mailbox = |user: &String| Mailbox::new(&certificates, port, user, PASSWORD);
    let mailboxes = users.iter().map(mailbox).collect();
    let (delivered, over) = (AtomicU64::new(0), AtomicBool::new(false));
    Stage { kept, dovecot, keepers, mailboxes, delivered, over, _certificates: certificates }
}

#[test]
fn no_mail_is_lost_and_none_comes_twice() {
    let kills: usize = env::var("PV_KILLS").map_or(3, |text| text.parse().unwrap());
    let stage = stage();
    let mut app = stage.kept.depositor();
    let rounds = "every => '1 minute', until => now() + '3 hours', max_mails => 100";
    let requests: Vec<i64> = stage
        .mailboxes
        .iter()
        .map(|mailbox| {
            mailbox.register(&mut app);
            mailbox.request_with(&mut app, rounds)
        })
        .collect();
    let seen = scope(|scope| {
        scope.spawn(|| deliver(&stage));
        let reader = scope.spawn(|| consume(&stage, &requests));
        let over = Over(&stage.over);
        for part in (0..kills).flat_map(|_| 0..3) {
            sleep(moment(200..=1500));
            kill(&stage, part);
        }
        drop(over);
        reader.join().unwrap()
    });
    let delivered = stage.delivered.load(Ordering::SeqCst);
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    let lost = delivered - seen.len() as u64;
    println!(
        "kills: {kills} of each part | {delivered} mails | {lost} lost | {} doubled",
        twice.len()
    );
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(lost, 0);
    for keeper in &stage.keepers {
        assert!(!keeper.log().contains("panic"), "{}", keeper.log());
    }
    stage.kept.assert_sound();
}

/// However the killing ends, the others end, too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Mail arrives for all, one after the other, as long as somebody is killed.
fn deliver(stage: &Stage) {
    while !stage.over.load(Ordering::SeqCst) {
        let number = stage.delivered.load(Ordering::SeqCst);
        let user = &stage.mailboxes[number as usize % MAILBOXES].user;
        stage.dovecot.deliver(user, &messages::of_size(&format!("mail {number}"), 3000));
        stage.delivered.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(20));
    }
}

fn kill(stage: &Stage, part: usize) {
    match part {
        0 => {
            let keeper = &stage.keepers[random_below(2) as usize];
            keeper.kill();
            sleep(moment(0..=500));
            keeper.restart();
        }
        1 => {
            stage.kept.site.cluster.kill_postmaster();
            sleep(moment(0..=500));
            stage.kept.site.cluster.up();
        }
        _ => {
            stage.dovecot.kill();
            sleep(moment(0..=500));
            stage.dovecot.restart();
        }
    }
}

/// Reads and acknowledges, and remembers the last number of each request, as the documentation says.
fn consume(stage: &Stage, requests: &[i64]) -> Seen {
    let (mut seen, mut last) = (Seen::new(), vec![0; requests.len()]);
    let mut begun = None;
    loop {
        let over = stage.over.load(Ordering::SeqCst);
        if over {
            let begun = *begun.get_or_insert_with(Instant::now);
            let all = seen.len() as u64 == stage.delivered.load(Ordering::SeqCst);
            if all || begun.elapsed() > PATIENCE {
                return seen;
            }
        }
        let cluster = &stage.kept.site.cluster;
        let app = cluster.try_connect(&stage.kept.depositor, &stage.kept.site.database);
        let Ok(mut app) = app else { continue };
        for (number, request) in requests.iter().enumerate() {
            let Ok(mails) = try_read(&mut app, *request) else { break };
            let new = mails.into_iter().filter(|mail| mail.seq > last[number]).collect::<Vec<_>>();
            for mail in &new {
                let subject = mail.subject.clone().unwrap();
                *seen.entry((number, subject)).or_default() += 1;
            }
            last[number] = new.iter().map(|mail| mail.seq).max().unwrap_or(last[number]);
            let _ = try_acknowledge(&mut app, *request, last[number]);
        }
        sleep(Duration::from_millis(100));
    }
}

fn try_acknowledge(
    app: &mut postgres::Client,
    request: i64,
    up_to: i64,
) -> Result<(), postgres::Error> {
    app.query("SELECT auth.pv_ack_results($1, $2)", &[&request, &up_to]).map(drop)
}

fn moment(milliseconds: RangeInclusive<u64>) -> Duration {
    let (first, last) = (*milliseconds.start(), *milliseconds.end());
    Duration::from_millis(first + random_below(last - first + 1))
}

/// What the hash tables of the standard library start from, which is another each time.
fn random_below(end: u64) -> u64 {
    RandomState::new().hash_one(()) % end
}

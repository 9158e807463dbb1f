//! Clients who write down what they were told, and whether all of it is on record.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Error};

use crate::calls::{CREATE, SET, VALIDATE, ask, create};
use crate::crowd::AtEnd;
use crate::query::number;
use crate::trail::{assert_intact, epochs, settle};
use crate::{Answer, Cluster, GOOD, OTHER, Site, WRONG};

/// Some number below `end` for that round: moments that nobody has chosen.
pub fn chance(round: usize, end: u64) -> u64 {
    static OF_THIS_RUN: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    OF_THIS_RUN.hash_one(round) % end
}

/// After how many answers disaster strikes. Two rounds together always make 59: how much a test of many rounds
/// sees is no chance.
fn moment(round: usize) -> usize {
    let some = chance(round / 2, 60) as usize;
    if round.is_multiple_of(2) { some } else { 59 - some }
}

/// What clients asked for, and were told. Every user id is used once.
#[derive(Default)]
pub struct Told {
    pub asked: Vec<String>,
    /// The event that there must be.
    pub answered: BTreeMap<String, &'static str>,
}

impl Told {
    /// And what these were told.
    pub fn add(&mut self, other: Self) {
        self.asked.extend(other.asked);
        self.answered.extend(other.answered);
    }
}

/// One client until it is cut off, or `stop`.
pub fn client(site: &Site, name: &str, stop: &AtomicBool, answers: &AtomicUsize) -> Told {
    let mut told = Told::default();
    let Ok(mut session) = site.cluster.try_connect("all_kinds", &site.database) else {
        return told;
    };
    let long = "x".repeat(4097);
    for i in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let user = format!("{name}-{i}");
        told.asked.push(user.clone());
        let Ok(event) = one_call(&mut session, i, &user, &long) else { break };
        told.answered.insert(user, event);
        answers.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// The event that the answer stands for.
fn one_call(session: &mut Client, i: usize, user: &str, long: &str) -> Result<&'static str, Error> {
    let change = "SELECT * FROM auth.pv_change_password($1::text, $2, $2)";
    let wrong = Answer::wrong();
    Ok(match i % 8 {
        0 | 4 => {
            assert_eq!(ask(session, VALIDATE, &[&user, &long])?, wrong);
            "validate invalid_credentials"
        }
        1 | 5 => {
            assert_eq!(ask(session, CREATE, &[&user, &"short"])?, Answer::no("too_short"));
            "create too_short"
        }
        2 => {
            assert_eq!(ask(session, VALIDATE, &[&user, &WRONG])?, wrong);
            "validate invalid_credentials"
        }
        3 => {
            assert_eq!(ask(session, SET, &[&user, &GOOD])?, Answer::yes());
            "set committed"
        }
        6 => {
            assert_eq!(ask(session, change, &[&user, &OTHER])?, wrong);
            "prove invalid_credentials"
        }
        _ => {
            let commit = i % 16 < 8;
            let mut open = session.transaction()?;
            let mut inner = open.transaction()?;
            assert!(inner.query_one(CREATE, &[&user, &GOOD])?.get::<_, bool>(0));
            if commit {
                inner.commit()?;
                open.commit()?;
                "create committed"
            } else {
                inner.rollback()?;
                open.commit()?;
                "create rolled_back"
            }
        }
    })
}

/// Who may do everything that clients do, and is not told that the server is busy: a worker that begins, or
/// takes turns, takes its time on a busy machine.
pub fn with_clients(cluster: Arc<Cluster>) -> Site {
    let site = Site::on(cluster);
    site.configure(&["queue_timeout = '30s'", "audit_timeout = '30s'"]);
    let mut admin = site.admin();
    admin
        .batch_execute(
            "DO $$ BEGIN CREATE ROLE all_kinds LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             GRANT USAGE ON SCHEMA auth TO all_kinds",
        )
        .unwrap();
    for kind in ["verifier", "enroller", "registrar"] {
        admin.execute("SELECT auth.pv_grant('all_kinds', $1)", &[&kind]).unwrap();
    }
    site
}

/// Several clients until `disaster`, which happens right after some answer, has cut them off.
pub fn load(site: &Site, round: usize, clients: usize, disaster: impl FnOnce()) -> Told {
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut told = Told::default();
    thread::scope(|scope| {
        let _end = AtEnd(&stop);
        let threads: Vec<_> = (0..clients)
            .map(|i| {
                let (stop, answers) = (&stop, &answers);
                scope.spawn(move || client(site, &format!("{round}-{i}"), stop, answers))
            })
            .collect();
        let moment = moment(round);
        let start = Instant::now();
        while answers.load(Ordering::Relaxed) < moment {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody is answered");
            std::hint::spin_loop();
        }
        disaster();
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| told.add(thread.join().unwrap()));
    });
    told
}

/// Every answer has its event, every event is of somebody who asked, and what was changed is what the
/// events say. `all`: nothing that was answered may be lost.
pub fn assert_on_record(site: &Site, told: &Told, all: bool) {
    let mut admin = site.admin();
    // A worker completes what the last one has left.
    let poke = format!("poke {}", told.asked.first().map_or("", String::as_str));
    create(&mut admin, &poke, "short");
    settle(&mut admin);
    let sql = "SELECT e.user_id, e.action || ' ' || e.outcome, e.count,
                      EXISTS (SELECT FROM password_verify.credential c WHERE c.user_id = e.user_id)
                 FROM auth.pv_events e WHERE e.user_id = ANY ($1)";
    let mut found: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for row in admin.query(sql, &[&told.asked]).unwrap() {
        let (user, event): (String, String) = (row.get(0), row.get(1));
        assert_eq!(row.get::<_, i64>(2), 1, "{user}");
        let exists: bool = row.get(3);
        assert_eq!(exists, event.ends_with(" committed"), "{user}: {event}");
        let twice = found.insert(user.clone(), (event, exists));
        assert!(twice.is_none(), "{user} is there twice");
    }
    for (user, event) in &told.answered {
        match found.get(user) {
            Some((found, _)) => assert_eq!(found, event, "{user}"),
            None => assert!(!all, "{user} was answered, and there is no event: {event}"),
        }
    }
    // Nobody has a password that is on record nowhere.
    let sql = "SELECT count(*) FROM password_verify.credential c WHERE c.user_id = ANY ($1)";
    let credentials: i64 = admin.query_one(sql, &[&told.asked]).unwrap().get(0);
    let committed = found.values().filter(|(_, exists)| *exists).count();
    assert_eq!(credentials, committed as i64);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM password_verify.open_change"), 0);
    assert_intact(&mut admin);
    epochs(&mut admin);
}

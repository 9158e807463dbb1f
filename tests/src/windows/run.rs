//! Ways through a room, and then a look at everything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::room::Room;
use super::seen::{look_at_statements, look_at_views, sample};
use super::stage::{Canary, Stage};
use super::way::Way;
use crate::crowd::AtEnd;

/// What was looked for, and how often `pg_stat_activity` was looked at.
pub struct Ran {
    pub canaries: Vec<Canary>,
    pub samples: usize,
}

/// Goes these ways one after the other. Somebody looks at `pg_stat_activity` all the time.
pub fn run(room: &Room, ways: &[Way]) -> Ran {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(room, &stop));
        // The sampler ends also where a way fails.
        let _stop = AtEnd(&stop);
        let canaries = go(room, ways);
        stop.store(true, Ordering::Relaxed);
        Ran { canaries, samples: sampler.join().unwrap() }
    })
}

/// The same without a sampler.
pub fn go(room: &Room, ways: &[Way]) -> Vec<Canary> {
    let (mut canaries, mut wrong) = (Vec::new(), Vec::new());
    for way in ways {
        let mut stage = Stage::new(room, &way.name);
        (way.act)(&mut stage);
        let (more, errors) = stage.end();
        canaries.extend(more);
        wrong.extend(errors);
    }
    assert!(wrong.is_empty(), "{} went another way:\n{}", wrong.len(), wrong.join("\n"));
    look_at_statements(room);
    look_at_views(room);
    canaries
}

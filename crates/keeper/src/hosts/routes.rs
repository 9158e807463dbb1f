//! What is known of a route: does it answer, and for how long is it left alone?

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::job::Destination;
use crate::lock::lock;
use crate::trouble::Trouble;

/// Failures in a row after which a route is left alone.
pub(super) const FAILURES: u32 = 5;
/// For how long, at first and at most.
pub(super) const FIRST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// Routes that are remembered.
const REMEMBERED: usize = 10_000;

/// A way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    pub host: String,
    pub port: u16,
    /// Protocol and certificates.
    pub rest: String,
}

/// All of them.
pub(super) struct Routes {
    /// By a digest with a key of this process: a route may have certificates of many kilobytes.
    known: Mutex<HashMap<u64, Arc<Mutex<State>>>>,
    key: RandomState,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Its last answer was one.
    pub(super) proven: bool,
    failures: u32,
    rests_until: Option<Instant>,
}

impl Route {
    /// The way to a mail server.
    pub fn of(to: &Destination) -> Self {
        let ca = to.ca.as_deref().unwrap_or_default();
        let rest = format!("{:?} {ca}", to.protocol);
        Self { host: to.host.clone(), port: to.port, rest }
    }
}

impl Routes {
    pub(super) fn new() -> Self {
        Self { known: Mutex::default(), key: RandomState::new() }
    }

    /// What is known of that one.
    pub(super) fn of(&self, route: &Route) -> Arc<Mutex<State>> {
        let digest = self.key.hash_one(route);
        let mut known = lock(&self.known);
        if known.len() >= REMEMBERED && !known.contains_key(&digest) {
            let is_in_use = |it: &Arc<Mutex<State>>| Arc::strong_count(it) > 1;
            let is_resting = |it: &Arc<Mutex<State>>| lock(it).seen().is_err();
            known.retain(|_, it| is_in_use(it) || is_resting(it) || lock(it).proven);
            // A route that answers is forgotten only if there is nothing else to forget.
            if known.len() >= REMEMBERED {
                known.retain(|_, it| is_in_use(it) || is_resting(it));
            }
        }
        Arc::clone(known.entry(digest).or_default())
    }

    /// How many are left alone at present.
    pub(super) fn resting(&self) -> usize {
        lock(&self.known).values().filter(|route| lock(route).seen().is_err()).count()
    }
}

impl State {
    /// Does it answer, and did it fail before?
    pub(super) fn seen(&mut self) -> Result<(bool, bool), Trouble> {
        match self.rests_until {
            Some(until) if Instant::now() < until => Err(Trouble::Unavailable),
            Some(_) => {
                self.rests_until = None;
                Ok((false, true))
            }
            None => Ok((self.proven, self.failures > 0)),
        }
    }

    /// The server has greeted.
    pub(super) fn connected(&mut self) {
        self.failures = 0;
        self.rests_until = None;
    }

    pub(super) fn failed(&mut self) {
        self.proven = false;
        self.failures = self.failures.saturating_add(1);
        if let Some(times) = self.failures.checked_sub(FAILURES) {
            let rest = FIRST_REST.saturating_mul(1 << times.min(10)).min(LONGEST_REST);
            // Not all keepers at the same moment.
            self.rests_until =
                Some(Instant::now() + rest.mul_f64(rand::rng().random_range(0.75..1.25)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(number: usize) -> Route {
        Route { host: format!("host{number}"), port: 993, rest: String::new() }
    }

    #[test]
    fn a_route_that_answers_is_remembered_longer_than_others() {
        let routes = Routes::new();
        let proven = || lock(&routes.of(&route(0))).proven;
        lock(&routes.of(&route(0))).proven = true;
        for number in 1..3 * REMEMBERED {
            routes.of(&route(number));
        }
        assert!(proven());
        assert!(lock(&routes.known).len() <= REMEMBERED);
        for number in 1..3 * REMEMBERED {
            lock(&routes.of(&route(number))).proven = true;
        }
        assert!(lock(&routes.known).len() <= REMEMBERED);
        assert!(!proven());
    }

    #[test]
    fn routes_differ_in_every_part() {
        let routes = Routes::new();
        let one = route(1);
        for other in [
            Route { host: "host2".into(), ..one.clone() },
            Route { port: 143, ..one.clone() },
            Route { rest: "certificates".into(), ..one.clone() },
        ] {
            assert!(!Arc::ptr_eq(&routes.of(&one), &routes.of(&other)), "{other:?}");
        }
        assert!(Arc::ptr_eq(&routes.of(&one), &routes.of(&one)));
    }
}

//! Who connects when: so many at once in all and to one host, none on a route that has failed again and again, and no
//! more than half of all on routes that have not shown yet that they answer.
//!
//! So a hundred slow servers hold up each other, and not a quick one. A route is a host with all else that whoever stores
//! a secret may choose, such as port and certificates: whoever chooses wrong ones spoils nobody else's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::job::Destination;
use crate::trouble::Trouble;

/// Failures in a row after which a route is left alone.
const FAILURES: u32 = 5;
/// For how long, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// Hosts and routes that are remembered.
const REMEMBERED: usize = 10_000;
/// How many wait for a host of which nothing is known yet, and for one that has failed. Others are told to come later, so
/// that they do not take the places of those who wait for other hosts.
const WAITING: usize = 100;
const WAITING_AFTER_FAILURE: usize = 8;
/// The longest wait for one's turn.
pub const TURN: Duration = Duration::from_secs(90);

/// All hosts.
pub struct Hosts {
    known: Mutex<HashMap<String, Arc<Host>>>,
    routes: Mutex<HashMap<Route, Arc<Mutex<State>>>>,
    per_host: usize,
    proven: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
}

/// One of them.
struct Host {
    /// For a route that answers.
    many: Arc<Semaphore>,
    /// For one that has yet to.
    one: Arc<Semaphore>,
    /// How many wait for that.
    waiting: AtomicUsize,
}

/// A way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    pub host: String,
    pub port: u16,
    /// Protocol and certificates.
    pub rest: String,
}

#[derive(Debug, Default)]
struct State {
    /// Its last answer was one.
    proven: bool,
    failures: u32,
    rests_until: Option<Instant>,
}

/// The right to connect once; ends with [`Pass::back`], or by being dropped.
pub struct Pass {
    route: Arc<Mutex<State>>,
    connected: bool,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Route {
    /// The way to a mail server.
    pub fn of(to: &Destination) -> Self {
        let ca = to.ca.as_deref().unwrap_or_default();
        let rest = format!("{:?} {ca}", to.protocol);
        Self { host: to.host.clone(), port: to.port, rest }
    }
}

impl Hosts {
    /// `at_once`: connections in all; `per_host`: to one.
    pub fn new(at_once: usize, per_host: usize) -> Self {
        let unproven = (at_once / 2).max(1);
        Self {
            known: Mutex::default(),
            routes: Mutex::default(),
            per_host,
            proven: Arc::new(Semaphore::new((at_once - at_once / 2).max(1))),
            unproven: Arc::new(Semaphore::new(unproven)),
        }
    }

    /// Waits for one's turn.
    ///
    /// # Errors
    /// [`Trouble::Unavailable`] if the route is left alone for a while, [`Trouble::Limited`] after [`TURN`] or if too many
    /// wait already.
    pub async fn enter(&self, route: Route) -> Result<Pass, Trouble> {
        timeout(TURN, self.wait(route)).await.unwrap_or(Err(Trouble::Limited))
    }

    async fn wait(&self, route: Route) -> Result<Pass, Trouble> {
        let (host, route) = (self.host(&route.host), self.route(route));
        loop {
            let (proven, failed) = lock(&route).seen()?;
            let (of_host, of_all) =
                if proven { (&host.many, &self.proven) } else { (&host.one, &self.unproven) };
            let (of_host, of_all) = (Arc::clone(of_host), Arc::clone(of_all));
            let most = if failed { WAITING_AFTER_FAILURE } else { WAITING };
            let _waits = if proven { None } else { Some(Waits::at(&host, most)?) };
            // Never closed.
            let first = of_host.acquire_owned().await.map_err(|_| Trouble::Internal)?;
            let second = of_all.acquire_owned().await.map_err(|_| Trouble::Internal)?;
            // What others have found out meanwhile.
            if lock(&route).seen()? == (proven, failed) {
                return Ok(Pass { route, connected: false, _permits: [first, second] });
            }
        }
    }

    /// How many routes are left alone at present.
    pub fn resting(&self) -> usize {
        lock(&self.routes).values().filter(|route| lock(route).seen().is_err()).count()
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut known = lock(&self.known);
        if known.len() >= REMEMBERED && !known.contains_key(name) {
            known.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let host = known.entry(name.to_owned()).or_insert_with(|| {
            let (many, one) =
                (Arc::new(Semaphore::new(self.per_host)), Arc::new(Semaphore::new(1)));
            Arc::new(Host { many, one, waiting: AtomicUsize::new(0) })
        });
        Arc::clone(host)
    }

    fn route(&self, route: Route) -> Arc<Mutex<State>> {
        let mut routes = lock(&self.routes);
        if routes.len() >= REMEMBERED && !routes.contains_key(&route) {
            routes.retain(|_, it| Arc::strong_count(it) > 1 || lock(it).seen().is_err());
        }
        Arc::clone(routes.entry(route).or_default())
    }
}

/// One of those who wait for a host that has yet to answer.
struct Waits<'a>(&'a Host);

impl<'a> Waits<'a> {
    fn at(host: &'a Host, most: usize) -> Result<Self, Trouble> {
        let waits = Self(host);
        let before = host.waiting.fetch_add(1, Ordering::Relaxed);
        if before < most { Ok(waits) } else { Err(Trouble::Limited) }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// Does it answer, and did it fail before?
    fn seen(&mut self) -> Result<(bool, bool), Trouble> {
        match self.rests_until {
            Some(until) if Instant::now() < until => Err(Trouble::Unavailable),
            Some(_) => {
                self.rests_until = None;
                Ok((false, true))
            }
            None => Ok((self.proven, self.failures > 0)),
        }
    }

    fn failed(&mut self) {
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

impl Pass {
    /// The server has greeted. What happens now may be the user's doing, and keeps nobody else away.
    pub fn connected(&mut self) {
        self.connected = true;
        let mut state = lock(&self.route);
        state.failures = 0;
        state.rests_until = None;
    }

    /// What came of it.
    pub fn back(self, trouble: Option<Trouble>) {
        let mut state = lock(&self.route);
        match trouble {
            Some(why) if why.is_of_the_host() && !self.connected => state.failed(),
            Some(why) if why.is_of_the_host() => state.proven = false,
            _ if self.connected => state.proven = true,
            _ => {}
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SOON: Duration = Duration::from_millis(10);

    fn route(name: &str) -> Route {
        Route { host: name.into(), port: 993, rest: String::new() }
    }

    async fn enters(hosts: &Hosts, name: &str) -> Option<Pass> {
        timeout(SOON, hosts.enter(route(name))).await.ok().and_then(Result::ok)
    }

    async fn answers(hosts: &Hosts, name: &str) {
        let mut pass = enters(hosts, name).await.unwrap();
        pass.connected();
        pass.back(None);
    }

    async fn fails(hosts: &Hosts, name: &str) {
        enters(hosts, name).await.unwrap().back(Some(Trouble::Timeout));
    }

    async fn is_left_alone(hosts: &Hosts, route: Route) -> bool {
        hosts.enter(route).await.err() == Some(Trouble::Unavailable)
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_answers_has_more_than_one_that_has_yet_to() {
        let hosts = Hosts::new(10, 3);
        let mut first = enters(&hosts, "a").await.unwrap();
        assert!(enters(&hosts, "a").await.is_none());
        first.connected();
        first.back(None);
        let passes =
            [enters(&hosts, "a").await, enters(&hosts, "a").await, enters(&hosts, "a").await];
        assert!(passes.iter().all(Option::is_some));
        assert!(enters(&hosts, "a").await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let hosts = Hosts::new(10, 3);
        let _held = enters(&hosts, "a").await.unwrap();
        assert_eq!(hosts.enter(route("a")).await.err(), Some(Trouble::Limited));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_for_a_host_that_has_yet_to_answer_is_told_to_come_later() {
        let hosts = Arc::new(Hosts::new(10, 3));
        let _held = enters(&hosts, "a").await.unwrap();
        for _ in 0..WAITING {
            let hosts = Arc::clone(&hosts);
            tokio::spawn(async move { hosts.enter(route("a")).await.is_ok() });
        }
        // Only so many have begun to wait when the next one comes.
        tokio::time::sleep(SOON).await;
        let late = timeout(SOON, hosts.enter(route("a"))).await;
        assert_eq!(late.map(|it| it.err()), Ok(Some(Trouble::Limited)));
        // Those who have waited in vain are not counted any more.
        tokio::time::sleep(TURN).await;
        assert!(timeout(SOON, hosts.enter(route("a"))).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_hosts_that_do_not_answer_keep_none_that_does_from_it() {
        let hosts = Hosts::new(10, 3);
        answers(&hosts, "quick").await;
        let mut held = Vec::new();
        for number in 0..100 {
            held.extend(enters(&hosts, &format!("slow{number}")).await);
        }
        assert_eq!(held.len(), 5);
        assert!(enters(&hosts, "quick").await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_after_the_greeting_has_to_prove_itself_again() {
        let hosts = Hosts::new(10, 3);
        answers(&hosts, "a").await;
        for _ in 0..2 * FAILURES {
            let mut pass = enters(&hosts, "a").await.unwrap();
            pass.connected();
            pass.back(Some(Trouble::Timeout));
        }
        let _one = enters(&hosts, "a").await.unwrap();
        assert!(enters(&hosts, "a").await.is_none());
        assert_eq!(hosts.resting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_fails_again_and_again_is_left_alone_for_longer_and_longer() {
        let hosts = Hosts::new(10, 3);
        for _ in 0..FAILURES {
            fails(&hosts, "a").await;
        }
        assert!(is_left_alone(&hosts, route("a")).await);
        assert_eq!(hosts.resting(), 1);
        assert!(enters(&hosts, "b").await.is_some());
        advance(FIRST_REST.mul_f64(1.25)).await;
        fails(&hosts, "a").await;
        advance(FIRST_REST.mul_f64(1.25)).await;
        assert!(is_left_alone(&hosts, route("a")).await);
        advance(FIRST_REST.mul_f64(1.25)).await;
        // A refusal is an answer.
        let mut pass = enters(&hosts, "a").await.unwrap();
        pass.connected();
        pass.back(Some(Trouble::Refused));
        for _ in 0..FAILURES - 1 {
            fails(&hosts, "a").await;
        }
        assert!(enters(&hosts, "a").await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_port_or_certificate_spoils_the_host_for_nobody_else() {
        let hosts = Hosts::new(10, 3);
        for wrong in [Route { port: 443, ..route("a") }, Route { rest: "x".into(), ..route("a") }] {
            for _ in 0..FAILURES {
                hosts.enter(wrong.clone()).await.ok().unwrap().back(Some(Trouble::Tls));
            }
            assert!(is_left_alone(&hosts, wrong).await);
        }
        assert!(enters(&hosts, "a").await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_that_the_host_has_failed() {
        let hosts = Arc::new(Hosts::new(10, 1));
        for _ in 0..FAILURES - 1 {
            fails(&hosts, "a").await;
        }
        let last = enters(&hosts, "a").await.unwrap();
        let waits = Arc::clone(&hosts);
        let waits = tokio::spawn(async move { waits.enter(route("a")).await.err() });
        tokio::time::sleep(SOON).await;
        last.back(Some(Trouble::Timeout));
        assert_eq!(waits.await.unwrap(), Some(Trouble::Unavailable));
    }
}

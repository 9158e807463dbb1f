//! Who connects when: so many at once in all and to one host, none on a route that has failed again and again, and no
//! more than half of all on routes that have not shown yet that they answer.
//!
//! So a hundred slow servers hold up each other, and not a quick one. A route is a host with all else that whoever stores
//! a secret may choose, such as port and certificates: whoever chooses wrong ones spoils nobody else's.
//!
//! | module | |
//! | --- | --- |
//! | here | whose turn it is |
//! | [`routes`] | what is known of a route |

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::lock::lock;
use crate::trouble::Trouble;
pub use routes::Route;
use routes::{Routes, State};

mod routes;

/// Hosts that are remembered.
const REMEMBERED: usize = 10_000;
/// How many wait for a host that answers, for one of which nothing is known yet, and for one that has failed. Others are
/// told to come later, so that they do not take the places of those who wait for other hosts.
const WAITING_PROVEN: usize = 500;
const WAITING: usize = 100;
const WAITING_AFTER_FAILURE: usize = 8;
/// How many wait for all hosts that have yet to answer: a quarter of the jobs at once, so that places are left for jobs at
/// hosts that answer.
const WAITING_IN_ALL: usize = 500;
/// The longest wait for one's turn.
pub const TURN: Duration = Duration::from_secs(90);

/// All hosts.
pub struct Hosts {
    known: Mutex<HashMap<String, Arc<Host>>>,
    routes: Routes,
    per_host: usize,
    proven: Queue,
    unproven: Queue,
}

/// One of them.
struct Host {
    /// For a route that answers.
    many: Queue,
    /// For one that has yet to.
    one: Queue,
}

/// Places, and how many wait for one.
struct Queue {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The right to connect once; ends with [`Pass::back`], or by being dropped.
pub struct Pass {
    route: Arc<Mutex<State>>,
    /// The server has greeted.
    connected: bool,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Hosts {
    /// `at_once`: connections in all; `per_host`: to one.
    pub fn new(at_once: usize, per_host: usize) -> Self {
        Self {
            known: Mutex::default(),
            routes: Routes::new(),
            per_host,
            proven: Queue::new((at_once - at_once / 2).max(1)),
            unproven: Queue::new((at_once / 2).max(1)),
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
        let (host, route) = (self.host(&route.host), self.routes.of(&route));
        loop {
            let (proven, failed) = lock(&route).seen()?;
            let (at_host, in_all) = match (proven, failed) {
                (true, _) => ((&host.many, WAITING_PROVEN), (&self.proven, usize::MAX)),
                (false, false) => ((&host.one, WAITING), (&self.unproven, WAITING_IN_ALL)),
                (false, true) => {
                    ((&host.one, WAITING_AFTER_FAILURE), (&self.unproven, WAITING_IN_ALL))
                }
            };
            let _waits = [Waits::at(at_host)?, Waits::at(in_all)?];
            let (of_host, of_all) = (Arc::clone(&at_host.0.places), Arc::clone(&in_all.0.places));
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
        self.routes.resting()
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut known = lock(&self.known);
        if known.len() >= REMEMBERED && !known.contains_key(name) {
            known.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let host = known.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Host { many: Queue::new(self.per_host), one: Queue::new(1) })
        });
        Arc::clone(host)
    }
}

impl Queue {
    fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0) }
    }
}

/// One of those who wait.
struct Waits<'a>(&'a Queue);

impl<'a> Waits<'a> {
    fn at((queue, most): (&'a Queue, usize)) -> Result<Self, Trouble> {
        let waits = Self(queue);
        let before = queue.waiting.fetch_add(1, Ordering::Relaxed);
        if before < most { Ok(waits) } else { Err(Trouble::Limited) }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pass {
    /// The server has greeted. What happens now may be the user's doing, and keeps nobody else away.
    pub fn connected(&mut self) {
        self.connected = true;
        lock(&self.route).connected();
    }

    /// What came of it.
    pub fn back(self, trouble: Option<Trouble>) {
        let mut state = lock(&self.route);
        match trouble {
            Some(why) if why.is_of_the_host() && !self.connected => state.failed(),
            Some(why) if why.is_of_the_host() => state.proven = false,
            _ => state.proven |= self.connected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::routes::{FAILURES, FIRST_REST};
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
    async fn a_crowd_for_a_host_that_answers_leaves_places_as_well() {
        let hosts = Arc::new(Hosts::new(10, 3));
        answers(&hosts, "a").await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.extend(enters(&hosts, "a").await);
        }
        for _ in 0..WAITING_PROVEN {
            let hosts = Arc::clone(&hosts);
            tokio::spawn(async move { hosts.enter(route("a")).await.is_ok() });
        }
        tokio::time::sleep(SOON).await;
        let late = timeout(SOON, hosts.enter(route("a"))).await;
        assert_eq!(late.map(|it| it.err()), Ok(Some(Trouble::Limited)));
        answers(&hosts, "b").await;
        // A wrong port at the same host has a queue of its own.
        let wrong = Route { port: 443, ..route("a") };
        assert!(timeout(SOON, hosts.enter(wrong)).await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn crowds_for_many_hosts_that_have_yet_to_answer_leave_places() {
        let hosts = Arc::new(Hosts::new(10, 3));
        for number in 0..2 * WAITING_IN_ALL {
            let hosts = Arc::clone(&hosts);
            let host = format!("slow{}", number % 50);
            tokio::spawn(async move {
                // Holds its place for ever if it gets one.
                let _pass = hosts.enter(route(&host)).await;
                std::future::pending::<()>().await;
            });
        }
        tokio::time::sleep(SOON).await;
        let late = timeout(SOON, hosts.enter(route("another"))).await;
        assert_eq!(late.map(|it| it.err()), Ok(Some(Trouble::Limited)));
        tokio::time::sleep(TURN).await;
        assert!(timeout(SOON, hosts.enter(route("another"))).await.is_err());
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

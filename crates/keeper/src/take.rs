//! Takes jobs, as long as nobody says stop.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::RngExt;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::database::Stop;
use crate::work::Work;

/// Jobs at once, most of which wait for their turn at a host.
const JOBS: u32 = 2000;
/// How long nobody asks for jobs that are due by now, if nothing wakes the keeper.
const PAUSE: Duration = Duration::from_secs(5);
/// The shortest time between two calls that find nothing and were asked for by notifications, of which anybody may send as
/// many as they like; and from a call that has found nothing to the next that is made because a job has ended.
const BREATH: Duration = Duration::from_millis(100);
/// The longest that one round takes, with everything late.
const LONGEST_ROUND: Duration = Duration::from_secs(200);

/// What whoever takes jobs hears.
pub struct Taking {
    /// What jobs need now. A reload sends another one.
    pub work: watch::Receiver<Arc<Work>>,
    pub stop: watch::Receiver<bool>,
    /// Jobs have to end.
    pub cut: watch::Receiver<bool>,
    pub wake: Arc<Notify>,
    pub pulse: Arc<Pulse>,
}

/// When the loop last went round, for the watchdog.
pub struct Pulse {
    begun: Instant,
    last: AtomicU64,
}

impl Pulse {
    pub fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0) }
    }

    fn beat(&self) {
        self.last.store(self.begun.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// Does the loop still go round?
    fn is_alive(&self) -> bool {
        let last = Duration::from_secs(self.last.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(last) < LONGEST_ROUND
    }
}

impl Taking {
    /// Takes jobs until it is to stop. Returns those that are not over.
    pub async fn run(mut self) -> JoinSet<()> {
        let places = Arc::new(Semaphore::new(JOBS as usize));
        let mut jobs = JoinSet::new();
        let mut wait = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut heard = Instant::now();
        while !*self.stop.borrow() {
            self.pulse.beat();
            while jobs.try_join_next().is_some() {}
            let free = timeout(PAUSE, Arc::clone(&places).acquire_owned()).await;
            let Ok(Ok(place)) = free else { continue };
            let work = Arc::clone(&self.work.borrow());
            // Never cut off: a job that is leased and not begun waits for the end of its lease.
            let taken = work.database.take(work.lease).await;
            work.metrics.database_up.set(i64::from(taken.is_ok()));
            match taken {
                Ok(found) => {
                    wait.reset();
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    work.metrics.last_take.set(now.as_secs());
                    match found {
                        Some(job) => {
                            let cut = self.cut.clone();
                            work.metrics.running.inc();
                            jobs.spawn(async move {
                                work.run(job, cut).await;
                                work.metrics.running.dec();
                                drop(place);
                            });
                        }
                        None => {
                            work.metrics.resting.set(work.imap.ways.hosts.resting() as i64);
                            let pause = PAUSE.mul_f64(rand::rng().random_range(0.5..=1.0));
                            let asked = Instant::now();
                            tokio::select! {
                                () = sleep(pause) => {}
                                () = told(&self.wake, heard + BREATH) => heard = Instant::now(),
                                () = ended(&mut jobs, asked + BREATH) => {}
                                _ = self.stop.wait_for(|stop| *stop) => {}
                            }
                        }
                    }
                }
                Err(why) => {
                    let mut stop = self.stop.clone();
                    tokio::select! {
                        () = async {
                            mend(&work, why).await;
                            sleep(wait.next()).await;
                        } => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                }
            }
        }
        jobs
    }
}

async fn told(wake: &Notify, not_before: Instant) {
    wake.notified().await;
    sleep_until(not_before).await;
}

/// One of them has ended, and another one may have waited for the same secret.
async fn ended(jobs: &mut JoinSet<()>, not_before: Instant) {
    match jobs.join_next().await {
        Some(_) => sleep_until(not_before).await,
        None => pending().await,
    }
}

/// Looks again for the extension and the right to use it.
async fn mend(work: &Work, why: Stop) {
    match work.database.meet().await {
        Ok(()) => tracing::info!("the database is there"),
        Err(what) => tracing::warn!(?why, what, "the database gives no jobs"),
    }
}

/// Pings the service manager as long as the loop goes round and the runtime has time for it.
pub async fn watchdog(pulse: Arc<Pulse>, every: Duration) {
    loop {
        if pulse.is_alive() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
        sleep(every / 3).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_service_manager_does_not_hear_of_a_loop_that_stands() {
        let pulse = Pulse::new();
        assert!(pulse.is_alive());
        advance(LONGEST_ROUND).await;
        assert!(!pulse.is_alive());
        pulse.beat();
        assert!(pulse.is_alive());
    }
}

//! From the start to the end of the keeper: signals, reload, stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::database::Database;
use crate::hosts::Hosts;
use crate::imap::Imap;
use crate::listen::listen;
use crate::logs::Log;
use crate::metrics::{self, Metrics};
use crate::net::dial::Dialer;
use crate::net::tls::Trust;
use crate::settings::{Fault, LONGEST_RENEWAL, Settings};
use crate::take::{Pulse, Taking, watchdog};
use crate::ways::{RENEWALS, Ways};
use crate::work::Work;

/// How long jobs may go on when the keeper is to stop.
const GRACE: Duration = Duration::from_secs(20);
/// How long it waits then for tokens that are just being renewed, and for the ends of jobs to be recorded.
const RENEWED: Duration = Duration::from_secs(100);
const RECORDED: Duration = Duration::from_secs(70);

/// What stays the same over reloads.
struct Keeper<'a> {
    path: &'a Path,
    log: &'a Log,
    metrics: Arc<Metrics>,
    renewals: Arc<Semaphore>,
}

/// Checks everything that can be checked without a job.
///
/// # Errors
/// What is wrong.
pub async fn check(settings: &Settings) -> Result<(), Fault> {
    let work = work(settings, &Arc::new(Metrics::new()), None, renewals())?;
    work.database.meet().await
}

/// Runs until it is told to stop.
///
/// # Errors
/// What is wrong with the configuration or the files that it names. A database that is away is waited for.
pub async fn serve(path: &Path, settings: &Settings, log: &Log) -> Result<(), Fault> {
    let metrics = Arc::new(Metrics::new());
    let keeper = Keeper { path, log, metrics, renewals: renewals() };
    let first = Arc::new(work(settings, &keeper.metrics, None, Arc::clone(&keeper.renewals))?);
    if let Some(listener) = listener(settings).await? {
        tokio::spawn(metrics::serve(Arc::clone(&keeper.metrics), listener));
    }
    let mut signals = Signals::new().map_err(|why| why.to_string())?;
    let (stop, stopped) = watch::channel(false);
    let (cut, cut_off) = watch::channel(false);
    let (wake, pulse) = (Arc::new(Notify::new()), Arc::new(Pulse::new()));
    let mut listening = tokio::spawn(listen(Arc::clone(&first.database), Arc::clone(&wake)));
    // Held nowhere else: after a reload the connections of before end with their last job.
    let (current, works) = watch::channel(first);
    let taking = Taking {
        work: works,
        stop: stopped,
        cut: cut_off,
        wake: Arc::clone(&wake),
        pulse: Arc::clone(&pulse),
    };
    let mut taking = tokio::spawn(taking.run());
    if let Some(every) = sd_notify::watchdog_enabled() {
        tokio::spawn(watchdog(pulse, every));
    }
    tell(&[NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    loop {
        tokio::select! {
            is_stop = signals.next_is_stop() => if is_stop { break },
            // Whoever has started it starts it again.
            _ = &mut taking => return Err("it takes no more jobs: see the log".into()),
        }
        // Not borrowed for longer: `send_replace` would wait for it.
        let before = Arc::clone(&current.borrow());
        if let Some(next) = keeper.reload(&before) {
            let next = Arc::new(next);
            listening.abort();
            listening = tokio::spawn(listen(Arc::clone(&next.database), Arc::clone(&wake)));
            current.send_replace(next);
        }
    }
    tell(&[NotifyState::Stopping]);
    listening.abort();
    stop.send_replace(true);
    keeper.end(taking, &cut).await;
    tracing::info!("stopped");
    Ok(())
}

impl Keeper<'_> {
    /// Reads everything again. What is wrong is in the log, and what was before stays.
    fn reload(&self, before: &Work) -> Option<Work> {
        if let Ok(state) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, state]);
        }
        let read = Settings::read(self.path).and_then(|settings| {
            let next = work(&settings, &self.metrics, Some(before), Arc::clone(&self.renewals))?;
            Ok((settings, next))
        });
        tell(&[NotifyState::Ready]);
        match read {
            Ok((settings, next)) => {
                self.log.set(settings.log.level);
                tracing::info!("configuration read again");
                Some(next)
            }
            Err(what) => {
                tracing::error!(what, "the configuration cannot be used: nothing has changed");
                None
            }
        }
    }

    /// Waits for what is not over, and then ends it.
    async fn end(&self, taking: JoinHandle<JoinSet<()>>, cut: &watch::Sender<bool>) {
        let Ok(mut jobs) = taking.await else { return };
        let running = jobs.len();
        tracing::info!(running, "stopping");
        if timeout(GRACE, all(&mut jobs)).await.is_ok() {
            return;
        }
        // No renewal begins from now on, and none is cut off.
        let renewed = timeout(RENEWED, self.renewals.acquire_many(RENEWALS)).await;
        cut.send_replace(true);
        let recorded = timeout(RECORDED, all(&mut jobs)).await;
        if renewed.is_err() || recorded.is_err() {
            tracing::warn!(
                left = jobs.len(),
                "stopped in the middle: the ends of leases end these jobs"
            );
        }
    }
}

fn renewals() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(RENEWALS as usize))
}

async fn all(jobs: &mut JoinSet<()>) {
    while jobs.join_next().await.is_some() {}
}

fn work(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    before: Option<&Work>,
    renewals: Arc<Semaphore>,
) -> Result<Work, Fault> {
    let connect = &settings.connect;
    let limits = (usize::from(connect.at_once), usize::from(connect.per_host));
    let trust = Trust::system()?;
    let kept = before.filter(|before| before.limits == limits).map(|before| &before.imap.ways);
    let new = || Arc::new(Hosts::new(limits.0, limits.1));
    let hosts = kept.map_or_else(new, |ways| Arc::clone(&ways.hosts));
    let providers = kept.map_or_else(new, |ways| Arc::clone(&ways.providers));
    let dialer = Dialer {
        domains: connect.domains.clone(),
        ports: connect.ports.clone(),
        permit_loopback: connect.permit_loopback_for_tests,
        patience: Duration::from_secs(connect.connect_timeout.into()),
    };
    let silence = Duration::from_secs(connect.silence_timeout.into());
    let patience = Duration::from_secs(connect.job_timeout.into());
    let renewal = patience.min(LONGEST_RENEWAL);
    let ways = Ways { dialer, trust, silence, hosts, providers, renewals, renewal };
    if connect.permit_loopback_for_tests {
        tracing::warn!("connections to this machine itself are permitted: for tests only");
    }
    Ok(Work {
        database: Arc::new(Database::prepare(&settings.database)?),
        imap: Imap { ways, patience },
        metrics: Arc::clone(metrics),
        lease: settings.lease(),
        limits,
    })
}

async fn listener(settings: &Settings) -> Result<Option<TcpListener>, Fault> {
    let Some(metrics) = &settings.metrics else { return Ok(None) };
    let listener = TcpListener::bind(metrics.listen).await;
    listener.map(Some).map_err(|why| format!("{}: {why}", metrics.listen))
}

fn tell(what: &[NotifyState<'_>]) {
    // Without a service manager nobody hears it.
    let _ = sd_notify::notify(what);
}

/// The signals that mean something.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one. Otherwise it is a reload.
    async fn next_is_stop(&mut self) -> bool {
        tokio::select! {
            _ = self.term.recv() => true,
            _ = self.int.recv() => true,
            _ = self.hup.recv() => false,
        }
    }
}

//! One job, from its lease to its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connector::Connector;
use crate::database::{AtDatabase, Database, Stop};
use crate::imap::Imap;
use crate::job::Job;
use crate::metrics::Metrics;
use crate::trouble::Trouble;

/// What jobs need. A reload makes another one; jobs that have begun keep theirs.
pub struct Work {
    pub database: Arc<Database>,
    pub imap: Imap,
    pub metrics: Arc<Metrics>,
    /// How long a job is leased.
    pub lease: Duration,
    /// Connections in all, and to one host.
    pub limits: (usize, usize),
}

impl Work {
    /// Does a job, and says what came of it. `cut`: becomes true when it has to end.
    pub async fn run(&self, job: Job, mut cut: watch::Receiver<bool>) {
        let begun = Instant::now();
        let held = job.held;
        let mut desk = AtDatabase { database: &self.database, held, delivered: 0 };
        let run = AssertUnwindSafe(self.imap.run(&job, &mut desk)).catch_unwind();
        let done = tokio::select! {
            done = run => done.unwrap_or(Err(Trouble::Internal)),
            _ = cut.wait_for(|cut| *cut) => Err(Trouble::Disconnected),
        };
        self.metrics.results.inc_by(desk.delivered);
        let (outcome, detail) = Trouble::told_of(done);
        let told = self.database.finish(held, outcome, detail).await;
        let took = begun.elapsed();
        self.metrics.ended(outcome, detail, took);
        let (milliseconds, delivered) = (took.as_millis() as u64, desk.delivered);
        let (number, outcome) = (held.number, outcome.as_str());
        match told {
            Ok(()) => {
                tracing::info!(job = number, outcome, detail, delivered, milliseconds, "job ended");
            }
            // It was stored anew or cancelled, or is somebody else's by now; or an end that nobody answered was one.
            Err(Stop::Lost) => {
                tracing::info!(job = number, outcome, detail, delivered, "lease was over");
            }
            Err(_) => {
                tracing::warn!(job = number, outcome, detail, delivered, "end of job not recorded");
            }
        }
    }
}

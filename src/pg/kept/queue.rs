//! Which job is next, and its lease.

use std::collections::HashSet;

use password_verify_core::keeper::schedule::{JobState, Outcome, SecretState};

use super::jobs::{self, JobRow, Jobs};
use super::secrets::SecretRow;
use super::table::{Locked, RowKey};
use super::{All, Room};
use crate::error::Error;

/// Due jobs that a batch looks at.
const LOOKED_AT: usize = 1000;
/// Leases that a call looks at.
const LEASES: usize = 10_000;
/// Due jobs of different users that are enough for a batch.
const ENOUGH: usize = 32;
/// How long a job is left alone that cannot be read. Microseconds.
const ASIDE: i64 = 3_600_000_000;

/// The way along the due jobs, in batches.
#[derive(Default)]
pub struct Due {
    /// Of whom, and of which, a job is leased or was in a batch.
    users: HashSet<[u8; 8]>,
    secrets: HashSet<RowKey>,
    /// Where the next batch begins; `None` before the first.
    from: Option<RowKey>,
    /// May there be more?
    pub goes_on: bool,
    /// Numbers of jobs of users of whom there was one before: they come after all others.
    pub last: Vec<i64>,
}

impl Due {
    /// Numbers of jobs in the order in which they are to be tried: the oldest first, and one of each user.
    ///
    /// # Errors
    /// Those of [`super::table::Rows::by_time`].
    pub fn next(&mut self, room: &Room, now: i64) -> Result<Vec<i64>, Error> {
        let (table, mut batch, mut seen) = (room.jobs()?, Vec::new(), 0);
        if self.from.is_none() {
            self.look_at_leases(&table, now, &mut batch)?;
        }
        let from = self.from.get_or_insert(jobs::in_state(JobState::Waiting, 0));
        self.goes_on = false;
        table.by_time(*from, |job| {
            if job.state != JobState::Waiting || job.at > now {
                return Ok(false);
            }
            seen += 1;
            self.from = Some(job.after());
            self.add(&job, &mut batch);
            self.goes_on = batch.len() >= ENOUGH || seen >= LOOKED_AT;
            Ok(!self.goes_on)
        })?;
        Ok(batch)
    }

    /// Of whom there is a lease; and those that have ended are due.
    fn look_at_leases(
        &mut self,
        table: &Jobs,
        now: i64,
        batch: &mut Vec<i64>,
    ) -> Result<(), Error> {
        let (mut ended, mut seen) = (Vec::new(), 0);
        table.by_time(jobs::in_state(JobState::Leased, 0), |job| {
            seen += 1;
            if job.state != JobState::Leased || seen > LEASES {
                return Ok(false);
            }
            if job.is_leased(now) {
                self.users.insert(user_of(&job));
                self.secrets.insert(job.secret);
            } else {
                ended.push(job);
            }
            Ok(true)
        })?;
        ended.iter().for_each(|job| self.add(job, batch));
        Ok(())
    }

    fn add(&mut self, job: &JobRow, batch: &mut Vec<i64>) {
        // There is one lease at a time for a secret.
        if self.secrets.insert(job.secret) {
            let is_first = self.users.insert(user_of(job));
            if is_first {
                batch.push(job.number);
            } else if self.last.len() < ENOUGH {
                self.last.push(job.number);
            }
        }
    }
}

/// The half of the secret's place that is of its user.
fn user_of(job: &JobRow) -> [u8; 8] {
    job.secret.as_chunks::<8>().0[0]
}

/// The result of [`lease`].
// It is taken apart right after it is made: boxing would only cost an allocation.
#[allow(clippy::large_enum_variant)]
pub enum Leased {
    Job(JobRow, SecretRow),
    /// It will not be due again as it is.
    SetAside,
    /// Somebody else has it, or is about to.
    Not,
}

/// Leases a job that is due, without waiting for anybody.
///
/// # Errors
/// Those of rows that cannot be read.
pub fn lease(all: &All, number: i64, now: i64, lease: i64) -> Result<Leased, Error> {
    let Locked::Row(mut job, held) = all.jobs.lock(jobs::key(number))? else {
        return Ok(Leased::Not);
    };
    if !job.is_due(now) {
        return Ok(Leased::Not);
    }
    let (mut secret, held_secret) = match all.secrets.lock(job.secret)? {
        Locked::Row(secret, held) => (secret, held),
        Locked::Busy => return Ok(Leased::Not),
        // Somebody has deleted it by hand.
        Locked::Absent => {
            job.conclude(Outcome::Failed, "internal", now);
            job.block(now);
            all.jobs.update(held, &mut job)?;
            return Ok(Leased::SetAside);
        }
    };
    if job.state == JobState::Leased {
        job.abandon(now);
    }
    if secret.state == SecretState::Rejected {
        job.block(now);
    }
    job.end_in_time(now);
    if job.state != JobState::Waiting || job.at > now || !job.is_of(&secret) {
        if !job.is_of(&secret) {
            job.block(now);
        }
        all.jobs.update(held, &mut job)?;
        return Ok(Leased::SetAside);
    }
    // The secret is held until this transaction ends, so no two of its jobs are leased at once.
    let others = all.jobs.of(&secret)?;
    if others.iter().any(|other| other.number != number && other.is_leased(now)) {
        return Ok(Leased::Not);
    }
    job.lease_until(now.saturating_add(lease), &secret);
    secret.opened_at = Some(now);
    all.jobs.update(held, &mut job)?;
    all.secrets.update(held_secret, &mut secret)?;
    Ok(Leased::Job(job, secret))
}

/// Leaves a job alone for a while that cannot be read, or whose secret cannot: false if somebody has it.
///
/// # Errors
/// Those of rows that cannot be read.
pub fn set_aside(all: &All, number: i64, now: i64) -> Result<bool, Error> {
    let Locked::Row(mut job, held) = all.jobs.lock(jobs::key(number))? else { return Ok(false) };
    if !job.is_due(now) {
        return Ok(false);
    }
    job.wait_until(now.saturating_add(ASIDE));
    all.jobs.update(held, &mut job).map(|()| true)
}

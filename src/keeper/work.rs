//! The connector's functions: `pv_take_job`, `pv_open_secret`, `pv_store_rotated`, `pv_deliver`, `pv_finish_job`.

use std::time::Instant;

use password_verify_core::keeper::schedule::{JobState, Outcome, SecretState};
use password_verify_core::rules::event::Action;
use password_verify_core::rules::secret::Secret;

use crate::account::recorded::recorded_about;
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::attempt;
use crate::gate::authenticators::lease::Lease;
use crate::pg::heap::lock::Access;
use crate::pg::kept::jobs::JobRow;
use crate::pg::kept::queue::{self, Due, Leased};
use crate::pg::kept::results::MOST_RESULTS;
use crate::pg::kept::results::ResultRow;
use crate::pg::kept::secrets::SecretRow;
use crate::pg::kept::{All, Room, job_of, patiently};
use crate::pg::server;
use crate::pg::server::PATIENCE;
use crate::pg::shared::unlocked;

/// The number of a job, and which lease of it, if the keeper says so. One that does not finds out only by the time that
/// somebody else has it.
pub type Leasehold = (i64, Option<i64>);

/// A job that was leased.
pub struct Taken {
    pub job: JobRow,
    pub secret: SecretRow,
    pub what: Secret,
    pub progress: Option<Secret>,
}

/// Leases the next job that is due, the oldest first; but a user of whom another job is leased comes after all others.
/// There is one lease at a time for a secret. `None`: nothing is due, or others are taking what is.
///
/// # Errors
/// Those of [`Room::open`].
pub fn take(lease: i64) -> Result<Option<Taken>, Error> {
    let (now, end, mut due) = (server::now(), Instant::now() + PATIENCE, Due::default());
    loop {
        let batch = due.next(&Room::open(Access::Read)?, now)?;
        let taken = take_one_of(&batch, now, lease, end)?;
        if taken.is_some() {
            return Ok(taken);
        }
        if !due.goes_on || Instant::now() >= end {
            return take_one_of(&due.last, now, lease, end + PATIENCE);
        }
    }
}

fn take_one_of(
    numbers: &[i64],
    now: i64,
    lease: i64,
    end: Instant,
) -> Result<Option<Taken>, Error> {
    for number in numbers {
        match take_one(*number, now, lease) {
            Ok(None) => {}
            // One row that cannot be read keeps nobody from the others.
            Err(error) if error.is_of_a_row() => set_aside(*number, now)?,
            taken => return taken,
        }
        if Instant::now() >= end {
            break;
        }
    }
    Ok(None)
}

fn set_aside(number: i64, now: i64) -> Result<(), Error> {
    let done = recorded_about(Action::TakeJob, None, ("", number), || {
        queue::set_aside(&Room::open(Access::Write)?.all()?, number, now)
    });
    done.map(drop).or_else(|why| if why.is_of_a_row() { Ok(()) } else { Err(why) })
}

fn take_one(number: i64, now: i64, lease: i64) -> Result<Option<Taken>, Error> {
    let room = Room::open(Access::Read)?;
    let Some(job) = room.job(number)? else { return Ok(None) };
    let secret = room.secret_at(job.secret)?;
    let user = secret.as_ref().map(SecretRow::user).transpose()?;
    let name = secret.as_ref().map_or("", |secret| &secret.name);
    // Both, so that what cannot be opened is refused before anything is leased.
    let (what, _) = (job.what()?, job.progress()?);
    let mut taken = None;
    recorded_about(Action::TakeJob, user.as_ref(), (name, number), || {
        let all = Room::open(Access::Write)?.all()?;
        let leased = queue::lease(&all, number, now, lease)?;
        let changed = !matches!(leased, Leased::Not);
        if let Leased::Job(job, secret) = leased {
            taken = Some((job, secret));
        }
        Ok::<_, Error>(changed)
    })?;
    // What was noted since it was read counts.
    let taken =
        taken.map(|(job, secret)| Ok(Taken { progress: job.progress()?, job, secret, what }));
    taken.transpose()
}

/// Opens the secret of a job that is leased: a few times, and recorded before the answer leaves.
///
/// # Errors
/// Denials of [`attempt`]; [`Reason::NotLeased`] also where the lease is not committed.
///
/// [`Reason::NotLeased`]: password_verify_core::rules::reason::Reason::NotLeased
pub fn open((number, lease): Leasehold) -> Result<Secret, Stop> {
    let found = Room::open(Access::Read)?.job(number)?;
    let is_it = |job: &JobRow| lease.is_none_or(|lease| lease == job.leases);
    let found = found.filter(|job| is_it(job) && job.is_held(server::now()));
    attempt(Lease::to_open(number, found.as_ref())).map(|proof| proof.secret)
}

/// Keeps what the use of a secret has made of it, such as a new refresh token, in its place.
///
/// # Errors
/// [`Error::NotLeased`], [`Error::NewSecret`], [`Error::VaultLocked`], [`Error::Held`].
pub fn store_rotated(held: Leasehold, secret: &Secret) -> Result<(), Error> {
    change(Action::StoreRotated, held, |all, job, now| {
        let Some((mut row, held)) = all.lock_secret(job)? else { return Ok(None) };
        if !job.is_with(&row) {
            return Err(Error::NewSecret);
        }
        let room = Room::open(Access::Read)?;
        let data_key = room.data_key(&row, job.number)?.ok_or(Error::VaultLocked)?;
        row.rotate(secret, &data_key, now)?;
        all.secrets.update(held, &mut row)?;
        job.leased_with = Some(row.stored_at);
        Ok(Some(true))
    })
}

/// Delivers a result of a job, and notes how far it has come.
///
/// # Errors
/// [`Error::NotLeased`], [`Error::ResultsFull`], [`Error::Held`].
pub fn deliver(held: Leasehold, result: &Secret, progress: Option<&Secret>) -> Result<i64, Error> {
    let mut seq = 0;
    change(Action::Deliver, held, |all, job, now| {
        if job.next_seq - 1 - job.acked >= MOST_RESULTS as i64 {
            return Err(Error::ResultsFull);
        }
        seq = job.next_seq;
        all.results.insert(&mut ResultRow::new(job.number, seq, result, now)?)?;
        job.next_seq += 1;
        progress.map_or(Ok(()), |progress| job.note(progress))?;
        Ok(Some(true))
    })?;
    Ok(seq)
}

/// Ends a lease: the job is over, or due again. What is rejected waits until the secret is stored anew.
///
/// # Errors
/// [`Error::NotLeased`], [`Error::Held`].
pub fn finish(held: Leasehold, outcome: Outcome, detail: &str) -> Result<(), Error> {
    change(Action::FinishJob, held, |all, job, now| {
        let Some((mut row, held)) = all.lock_secret(job)? else { return Ok(None) };
        if !job.is_with(&row) {
            // What was tried is not what is kept by now, which has to be tried as well.
            job.wait_until(now);
            return Ok(Some(true));
        }
        let (state, why) = match outcome {
            Outcome::Done => (SecretState::Verified, None),
            Outcome::Rejected => (SecretState::Rejected, Some(detail.to_owned())),
            Outcome::Retry | Outcome::Failed => (row.state, row.why.clone()),
        };
        if (state, &why) != (row.state, &row.why) {
            (row.state, row.why) = (state, why);
            all.secrets.update(held, &mut row)?;
        }
        job.conclude(outcome, detail, now);
        if job.state == JobState::Ended {
            unlocked::close(job.number);
        }
        Ok(Some(true))
    })
}

/// Changes a leased job, or something of it, as part of the transaction.
fn change(
    action: Action,
    (number, lease): Leasehold,
    mut make: impl FnMut(&All, &mut JobRow, i64) -> Result<Option<bool>, Error>,
) -> Result<(), Error> {
    let (_, secret, user) = job_of(number)?;
    recorded_about(action, Some(&user), (&secret.name, number), || {
        let all = Room::open(Access::Write)?.all()?;
        patiently(|| all.change_leased(number, lease, |job, now| make(&all, job, now)))
    })
    .map(drop)
}

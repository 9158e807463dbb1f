//! `pv_request`, `pv_cancel_request`, `pv_ack_results`.

use password_verify_core::keeper::handle::Handle;
use password_verify_core::keeper::schedule;
use password_verify_core::keeper::schedule::JobState;
use password_verify_core::rules::event::Action;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use crate::account::recorded::recorded_about;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::kept::holder::Holder;
use crate::pg::kept::jobs::JobRow;
use crate::pg::kept::results::MOST_RESULTS;
use crate::pg::kept::table::Held;
use crate::pg::kept::{All, Room, job_of, jobs, patiently};
use crate::pg::server;
use crate::pg::session::notify;

/// Asks for something to be done with a secret, once or again and again until a time, and returns the number of the
/// job. A secret in a vault needs the handle of the unlocked vault, which opens it for this job only.
///
/// # Errors
/// [`Error::NoSecretNamed`], [`Error::TooManyJobs`], [`Error::VaultLocked`], [`Error::VaultPlaces`],
/// [`Error::Schedule`], [`Error::Held`].
pub fn request(
    user: &UserId,
    name: &str,
    what: &Secret,
    (every, until): (Option<i64>, Option<i64>),
    handle: Option<&Handle>,
) -> Result<i64, Error> {
    let now = server::now();
    let repeat = schedule::repeat(every, until, now).map_err(Error::Schedule)?;
    let secret = Room::open(Access::Read)?.secret(user, name)?.ok_or(Error::NoSecretNamed)?;
    let number = jobs::new_number(&secret.id)?;
    recorded_about(Action::Request, Some(user), (name, number), || {
        let room = Room::open(Access::Write)?;
        let all = room.all()?;
        patiently(|| {
            let Some(holder) = Holder::take(&room, &all, user)? else { return Ok(None) };
            let mut job = JobRow::new(number, secret.key, what, repeat, now)?;
            all.add_job(&room, holder, &mut job, handle)
        })
    })?;
    notify::keepers();
    Ok(number)
}

/// Deletes a job and its results; false if there is no such job.
///
/// # Errors
/// [`Error::Held`].
pub fn cancel(number: i64) -> Result<bool, Error> {
    change(Action::CancelRequest, number, |room, all, holder, job, held| {
        all.remove_job(room, holder, &job, held).map(|()| true)
    })
}

/// Acknowledges results up to a number: they are deleted, and so is a job that is over and has no others. False if
/// there was nothing to do.
///
/// # Errors
/// [`Error::Held`].
pub fn acknowledge(number: i64, up_to: i64) -> Result<bool, Error> {
    change(Action::AckResults, number, |room, all, holder, mut job, held| {
        let last = up_to.min(job.next_seq - 1);
        let is_over = job.state == JobState::Ended && last == job.next_seq - 1;
        if is_over {
            return all.remove_job(room, holder, &job, held).map(|()| true);
        }
        if last <= job.acked {
            return Ok(false);
        }
        if !all.results.delete_up_to(number, last, MOST_RESULTS + 1)? {
            return Err(Error::Held);
        }
        job.acked = last;
        all.jobs.update(held, &mut job).map(|()| true)
    })
}

/// Changes a job, or deletes it, as part of the transaction; false if there is no such job, or `make` says that there was
/// nothing to do.
fn change(
    action: Action,
    number: i64,
    make: impl Fn(&Room, &All, Holder, JobRow, Held) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let (_, secret, user) = match job_of(number) {
        Err(Error::NoJob) => return Ok(false),
        found => found?,
    };
    recorded_about(action, Some(&user), (&secret.name, number), || {
        let room = Room::open(Access::Write)?;
        let all = room.all()?;
        let done = patiently(|| {
            let Some(holder) = Holder::take(&room, &all, &user)? else { return Ok(None) };
            let Some((job, held)) = all.lock_job(number)? else { return Ok(None) };
            make(&room, &all, holder, job, held).map(Some)
        });
        // Somebody else was first.
        if done == Err(Error::NoJob) { Ok(false) } else { done }
    })
}

//! All that is kept of a user, changed together.
//!
//! Everything is locked before anything is written: where the answer is "busy", nothing has changed. Who holds the user's
//! row of `password_verify.vault` is the only one to add or remove anything, so its counts say when all has been found.

use password_verify_core::keeper::handle::Handle;
use password_verify_core::keeper::schedule::JobState;
use password_verify_core::keeper::vault::{Lock, VaultKey};
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::user_id::UserId;

use super::holder::Holder;
use super::jobs::{self, JobRow};
use super::results::MOST_RESULTS;
use super::secrets::SecretRow;
use super::table::{Held, Kept, Locked, RowKey};
use super::vaults::Version;
use super::{All, MOST_JOBS, Room, opening, patiently};
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::pg::server::PATIENCE;
use crate::pg::shared::unlocked;

/// A secret and its jobs, locked.
pub struct Whole {
    pub row: SecretRow,
    held: Held,
    jobs: Vec<(JobRow, Held)>,
}

/// The result of [`All::rename`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    Done,
    /// Nothing is kept of the user.
    Nothing,
    /// Something is kept of the other one.
    Taken,
}

impl All {
    /// Locks a secret, if there is one, with its jobs if they are asked for. `None`: another transaction holds one of them.
    ///
    /// # Errors
    /// Those of [`super::table::Rows::lock`].
    fn lock(&self, place: RowKey, with_jobs: bool) -> Result<Option<Option<Whole>>, Error> {
        let (row, held) = match self.secrets.lock(place)? {
            Locked::Row(row, held) => (row, held),
            Locked::Absent => return Ok(Some(None)),
            Locked::Busy => return Ok(None),
        };
        let mut jobs = Vec::new();
        for job in if with_jobs { self.jobs.of(&row)? } else { Vec::new() } {
            match self.jobs.lock(job.key())? {
                Locked::Row(job, held) => jobs.push((job, held)),
                Locked::Absent => {}
                Locked::Busy => return Ok(None),
            }
        }
        Ok(Some(Some(Whole { row, held, jobs })))
    }

    /// Locks all secrets of a user, with their jobs if they are asked for. `None`: another transaction holds one of them,
    /// or not all were found.
    ///
    /// # Errors
    /// Those of [`All::lock`].
    fn lock_all(
        &self,
        room: &Room,
        user: &UserId,
        holder: &Holder,
        with_jobs: bool,
    ) -> Result<Option<Vec<Whole>>, Error> {
        let mut secrets = Vec::new();
        for row in room.secrets_of(&self.secrets, user)? {
            match self.lock(row.key, with_jobs)? {
                Some(whole) => secrets.extend(whole),
                None => return Ok(None),
            }
        }
        let jobs: usize = secrets.iter().map(|whole| whole.jobs.len()).sum();
        let all = holder.counts(secrets.len(), with_jobs.then_some(jobs))?;
        Ok(all.then_some(secrets))
    }

    /// Stores a secret of that name, anew or in place of another, and lets jobs go on that had to wait for it. False: the
    /// user has `most` others already. `None`: somebody holds it.
    ///
    /// # Errors
    /// Those of `put`.
    pub fn store(
        &self,
        room: &Room,
        mut holder: Holder,
        name: &str,
        most: usize,
        put: impl Fn(&mut SecretRow) -> Result<(), Error>,
    ) -> Result<Option<bool>, Error> {
        let user = holder.user()?;
        let place = room.place(&user, name);
        match self.lock(place, true)? {
            None => return Ok(None),
            Some(Some(Whole { mut row, held, jobs })) => {
                put(&mut row)?;
                self.secrets.update(held, &mut row)?;
                for (mut job, held) in jobs {
                    // What is open for it is the key of the other one.
                    unlocked::close(job.number);
                    if job.resume(row.stored_at) {
                        self.jobs.update(held, &mut job)?;
                    }
                }
            }
            Some(None) => {
                if holder.row.secrets as usize >= most {
                    return Ok(Some(false));
                }
                let mut row = SecretRow::new(place, &user, name)?;
                put(&mut row)?;
                self.secrets.insert(&mut row)?;
                holder.row.secrets += 1;
                holder.put(room, self)?;
            }
        }
        Ok(Some(true))
    }

    /// Forgets a secret with its jobs and their results: whether there was one, or `None` if somebody holds it.
    ///
    /// # Errors
    /// Those of [`All::delete_job`].
    pub fn forget(
        &self,
        room: &Room,
        mut holder: Holder,
        name: &str,
    ) -> Result<Option<bool>, Error> {
        match self.lock(room.place(&holder.user()?, name), true)? {
            None => Ok(None),
            Some(Some(whole)) => {
                self.delete(&mut holder, whole)?;
                holder.put(room, self).map(|()| Some(true))
            }
            Some(None) => Ok(Some(false)),
        }
    }

    fn delete(&self, holder: &mut Holder, whole: Whole) -> Result<(), Error> {
        for (job, held) in whole.jobs {
            self.delete_job(holder, &job, held)?;
        }
        holder.row.secrets -= 1;
        self.secrets.delete(whole.held)
    }

    /// Deletes a job and its results, at most [`MOST_RESULTS`].
    ///
    /// # Errors
    /// [`Error::Held`] if somebody holds one of them.
    fn delete_job(&self, holder: &mut Holder, job: &JobRow, held: Held) -> Result<(), Error> {
        if !self.results.delete_up_to(job.number, i64::MAX, MOST_RESULTS + 1)? {
            return Err(Error::Held);
        }
        unlocked::close(job.number);
        holder.row.jobs -= 1;
        self.jobs.delete(held)
    }

    /// Deletes a job, its results, and the user's row if nothing else is kept.
    ///
    /// # Errors
    /// Those of [`All::delete_job`].
    pub fn remove_job(
        &self,
        room: &Room,
        mut holder: Holder,
        job: &JobRow,
        held: Held,
    ) -> Result<(), Error> {
        self.delete_job(&mut holder, job, held)?;
        holder.put(room, self)
    }

    /// Locks a job; `None` if another transaction holds it.
    ///
    /// # Errors
    /// [`Error::NoJob`].
    pub fn lock_job(&self, number: i64) -> Result<Option<(JobRow, Held)>, Error> {
        self.jobs.lock(jobs::key(number))?.required(Error::NoJob)
    }

    /// Locks the secret of a job; `None` if another transaction holds it.
    ///
    /// # Errors
    /// [`Error::NoJob`] if it is gone.
    pub fn lock_secret(&self, job: &JobRow) -> Result<Option<(SecretRow, Held)>, Error> {
        self.secrets.lock(job.secret)?.required(Error::NoJob)
    }

    /// Changes a job, or something of it, while it is leased: by this lease, if one is named. `make` says whether the job
    /// itself has changed. `None`: another transaction holds something, and nothing has been written.
    ///
    /// # Errors
    /// [`Error::NoJob`], [`Error::NotLeased`]; those of `make`.
    pub fn change_leased(
        &self,
        number: i64,
        lease: Option<i64>,
        make: impl FnOnce(&mut JobRow, Timestamp) -> Result<Option<bool>, Error>,
    ) -> Result<Option<bool>, Error> {
        let Some((mut job, held)) = self.lock_job(number)? else { return Ok(None) };
        let now = server::now();
        if !job.is_leased(now) || lease.is_some_and(|lease| lease != job.leases) {
            return Err(Error::NotLeased);
        }
        match make(&mut job, now)? {
            None => return Ok(None),
            Some(true) => self.jobs.update(held, &mut job)?,
            Some(false) => {}
        }
        Ok(Some(true))
    }

    /// Adds a job for a secret; `None` if the number is taken.
    ///
    /// # Errors
    /// [`Error::NoSecretNamed`], [`Error::TooManyJobs`], [`Error::VaultLocked`]; those of [`opening::for_job`].
    pub fn add_job(
        &self,
        room: &Room,
        mut holder: Holder,
        job: &mut JobRow,
        handle: Option<&Handle>,
    ) -> Result<Option<bool>, Error> {
        let secret = room.secret_at(job.secret)?.ok_or(Error::NoSecretNamed)?;
        if holder.row.jobs as usize >= MOST_JOBS {
            return Err(Error::TooManyJobs);
        }
        // One in four thousand million, but then it would be another one's job.
        if !job.is_of(&secret) || !matches!(self.jobs.lock(job.key())?, Locked::Absent) {
            return Ok(None);
        }
        if secret.in_vault {
            let handle = handle.ok_or(Error::VaultLocked)?;
            opening::for_job(job.number, &secret, &holder.row, handle)?;
        }
        self.jobs.insert(job)?;
        holder.row.jobs += 1;
        holder.put(room, self).map(|()| Some(true))
    }

    /// Deletes all that is kept of a user: whether there was anything, or `None` if somebody holds it.
    ///
    /// # Errors
    /// Those of [`All::delete_job`].
    pub fn delete_user(&self, room: &Room, user: &UserId) -> Result<Option<bool>, Error> {
        let Some(mut holder) = Holder::take(room, self, user)? else { return Ok(None) };
        let Some(secrets) = self.lock_all(room, user, &holder, true)? else { return Ok(None) };
        let any = !holder.row.is_empty();
        unlocked::lock_vault(&holder.row.key);
        secrets.into_iter().try_for_each(|whole| self.delete(&mut holder, whole))?;
        holder.row.open(server::now());
        holder.put(room, self).map(|()| Some(any))
    }

    /// Deletes a vault with the secrets in it: whether there was one, or `None` if somebody holds something of it.
    ///
    /// # Errors
    /// Those of [`All::delete_job`].
    pub fn delete_vault(&self, room: &Room, user: &UserId) -> Result<Option<bool>, Error> {
        let Some(mut holder) = Holder::take(room, self, user)? else { return Ok(None) };
        if !holder.row.is_locked() {
            return Ok(Some(false));
        }
        let Some(secrets) = self.lock_all(room, user, &holder, true)? else { return Ok(None) };
        unlocked::lock_vault(&holder.row.key);
        for whole in secrets.into_iter().filter(|whole| whole.row.in_vault) {
            self.delete(&mut holder, whole)?;
        }
        holder.row.open(server::now());
        holder.put(room, self).map(|()| Some(true))
    }

    /// Puts another lock with another key on a vault, if it is still of that version, and on all secrets in it; false if
    /// it is not. `None`: somebody holds something of it.
    ///
    /// # Errors
    /// Those of [`SecretRow::relock`].
    pub fn relock(
        &self,
        room: &Room,
        user: &UserId,
        version: Version,
        (old, new): (&VaultKey, &VaultKey),
        lock: &Lock,
    ) -> Result<Option<bool>, Error> {
        let Some(mut holder) = Holder::take(room, self, user)? else { return Ok(None) };
        if holder.row.version() != version {
            return Ok(Some(false));
        }
        let Some(secrets) = self.lock_all(room, user, &holder, false)? else { return Ok(None) };
        unlocked::lock_vault(&holder.row.key);
        holder.row.put(lock, server::now())?;
        holder.put(room, self)?;
        for Whole { mut row, held, .. } in secrets {
            if row.in_vault {
                row.relock(old, new)?;
                self.secrets.update(held, &mut row)?;
            }
        }
        Ok(Some(true))
    }

    /// Moves all that is kept of a user to another id; `None` if somebody holds it.
    ///
    /// # Errors
    /// Those of [`SecretRow::rename`].
    fn rename(
        &self,
        room: &Room,
        old: &UserId,
        new: &UserId,
        taken: bool,
    ) -> Result<Option<Moved>, Error> {
        let Some(mut holder) = Holder::take(room, self, old)? else { return Ok(None) };
        if holder.row.is_empty() {
            return Ok(Some(Moved::Nothing));
        }
        let Some(other) = Holder::take(room, self, new)? else { return Ok(None) };
        if taken || !other.row.is_empty() {
            return Ok(Some(Moved::Taken));
        }
        let Some(secrets) = self.lock_all(room, old, &holder, true)? else { return Ok(None) };
        unlocked::moved(&holder.row.key, &room.vault_place(new));
        for Whole { mut row, held, jobs } in secrets {
            let place = room.place(new, &row.name);
            row.rename(place, new)?;
            self.secrets.update(held, &mut row)?;
            for (mut job, held) in jobs {
                job.secret = place;
                self.jobs.update(held, &mut job)?;
            }
        }
        holder.row.rename(room.vault_place(new), new)?;
        holder.put(room, self).map(|()| Some(Moved::Done))
    }

    /// Deletes jobs that were over, or blocked until their end, before that time and whose results are gone, but for
    /// those that somebody holds, until `enough`.
    ///
    /// # Errors
    /// Those of [`All::delete_job`].
    pub fn delete_ended(
        &self,
        room: &Room,
        before: Timestamp,
        enough: impl Fn() -> bool,
    ) -> Result<(), Error> {
        let mut over = Vec::new();
        self.jobs.by_time(jobs::in_state(JobState::Ended, 0), |job| {
            let is_over = job.at < before && !enough();
            over.extend(is_over.then_some(job));
            Ok(is_over)
        })?;
        for job in over.iter().take_while(|_| !enough()) {
            match self.delete_over(room, job, before) {
                // One row that cannot be read keeps the others from nothing.
                Err(error) if error == Error::Held || error.is_of_a_row() => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn delete_over(&self, room: &Room, job: &JobRow, before: Timestamp) -> Result<(), Error> {
        if self.results.any(job.number) {
            return Ok(());
        }
        let Some(secret) = room.secret_at(job.secret)? else { return Ok(()) };
        let Some(holder) = Holder::take(room, self, &secret.user()?)? else { return Ok(()) };
        if let Locked::Row(job, held) = self.jobs.lock(job.key())?
            && matches!(job.state, JobState::Ended | JobState::Blocked)
            && job.at < before
        {
            self.remove_job(room, holder, &job, held)?;
        }
        Ok(())
    }
}

/// Deletes all that is kept of a user; false if there was nothing.
///
/// # Errors
/// [`Error::Held`].
pub fn delete_user(user: &UserId) -> Result<bool, Error> {
    // Without a keyring nothing is kept.
    if !keyring::is_there() {
        return Ok(false);
    }
    let room = Room::open(Access::Write)?;
    let all = room.all()?;
    patiently(|| all.delete_user(&room, user))
}

/// Moves all that is kept of a user to another id, unless that is `taken`; `None` if somebody holds it, and then nothing has
/// moved.
///
/// # Errors
/// Those of [`All::rename`].
pub fn rename(old: &UserId, new: &UserId, taken: bool) -> Result<Option<Moved>, Error> {
    if !keyring::is_there() || old == new {
        return Ok(Some(Moved::Nothing));
    }
    let room = Room::open(Access::Write)?;
    let all = room.all()?;
    server::patiently(PATIENCE, || all.rename(&room, old, new, taken))
}

/// Locks what is unlocked of a user's vault, at once. Reads no row, so that none can prevent it.
///
/// # Errors
/// Those of [`Room::open`].
pub fn lock_vault(user: &UserId) -> Result<(), Error> {
    if keyring::is_there() {
        unlocked::lock_vault(&Room::open(Access::Read)?.vault_place(user));
    }
    Ok(())
}

//! `password_verify.job`: what is to be done with a secret, and when.
//!
//! A second index orders the jobs by time: first those that wait, by when they are due, then those that are leased, by
//! when the lease ends, and last those that are over. A lease that ends makes a job due, whatever became of its holder.

use std::ffi::CStr;

use password_verify_core::keeper::schedule;
use password_verify_core::keeper::schedule::{JobState, Next, Outcome, Repeat};
use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::secret::Secret;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::MOST_JOBS;
use super::secrets::SecretRow;
use super::table::{Kept, Reseal, RowKey, Rows};
use crate::error::Error;
use crate::pg::heap::row::Row;
use crate::pg::heap::text;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::salt;

const COLUMNS: usize = 19;
/// Two calls need not have looked at the clock in the order in which they came. Microseconds.
const SKEW: Timestamp = 60_000_000;
/// The readable part of the seal.
const LABEL: &str = "job -";
const PROGRESS: &str = "progress -";

pub type Jobs = Rows<COLUMNS, JobRow>;

pub struct JobRow {
    pub number: i64,
    /// When it is due, when its lease ends, or when it was over: which, is said by `state`.
    pub at: Timestamp,
    /// The place of the secret.
    pub secret: RowKey,
    what: Secret,
    progress: Option<Secret>,
    pub state: JobState,
    pub repeat: Option<Repeat>,
    /// When its current round was due, or is.
    pub due_at: Timestamp,
    /// How often it was leased.
    pub leases: i64,
    /// The transaction that leased it last.
    leased_by: i64,
    /// When the secret was stored that it was leased with.
    pub leased_with: Option<Timestamp>,
    /// Rounds in a row that are to be tried again.
    pub attempts: i32,
    /// The number of the next result.
    pub next_seq: i64,
    /// Results up to this one are acknowledged.
    pub acked: i64,
    pub outcome: Option<String>,
    pub detail: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// The key of a job.
pub fn key(number: i64) -> RowKey {
    joined(number, 0)
}

/// Where the jobs of a secret begin, and how many bytes of the key they share.
pub fn of_secret(id: &[u8; 16]) -> (RowKey, usize) {
    let mut first = RowKey::default();
    first[..4].copy_from_slice(&id[..4]);
    // Numbers are positive.
    first[0] &= 0x7f;
    (first, 4)
}

/// A number for a new job of that secret.
///
/// # Errors
/// [`Error::NoRandomness`].
pub fn new_number(id: &[u8; 16]) -> Result<i64, Error> {
    let (first, shared) = of_secret(id);
    let mut bytes: [u8; 8] = salt::random()?;
    bytes[..shared].copy_from_slice(&first[..shared]);
    Ok(i64::from_be_bytes(bytes))
}

/// Where jobs in a state begin in the order of time.
pub fn in_state(state: JobState, at: Timestamp) -> RowKey {
    joined(((rank(state) << 61) | at.max(0).unsigned_abs()).cast_signed(), 0)
}

/// The order of the states.
fn rank(state: JobState) -> u64 {
    match state {
        JobState::Waiting => 0,
        JobState::Leased => 1,
        JobState::Blocked | JobState::Ended => 2,
    }
}

fn joined(high: i64, low: i64) -> RowKey {
    let mut key = RowKey::default();
    key[..8].copy_from_slice(&high.to_be_bytes());
    key[8..].copy_from_slice(&low.to_be_bytes());
    key
}

impl Jobs {
    /// All jobs of a secret. Looks twice, because a row that is being updated can be missed once.
    ///
    /// # Errors
    /// Those of [`Rows::range`].
    pub fn of(&self, secret: &SecretRow) -> Result<Vec<JobRow>, Error> {
        let (first, shared) = of_secret(&secret.id);
        let look = || self.range(first, shared, 2 * MOST_JOBS);
        let (mut rows, again) = (look()?, look()?);
        rows.extend(again);
        rows.retain(|row| row.secret == secret.key);
        // The later version of each comes last.
        rows.reverse();
        rows.sort_by_key(|row| row.number);
        rows.dedup_by_key(|row| row.number);
        Ok(rows)
    }
}

impl JobRow {
    /// A job that is due at once.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn new(
        number: i64,
        secret: RowKey,
        what: &Secret,
        repeat: Option<Repeat>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        Ok(Self {
            number,
            at: now,
            secret,
            what: keyring::seal(what, LABEL, &Binding::job(number))?,
            progress: None,
            state: JobState::Waiting,
            repeat,
            due_at: now,
            leases: 0,
            leased_by: 0,
            leased_with: None,
            attempts: 0,
            next_seq: 1,
            acked: 0,
            outcome: None,
            detail: None,
            created_at: now,
            finished_at: None,
        })
    }

    /// What is asked for.
    ///
    /// # Errors
    /// Those of [`Kept::unseal`].
    pub fn what(&self) -> Result<Secret, Error> {
        self.unseal(&self.what, &Binding::job(self.number))
    }

    /// What the keeper noted with its last result.
    ///
    /// # Errors
    /// Those of [`Kept::unseal`].
    pub fn progress(&self) -> Result<Option<Secret>, Error> {
        let open = |text| self.unseal(text, &Binding::progress(self.number));
        self.progress.as_ref().map(open).transpose()
    }

    /// Notes how far the keeper has come.
    ///
    /// # Errors
    /// Those of [`keyring::seal`].
    pub fn note(&mut self, progress: &Secret) -> Result<(), Error> {
        let sealed = keyring::seal(progress, PROGRESS, &Binding::progress(self.number))?;
        self.progress = Some(sealed);
        Ok(())
    }

    /// Is it leased now? If the clock was set back, no lease lasts longer than it can.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        let longest = schedule::MAX_LEASE + SKEW;
        self.state == JobState::Leased && now < self.at && self.at - now <= longest
    }

    /// May it be leased, by itself? A lease that has ended makes it due.
    pub fn is_due(&self, now: Timestamp) -> bool {
        match self.state {
            JobState::Waiting => self.at <= now,
            JobState::Leased => !self.is_leased(now),
            JobState::Blocked | JobState::Ended => false,
        }
    }

    /// Is its number one of this secret?
    pub fn is_of(&self, secret: &SecretRow) -> bool {
        let (first, shared) = of_secret(&secret.id);
        self.secret == secret.key && key(self.number)[..shared] == first[..shared]
    }

    /// Goes on if it had to wait for another secret; false if it had not.
    pub fn resume(&mut self, now: Timestamp) -> bool {
        let waited = self.state == JobState::Blocked;
        if waited {
            self.due_at = now;
            self.wait_until(now);
            self.end_in_time(now);
        }
        waited
    }

    /// Ends a repeated job whose time has come.
    pub fn end_in_time(&mut self, now: Timestamp) {
        if self.repeat.is_some_and(|repeat| repeat.until < now) {
            (self.state, self.at) = (JobState::Ended, now);
        }
    }

    /// Makes it due at that time.
    pub fn wait_until(&mut self, at: Timestamp) {
        (self.state, self.at) = (JobState::Waiting, at);
    }

    /// Leases it, with its secret as it is.
    pub fn lease_until(&mut self, at: Timestamp, secret: &SecretRow) {
        self.leased_with = Some(secret.stored_at);
        (self.state, self.at) = (JobState::Leased, at);
        self.leases += 1;
        self.leased_by = server::transaction_id().cast_signed();
    }

    /// The place after this one in the order of time.
    pub fn after(&self) -> RowKey {
        let mut due = in_state(self.state, self.at);
        due[8..].copy_from_slice(&self.number.saturating_add(1).to_be_bytes());
        due
    }

    /// Is it leased by a transaction that has been committed? One that has not could take the lease back, and whatever
    /// was opened with it.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.is_leased(now) && self.leased_by != server::transaction_id_if_any().cast_signed()
    }

    /// Is this the secret that it was leased with? If it was stored anew since, it may be for another destination than the
    /// keeper was told.
    pub fn is_with(&self, secret: &SecretRow) -> bool {
        self.leased_with == Some(secret.stored_at)
    }

    /// It waits for another secret.
    pub fn block(&mut self, now: Timestamp) {
        let end = self.repeat.as_ref().map_or(now, |repeat| repeat.until.max(now));
        (self.state, self.at) = (JobState::Blocked, end);
    }

    /// Ends a round.
    pub fn conclude(&mut self, outcome: Outcome, detail: &str, now: Timestamp) {
        self.outcome = Some(outcome.as_str().to_owned());
        self.detail = Some(detail.to_owned());
        self.finished_at = Some(now);
        let attempts = self.attempts.unsigned_abs();
        let next = schedule::after(outcome, self.due_at, attempts, self.repeat, now);
        self.attempts = if let Next::Retry(_) = next { self.attempts + 1 } else { 0 };
        match next {
            Next::Retry(at) => self.wait_until(at),
            Next::Due(at) => {
                self.due_at = at;
                self.wait_until(at);
            }
            Next::Block => self.block(now),
            Next::End => (self.state, self.at) = (JobState::Ended, now),
        }
    }

    /// Its lease has ended and it was not finished. The first time it is due at once; after that it has to wait, and in the
    /// end it has failed, or a job that ends its keeper would come back for ever.
    pub fn abandon(&mut self, now: Timestamp) {
        self.attempts += 1;
        let attempts = self.attempts.unsigned_abs();
        match attempts {
            1 => self.wait_until(now),
            2..schedule::MAX_ATTEMPTS => self.wait_until(schedule::retry_at(now, attempts)),
            _ => self.conclude(Outcome::Failed, "timeout", now),
        }
    }

    /// In the place of the lease of a job that does not exist.
    pub fn no_lease(number: i64) -> [u8; 16] {
        joined(number, 0)
    }

    /// Which lease of which job it is.
    pub fn lease(&self) -> [u8; 16] {
        joined(self.number, self.leases)
    }
}

impl Kept<COLUMNS> for JobRow {
    const TABLE: &'static CStr = c"job";
    const INDEX: &'static CStr = c"job_pkey";
    const BY_TIME: Option<(&'static CStr, i16)> = Some((c"job_due", 2));

    fn key(&self) -> RowKey {
        key(self.number)
    }

    unsafe fn read(row: Row<COLUMNS>) -> Result<Self, Error> {
        let wrong = Error::NotInstalled;
        let [
            key,
            due,
            secret,
            what,
            progress,
            state,
            every,
            until,
            leases,
            leased_by,
            leased_with,
            due_at,
            attempts,
            next_seq,
            acked,
            outcome,
            detail,
            created_at,
            finished_at,
        ] = row;
        let number = |datum: Option<pg_sys::Datum>| datum.map(|datum| datum.value() as i64);
        // SAFETY: the caller's promise; types as the SQL file declares, copied at once.
        unsafe {
            let uuid = |datum: Option<pg_sys::Datum>| {
                Ok::<_, Error>(*datum.ok_or(wrong)?.cast_mut_ptr::<[u8; 16]>())
            };
            let secret_text = |datum: Option<pg_sys::Datum>| text::to_utf8(datum.ok_or(wrong)?);
            let string = |datum: Option<pg_sys::Datum>| {
                datum.map(|text| Ok::<_, Error>(text::to_utf8(text)?.expose().to_owned()))
            };
            let (key, due) = (uuid(key)?, uuid(due)?);
            let high = |key: &RowKey| u64::from_be_bytes(key.as_chunks::<8>().0[0]);
            let repeat = number(every).zip(number(until));
            let state = string(state).transpose()?;
            Ok(Self {
                number: high(&key).cast_signed(),
                at: (high(&due) & ((1 << 61) - 1)).cast_signed(),
                secret: uuid(secret)?,
                what: secret_text(what)?,
                progress: progress.map(|it| secret_text(Some(it))).transpose()?,
                state: state.as_deref().and_then(JobState::from_str).ok_or(wrong)?,
                repeat: repeat.map(|(every, until)| Repeat { every, until }),
                leases: number(leases).ok_or(wrong)?,
                leased_by: number(leased_by).ok_or(wrong)?,
                leased_with: number(leased_with),
                due_at: number(due_at).ok_or(wrong)?,
                attempts: attempts.ok_or(wrong)?.value() as i32,
                next_seq: number(next_seq).ok_or(wrong)?,
                acked: number(acked).ok_or(wrong)?,
                outcome: string(outcome).transpose()?,
                detail: string(detail).transpose()?,
                created_at: number(created_at).ok_or(wrong)?,
                finished_at: number(finished_at),
            })
        }
    }

    fn columns(&mut self) -> Result<Row<COLUMNS>, Error> {
        let mut due = in_state(self.state, self.at);
        due[8..].copy_from_slice(&self.number.to_be_bytes());
        let uuid = |key: RowKey| pgrx::datum::Uuid::from_bytes(key).into_datum();
        Ok([
            uuid(key(self.number)),
            uuid(due),
            uuid(self.secret),
            Some(text::to_datum(self.what.expose())?),
            self.progress.as_ref().map(|it| text::to_datum(it.expose())).transpose()?,
            Some(text::to_datum(self.state.as_str())?),
            self.repeat.as_ref().and_then(|repeat| repeat.every.into_datum()),
            self.repeat.as_ref().and_then(|repeat| repeat.until.into_datum()),
            self.leases.into_datum(),
            self.leased_by.into_datum(),
            self.leased_with.into_datum(),
            self.due_at.into_datum(),
            self.attempts.into_datum(),
            self.next_seq.into_datum(),
            self.acked.into_datum(),
            self.outcome.as_deref().map(text::to_datum).transpose()?,
            self.detail.as_deref().map(text::to_datum).transpose()?,
            self.created_at.into_datum(),
            self.finished_at.into_datum(),
        ])
    }

    fn sealed(&mut self, each: &mut Reseal) -> Result<(), Error> {
        each(&mut self.what, LABEL, &Binding::job(self.number))?;
        let binding = Binding::progress(self.number);
        self.progress.as_mut().map_or(Ok(()), |progress| each(progress, PROGRESS, &binding))
    }
}

//! What happens to a password that somebody claims is the right one.
//!
//! [`attempt`] is the only way to test a password. It reads top to bottom, and each stage consumes
//! what the stage before it produced: the fields are private to this file and nothing here can be
//! cloned, so leaving a stage out does not compile.

use std::time::{Duration, Instant};

use core::net::IpAddr;

use password_verify_core::account::Terms;
use password_verify_core::event::Action;
use password_verify_core::policy::{Password, Submitted};
use password_verify_core::reason::Reason;
use password_verify_core::record::Record;
use password_verify_core::secret::Secret;
use password_verify_core::user_id::UserId;
use password_verify_core::verifier::{NotAVerifier, Verifier};

use crate::audit;
use crate::error::Error;
use crate::pg::credential::Credential;
use crate::pg::held::Conclusion;
use crate::pg::renewals;
use crate::pg::session;
use crate::pg::slot::HashSlot;
use crate::pg::statistics;
use crate::pg::store::{Edit, Found, Store, Written};
use crate::pg::table::Access;
use crate::throttle::{self, Admission, Charged, Denial};
use crate::{salt, settings};

/// `pv_validate_password`: is this the password, and is it worth anything?
pub fn validate(request: Request) -> Result<Result<(), Denial>, Error> {
    match attempt(request)? {
        Outcome::Denied(denial) => Ok(Err(denial)),
        Outcome::Right(proof) => {
            // The answer is what it is, whatever becomes of this.
            let _ = proof.renew_if_weak();
            Ok(Ok(()))
        }
    }
}

/// The way of an attempt.
pub fn attempt(request: Request) -> Result<Outcome, Error> {
    // policy: length bound first, then Unicode NFC. What is too long is nobody's password.
    let candidate = request.normalize();
    // throttle: charged here, before any hashing, and its place in the audit is reserved.
    let admitted = match candidate.admit()? {
        Ok(admitted) => admitted,
        Err(refused) => return refused.audit(),
    };
    // slots: it waits here, for a bounded time, for the right to hash.
    let ready = match admitted.await_slot()? {
        Ok(ready) => ready,
        Err(refused) => return refused.audit(),
    };
    // store: the user's record, or for an unknown user a decoy of the same cost.
    let fetched = ready.fetch()?;
    // hash: Argon2id, compared in constant time. Then the slot is somebody else's.
    let compared = fetched.hash_and_compare()?;
    // settle: a right password refunds the charge. Nothing else does.
    let settled = compared.settle();
    // audit: the event is committed here, before the answer leaves.
    settled.audit()
}

/// Requires: arguments. Produces: an attempt that nothing has happened to yet.
pub struct Request {
    user: UserId,
    claim: Claim,
    client: Option<IpAddr>,
    purpose: Purpose,
}

/// What the password is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    LogIn,
    /// To choose another: also with a password that is only good for that.
    Change,
}

/// The password of a request.
enum Claim {
    Submitted(Submitted),
    /// Of a request that is made once more.
    Normalized(Password),
}

/// Produced by [`Request::normalize`]: a password in the one form in which it is hashed, or none where
/// it cannot be anybody's.
#[must_use]
struct Candidate {
    user: UserId,
    password: Option<Password>,
    client: Option<IpAddr>,
    purpose: Purpose,
}

/// Produced by [`Candidate::admit`]: paid for.
#[must_use]
struct Admitted {
    user: UserId,
    password: Password,
    client: Option<IpAddr>,
    purpose: Purpose,
    charged: Charged,
}

/// Produced by [`Admitted::await_slot`]: may be hashed now.
#[must_use]
struct Ready {
    admitted: Admitted,
    slot: HashSlot,
    store: Store,
}

/// Produced by [`Ready::fetch`]: the password, and what to compare it with.
#[must_use]
struct Fetched {
    admitted: Admitted,
    slot: HashSlot,
    target: Target,
}

/// What a password is hashed against.
// Taken apart as soon as it is made: boxing it would only cost an allocation.
#[allow(clippy::large_enum_variant)]
enum Target {
    /// The user's own record.
    Own { record: Record, stored: Secret, row: Credential },
    /// There is none. Somebody else's is computed, or what a new one would cost, and the result thrown
    /// away.
    Decoy(Record),
}

/// Produced by [`Fetched::hash_and_compare`].
#[must_use]
struct Compared {
    charged: Charged,
    /// `None`: unknown user or wrong password, nothing tells which.
    proof: Option<Proof>,
    /// By which the password is known when it comes again, where the policy asks for that.
    mark: Option<u64>,
}

/// Produced by [`Compared::settle`], or by [`Candidate::admit`] and [`Admitted::await_slot`] for what they
/// refuse.
#[must_use]
struct Settled {
    /// `None`: nothing could be recorded, and nothing was hashed.
    conclusion: Option<Conclusion>,
    outcome: Outcome,
}

/// Produced by [`Settled::audit`]: what may be answered.
// As `Target`: taken apart as soon as it is made.
#[allow(clippy::large_enum_variant)]
#[must_use]
pub enum Outcome {
    /// Anything but yes.
    Denied(Denial),
    /// The right password of an existing account, and good for its purpose.
    Right(Proof),
}

/// Somebody knows the password of this account. Only [`attempt`] makes one, and replacing a password
/// by its owner takes one.
#[must_use]
pub struct Proof {
    user: UserId,
    password: Password,
    record: Record,
    stored: Secret,
    row: Credential,
    client: Option<IpAddr>,
    purpose: Purpose,
    /// What the account makes of it.
    worth: Result<(), Reason>,
}

impl Request {
    pub fn new(
        user: UserId,
        submitted: Submitted,
        client: Option<IpAddr>,
        purpose: Purpose,
    ) -> Self {
        Self { user, claim: Claim::Submitted(submitted), client, purpose }
    }

    fn normalize(self) -> Candidate {
        let Self { user, claim, client, purpose } = self;
        let password = match claim {
            Claim::Submitted(submitted) => Password::normalize(submitted).ok(),
            Claim::Normalized(password) => Some(password),
        };
        Candidate { user, password, client, purpose }
    }
}

impl Candidate {
    fn admit(self) -> Result<Result<Admitted, Settled>, Error> {
        let Self { user, password, client, purpose } = self;
        let action = match purpose {
            Purpose::LogIn => Action::Validate,
            Purpose::Change => Action::Prove,
        };
        Ok(match (throttle::admit(action, Some(&user), client, password.is_some())?, password) {
            (Admission::Granted(charged), Some(password)) => {
                Ok(Admitted { user, password, client, purpose, charged })
            }
            (Admission::Refused(conclusion, denial), _) => {
                Err(Settled { conclusion: Some(conclusion), outcome: Outcome::Denied(denial) })
            }
            (Admission::Busy | Admission::Granted(_), _) => {
                let denial = Denial::because(Reason::Busy);
                Err(Settled { conclusion: None, outcome: Outcome::Denied(denial) })
            }
        })
    }
}

impl Admitted {
    fn await_slot(self) -> Result<Result<Ready, Settled>, Error> {
        let (start, deadline) = (Instant::now(), self.charged.deadline());
        let mut opened: Option<Store> = None;
        loop {
            let slot = HashSlot::take(deadline);
            statistics::count_slot_time(start.elapsed());
            let Some(slot) = slot else { return Ok(Err(self.busy())) };
            let store = match opened.take() {
                None => Store::open_at_once(Access::Read)?,
                opened => opened,
            };
            if let Some(store) = store {
                return Ok(Ok(Ready { admitted: self, slot, store }));
            }
            // Somebody has locked a table, as VACUUM FULL does. Nobody waits for that in a slot. Once it
            // is open it stays so: the second round is the last.
            drop(slot);
            opened = match Store::open_by(Access::Read, deadline) {
                Err(Error::Locked) => return Ok(Err(self.busy())),
                store => Some(store?),
            };
        }
    }

    fn busy(self) -> Settled {
        let conclusion = Some(self.charged.withdraw(Reason::Busy));
        Settled { conclusion, outcome: Outcome::Denied(Denial::because(Reason::Busy)) }
    }
}

impl Ready {
    fn fetch(self) -> Result<Fetched, Error> {
        let Self { admitted, slot, store } = self;
        let target = Target::find(&store, &admitted.user)
            .inspect_err(|why| admitted.charged.note_error(*why))?;
        Ok(Fetched { admitted, slot, target })
    }
}

impl Target {
    fn find(store: &Store, user: &UserId) -> Result<Self, Error> {
        let (limit, current) = (settings::hash_memory_limit(), settings::cost()?);
        // Looked for and read whether it is used or not, so that nothing tells.
        let today = || Record::Argon2id(Verifier::decoy(current));
        let decoy = match store.decoy(user)?.map(|template| Record::parse(&template, limit)) {
            // A template that is broken is nobody's record.
            None | Some(Err(NotAVerifier::Malformed)) => Ok(today()),
            Some(decoy) => decoy,
        };
        Ok(match store.find(user)? {
            Found::Own(row) => {
                let stored = row.open()?;
                let record = Record::parse(stored.expose(), limit)
                    .map_err(|why| Error::stored(why, row.number))?;
                Self::Own { record, stored, row }
            }
            Found::Neighbour(row) => {
                // A key that is missing is everybody's trouble: nothing tells who has a record.
                if let Err(error @ (Error::UnknownKey(_) | Error::OtherKey(_))) = row.open() {
                    return Err(error);
                }
                // One that asks for too much errs as those do that it stands for.
                Self::Decoy(decoy.map_err(|why| Error::stored(why, store.place(user)))?)
            }
            Found::Nothing => {
                Self::Decoy(decoy.map_err(|why| Error::stored(why, store.place(user)))?)
            }
        })
    }

    fn record(&self) -> &Record {
        match self {
            Self::Own { record, .. } | Self::Decoy(record) => record,
        }
    }
}

impl Fetched {
    fn hash_and_compare(self) -> Result<Compared, Error> {
        let Self { admitted, mut slot, target } = self;
        let Admitted { user, password, client, purpose, charged } = admitted;
        let start = Instant::now();
        let mut workspace = slot.workspace(target.record().cost())?;
        charged.begin_hash();
        let comparison = target.record().compare(&password, user.as_str(), &mut workspace)?;
        let right = comparison.is_right();
        let mark = charged.mark(&comparison);
        drop(comparison);
        let proof = match target {
            Target::Own { record, stored, row } if right => {
                let account = row.account()?;
                let worth = match purpose {
                    Purpose::LogIn => account.may_log_in(session::now()),
                    Purpose::Change => account.may_change(session::now()),
                };
                Some(Proof { user, password, record, stored, row, client, purpose, worth })
            }
            Target::Own { .. } | Target::Decoy(_) => None,
        };
        statistics::count_hash(start.elapsed());
        Ok(Compared { charged, proof, mark })
    }
}

impl Compared {
    fn settle(self) -> Settled {
        let Self { charged, proof, mark } = self;
        let (conclusion, answer) = charged.settle(proof.as_ref().map(|proof| proof.worth), mark);
        let outcome = match (answer, proof) {
            (Ok(()), Some(proof)) => Outcome::Right(proof),
            (Err(denial), _) => Outcome::Denied(denial),
            (Ok(()), None) => Outcome::Denied(Denial::wrong()),
        };
        Settled { conclusion: Some(conclusion), outcome }
    }
}

impl Settled {
    fn audit(self) -> Result<Outcome, Error> {
        match self.conclusion {
            Some(conclusion) => audit::wait(&conclusion)?,
            None => statistics::count_unrecorded(),
        }
        Ok(self.outcome)
    }
}

impl Proof {
    /// Is this the password that was proven?
    pub fn is_of(&self, password: &Password) -> bool {
        self.password.same_as(password)
    }

    /// The request for an attempt with the same password, against the record as it is by then.
    pub fn again(self) -> Request {
        let Self { user, password, client, purpose, .. } = self;
        Request { user, claim: Claim::Normalized(password), client, purpose }
    }

    /// Puts another password in the place of the one that was proven: [`Written::Done`], or
    /// [`Written::Unchanged`] where the record has been changed since; an attempt [`Proof::again`]
    /// tells what that means.
    ///
    /// # Errors
    /// What [`Store::edit`] says.
    pub fn replace(&self, verifier: &Verifier, patience: Duration) -> Result<Written, Error> {
        let now = session::now();
        self.rewrite(patience, |row| {
            row.replace(verifier.expose(), now, settings::history())?;
            row.terms = Terms::default();
            Ok(())
        })
    }

    /// Makes the record anew where it is weaker than today's settings, or another system's, for the worker to write:
    /// the caller's transaction may be read-only, and may stay open for as long as it likes. The answer does
    /// not depend on it.
    fn renew_if_weak(&self) -> Result<(), Error> {
        let current = settings::cost()?;
        let Some(renewal) = self.record.renewal(&self.password, current) else { return Ok(()) };
        if session::in_recovery() {
            return Ok(());
        }
        let Some(mut slot) = HashSlot::take(Instant::now() + settings::queue_timeout()) else {
            return Ok(());
        };
        let mut workspace = slot.workspace(Some(current))?;
        let (user, salt) = (self.user.as_str(), salt::random()?);
        let renewed = renewal.make(&self.password, user, current, salt, &mut workspace)?;
        drop((workspace, slot));
        let (replaces, text) = self.row.renewal(&renewed.expose())?;
        renewals::offer(&self.user, replaces, &text)
    }

    /// Changes the record if it is still the one that the password was proven against.
    fn rewrite(
        &self,
        patience: Duration,
        change: impl Fn(&mut Credential) -> Result<(), Error>,
    ) -> Result<Written, Error> {
        let store = Store::open_by(Access::Write, Instant::now() + patience)?;
        store.edit(&self.user, patience, |row| {
            if !row.open()?.same_as(&self.stored) {
                return Ok(Edit::Keep);
            }
            change(row)?;
            Ok(Edit::Replace)
        })
    }
}

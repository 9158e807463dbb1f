//! The gate: the only way to test a secret.
//!
//! [`attempt`] reads top to bottom, and each stage consumes what the stage before it produced: the fields
//! are private to this file and nothing here can be cloned, so leaving a stage out does not compile. What
//! is particular to a secret is an [`Authenticator`], one file of this folder each.

use std::time::Instant;

use password_verify_core::rules::authenticator::{Purpose, Work};
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use crate::answer::{Denial, Stop};
use crate::error::Error;
use crate::gate::bench::Bench;
use crate::gate::charge::{Charged, Entered};
use crate::gate::claim::{Claimant, Ended};
use crate::pg::heap::lock::Access;
use crate::pg::session::attempt::Conclusion;
use crate::pg::session::slot::HashSlot;
use crate::pg::session::statistics;
use crate::pg::vault::store::Store;

pub mod audit;
mod bench;
pub mod budgets;
mod charge;
mod claim;
pub mod former_passwords;
pub mod password;
pub mod reset_token;

/// The way of an attempt.
///
/// # Errors
/// [`Stop::Denied`] for anything but the right secret of somebody who may use it.
pub fn attempt<A: Authenticator>(claim: Claim<A>) -> Result<A::Proof, Stop> {
    let way = || {
        // audit: the place of its event is reserved, or nothing happens.
        let entered = claim.enter()?;
        // policy: what is too long, or no text, is nobody's secret. It is recorded, not tested.
        let candidate = entered.require_possible()?;
        // throttle: charged here, before any work.
        let admitted = candidate.charge()?;
        // slots: it waits here, for a bounded time, for the right to hash and for the tables.
        let ready = admitted.wait()?;
        // store: what the secret is compared with, or for an unknown user a decoy of the same cost.
        let fetched = ready.fetch()?;
        // test: in constant time. Then the slot is somebody else's.
        let tested = fetched.test()?;
        // settle: a right answer refunds the charge. Nothing else does.
        Ok(tested.settle())
    };
    // audit: the event is committed here, before the answer leaves.
    Settled::or_ended(way())?.audit()
}

/// What is particular to a secret: what it is compared with, and how. Who pays for it, and what a right
/// one is worth, is in the table of [`Purpose::row`].
pub trait Authenticator {
    /// What it is compared with.
    type Target;
    /// What a right one proves. Nothing else makes one.
    type Proof;

    /// Finds what to compare with, in steps and at a cost that do not tell whether there is anything.
    ///
    /// # Errors
    /// What a stored record that cannot be read ends in.
    fn find(&self, store: &Store) -> Result<Self::Target, Error>;

    /// Compares.
    ///
    /// # Errors
    /// [`Reason::Busy`] where it had to wait for too long.
    fn test(self, target: Self::Target, bench: &mut Bench) -> Result<Verdict<Self::Proof>, Stop>;

    /// Whose secret it was.
    fn owner(proof: &Self::Proof) -> &UserId;
}

/// What came of comparing.
pub enum Verdict<P> {
    /// It is the right one, and that is what the account makes of it.
    Right(P, Result<(), Reason>),
    /// It is not: unknown user and wrong secret alike. By the mark it is known when it comes again, where
    /// the policy asks for that.
    Wrong(Option<u64>),
}

/// Requires: arguments. Produces: an attempt that nothing has happened to yet.
#[must_use]
pub struct Claim<A> {
    purpose: Purpose,
    claimant: Claimant,
    /// `None`: it cannot be anybody's.
    secret: Option<A>,
}

/// Produced by [`Claim::enter`]: has a place in the audit.
#[must_use]
struct Arrived<A> {
    claim: Claim<A>,
    entered: Entered,
}

/// Produced by [`Arrived::require_possible`]: could be somebody's.
#[must_use]
struct Candidate<A> {
    claimant: Claimant,
    secret: A,
    entered: Entered,
}

/// Produced by [`Candidate::charge`]: paid for.
#[must_use]
struct Admitted<A> {
    secret: A,
    charged: Charged,
}

/// Produced by [`Admitted::wait`]: may be tested now.
#[must_use]
struct Ready<A> {
    secret: A,
    charged: Charged,
    slot: Option<HashSlot>,
    store: Store,
}

/// Produced by [`Ready::fetch`]: the secret, and what to compare it with.
#[must_use]
struct Fetched<A: Authenticator> {
    secret: A,
    charged: Charged,
    slot: Option<HashSlot>,
    target: A::Target,
}

/// Produced by [`Fetched::test`].
#[must_use]
struct Tested<A: Authenticator> {
    charged: Charged,
    verdict: Result<Verdict<A::Proof>, Denial>,
}

/// Produced by [`Tested::settle`], and by what ends an attempt before.
#[must_use]
struct Settled<P> {
    /// `None`: nothing could be recorded, and nothing was tested.
    conclusion: Option<Conclusion>,
    answer: Result<P, Denial>,
}

impl<A: Authenticator> Claim<A> {
    fn enter(self) -> Result<Arrived<A>, Ended> {
        let entered = Entered::begin(self.purpose, &self.claimant)?;
        Ok(Arrived { claim: self, entered })
    }
}

impl<A: Authenticator> Arrived<A> {
    fn require_possible(self) -> Result<Candidate<A>, Ended> {
        let Self { claim: Claim { claimant, secret, .. }, entered } = self;
        match secret {
            Some(secret) => Ok(Candidate { claimant, secret, entered }),
            None => Err(entered.refuse_impossible()),
        }
    }
}

impl<A: Authenticator> Candidate<A> {
    fn charge(self) -> Result<Admitted<A>, Ended> {
        let Self { claimant, secret, entered } = self;
        Ok(Admitted { secret, charged: entered.charge(&claimant)? })
    }
}

impl<A: Authenticator> Admitted<A> {
    fn wait(self) -> Result<Ready<A>, Ended> {
        let Self { secret, charged } = self;
        match wait(charged.work(), charged.deadline()) {
            Ok((slot, store)) => Ok(Ready { secret, charged, slot, store }),
            Err(Stop::Denied(Denial { reason, .. })) => Err(charged.withdraw(reason)),
            Err(Stop::Failed(error)) => Err(error.into()),
        }
    }
}

/// A slot, and the tables.
fn wait(work: Work, deadline: Instant) -> Result<(Option<HashSlot>, Store), Stop> {
    let open_by = || match Store::open_by(Access::Read, deadline) {
        Err(Error::Locked) => Err(Stop::from(Reason::Busy)),
        store => Ok(store?),
    };
    if work == Work::LookUp {
        return Ok((None, open_by()?));
    }
    let start = Instant::now();
    let mut opened: Option<Store> = None;
    loop {
        let slot = HashSlot::take(deadline);
        statistics::count_slot_time(start.elapsed());
        let slot = slot.ok_or(Reason::Busy)?;
        let store = match opened.take() {
            None => Store::open_at_once(Access::Read)?,
            opened => opened,
        };
        if let Some(store) = store {
            return Ok((Some(slot), store));
        }
        // Another session has locked a table, as VACUUM FULL does. Nobody waits for that in a slot. Once
        // it is open it stays so: the second round is the last.
        drop(slot);
        opened = Some(open_by()?);
    }
}

impl<A: Authenticator> Ready<A> {
    fn fetch(self) -> Result<Fetched<A>, Ended> {
        let Self { secret, charged, slot, store } = self;
        let target = secret.find(&store).inspect_err(|why| charged.note_error(*why))?;
        Ok(Fetched { secret, charged, slot, target })
    }
}

impl<A: Authenticator> Fetched<A> {
    fn test(self) -> Result<Tested<A>, Ended> {
        let Self { secret, charged, slot, target } = self;
        let verdict = match secret.test(target, &mut Bench::new(&charged, slot)) {
            Ok(verdict) => Ok(verdict),
            Err(Stop::Denied(denial)) => Err(denial),
            Err(Stop::Failed(error)) => return Err(error.into()),
        };
        Ok(Tested { charged, verdict })
    }
}

impl<A: Authenticator> Tested<A> {
    fn settle(self) -> Settled<A::Proof> {
        let Self { charged, verdict } = self;
        match verdict {
            Ok(Verdict::Right(proof, worth)) => {
                let (conclusion, answer) = charged.settle_right(A::owner(&proof), worth);
                Settled { conclusion: Some(conclusion), answer: answer.map(|()| proof) }
            }
            Ok(Verdict::Wrong(mark)) => Settled::refused(charged.settle_wrong(mark)),
            Err(denial) => Settled::refused(charged.settle_unfinished(denial)),
        }
    }
}

impl<P> Settled<P> {
    fn refused((conclusion, denial): (Conclusion, Denial)) -> Self {
        Self { conclusion: Some(conclusion), answer: Err(denial) }
    }

    fn or_ended(settled: Result<Self, Ended>) -> Result<Self, Error> {
        match settled {
            Ok(settled) => Ok(settled),
            Err(Ended::Refused(conclusion, denial)) => Ok(Self { conclusion, answer: Err(denial) }),
            Err(Ended::Failed(error)) => Err(error),
        }
    }

    fn audit(self) -> Result<P, Stop> {
        match self.conclusion {
            Some(conclusion) => audit::wait(&conclusion)?,
            None => statistics::count_unrecorded(),
        }
        Ok(self.answer?)
    }
}

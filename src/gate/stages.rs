//! The stages of an attempt. Each type has private fields and no `Clone`, and only the stage before
//! makes it.

use std::time::Instant;

use password_verify_core::rules::purpose::{Purpose, Work};
use password_verify_core::rules::reason::Reason;

use super::audit;
use super::authenticators::{Authenticator, Verdict};
use super::charge::{Charged, Entered};
use super::claim::{Claimant, Ended};
use super::hasher::Hasher;
use crate::answer::{Denial, Stop};
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::session::attempt::Conclusion;
use crate::pg::session::slot::HashSlot;
use crate::pg::session::statistics;
use crate::pg::vault::store::Store;

/// An attempt before its first stage.
#[must_use]
pub struct Claim<A> {
    purpose: Purpose,
    claimant: Claimant,
    /// `None`: no user can have such a secret.
    secret: Option<A>,
}

/// Produced by [`Claim::enter`]: the attempt has a place in the audit.
#[must_use]
pub struct Arrived<A> {
    claim: Claim<A>,
    entered: Entered,
}

/// Produced by [`Arrived::require_possible`]: the secret has a possible form.
#[must_use]
pub struct Candidate<A> {
    claimant: Claimant,
    secret: A,
    entered: Entered,
}

/// Produced by [`Candidate::charge`]: the attempt is charged.
#[must_use]
pub struct Admitted<A> {
    secret: A,
    charged: Charged,
}

/// Produced by [`Admitted::wait`]: the secret may be tested now.
#[must_use]
pub struct Ready<A> {
    secret: A,
    charged: Charged,
    slot: Option<HashSlot>,
    store: Store,
}

/// Produced by [`Ready::fetch`]: the secret and its target.
#[must_use]
pub struct Fetched<A: Authenticator> {
    secret: A,
    charged: Charged,
    slot: Option<HashSlot>,
    target: A::Target,
}

/// Produced by [`Fetched::test`]: the verdict, not yet settled.
#[must_use]
pub struct Tested<A: Authenticator> {
    charged: Charged,
    verdict: Result<Verdict<A::Proof>, Denial>,
}

/// Produced by [`Tested::settle`], or by an attempt that ended early.
#[must_use]
pub struct Settled<P> {
    /// `None`: no place in the audit came free, and nothing was tested.
    conclusion: Option<Conclusion>,
    answer: Result<P, Denial>,
}

impl<A> Claim<A> {
    /// `secret`: `None` if no user can have such a secret.
    pub(super) fn new(purpose: Purpose, claimant: Claimant, secret: Option<A>) -> Self {
        Self { purpose, claimant, secret }
    }
}

impl<A: Authenticator> Claim<A> {
    pub(super) fn enter(self) -> Result<Arrived<A>, Ended> {
        let entered = Entered::begin(self.purpose, &self.claimant)?;
        Ok(Arrived { claim: self, entered })
    }
}

impl<A: Authenticator> Arrived<A> {
    pub(super) fn require_possible(self) -> Result<Candidate<A>, Ended> {
        let Self { claim: Claim { claimant, secret, .. }, entered } = self;
        match secret {
            Some(secret) => Ok(Candidate { claimant, secret, entered }),
            None => Err(entered.refuse_impossible()),
        }
    }
}

impl<A: Authenticator> Candidate<A> {
    pub(super) fn charge(self) -> Result<Admitted<A>, Ended> {
        let Self { claimant, secret, entered } = self;
        Ok(Admitted { secret, charged: entered.charge(&claimant)? })
    }
}

impl<A: Authenticator> Admitted<A> {
    pub(super) fn wait(self) -> Result<Ready<A>, Ended> {
        let Self { secret, charged } = self;
        match wait(charged.work(), charged.deadline()) {
            Ok((slot, store)) => Ok(Ready { secret, charged, slot, store }),
            Err(Stop::Denied(Denial { reason, .. })) => Err(charged.withdraw(reason)),
            Err(Stop::Failed(error)) => Err(error.into()),
        }
    }
}

/// Opens the tables, or answers `busy`.
pub(super) fn open_by(deadline: Instant) -> Result<Store, Stop> {
    match Store::open_by(Access::Read, deadline) {
        Err(Error::Locked) => Err(Reason::Busy.into()),
        store => Ok(store?),
    }
}

/// Waits for a hash slot, if the work takes one, and for the tables.
fn wait(work: Work, deadline: Instant) -> Result<(Option<HashSlot>, Store), Stop> {
    if work == Work::LookUp {
        return Ok((None, open_by(deadline)?));
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
        // Another session has locked a table, as VACUUM FULL does: free the slot before waiting for
        // it. Once opened, the table stays open, so the second round is the last.
        drop(slot);
        opened = Some(open_by(deadline)?);
    }
}

impl<A: Authenticator> Ready<A> {
    pub(super) fn fetch(self) -> Result<Fetched<A>, Ended> {
        let Self { secret, charged, slot, store } = self;
        match secret.find(&store) {
            Ok(target) => Ok(Fetched { secret, charged, slot, target }),
            // Another table than those of the store is locked.
            Err(Error::Locked) => Err(charged.withdraw(Reason::Busy)),
            Err(why) => {
                charged.note_error(why);
                Err(why.into())
            }
        }
    }
}

impl<A: Authenticator> Fetched<A> {
    pub(super) fn test(self) -> Result<Tested<A>, Ended> {
        let Self { secret, charged, slot, target } = self;
        let verdict = match secret.test(target, &mut Hasher::new(&charged, slot)) {
            Ok(verdict) => Ok(verdict),
            Err(Stop::Denied(denial)) => Err(denial),
            Err(Stop::Failed(error)) => {
                charged.note_error(error);
                return Err(error.into());
            }
        };
        Ok(Tested { charged, verdict })
    }
}

impl<A: Authenticator> Tested<A> {
    pub(super) fn settle(self) -> Settled<A::Proof> {
        let Self { charged, verdict } = self;
        match verdict {
            Ok(Verdict::Right(proof, worth)) => {
                let note = |event: &mut _| A::note(&proof, event);
                let (conclusion, answer) = charged.settle_right(A::owner(&proof), worth, note);
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

    pub(super) fn or_ended(settled: Result<Self, Ended>) -> Result<Self, Error> {
        match settled {
            Ok(settled) => Ok(settled),
            Err(Ended::Refused(conclusion, denial)) => Ok(Self { conclusion, answer: Err(denial) }),
            Err(Ended::Failed(error)) => Err(error),
        }
    }

    pub(super) fn audit(self) -> Result<P, Stop> {
        match self.conclusion {
            Some(conclusion) => audit::wait(&conclusion)?,
            None => statistics::count_unrecorded(),
        }
        Ok(self.answer?)
    }
}

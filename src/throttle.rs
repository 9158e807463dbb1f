//! Whether a password may be tried at all. Charged before any hashing, at every entry point alike.

use std::time::{Duration, Instant};

use core::net::IpAddr;

use password_verify_core::account::Timestamp;
use password_verify_core::client_addr::ClientAddr;
use password_verify_core::event::{Action, Outcome};
use password_verify_core::reason::Reason;
use password_verify_core::repeat::Comparison;
use password_verify_core::throttle::Verdict;
use password_verify_core::user_id::UserId;

use crate::error::Error;
use crate::pg::carried;
use crate::pg::extension;
use crate::pg::held::{Attempt, Conclusion};
use crate::pg::key::ActiveKey;
use crate::pg::ledger::Ledger;
use crate::pg::session;
use crate::pg::shared::budgets::{self, Place, Stored};
use crate::pg::shared::segment;
use crate::pg::statistics;
use crate::pg::table::Access;
use crate::{audit, settings};
use password_verify_core::throttle::Payer;

/// Tells budgets for reset tokens from those for passwords.
const TOKENS: &[u8] = b"tokens";

/// May it be tried?
// Taken apart as soon as it is made: boxing it would only cost an allocation.
#[allow(clippy::large_enum_variant)]
#[must_use]
pub enum Admission {
    /// It is charged.
    Granted(Charged),
    /// It is not hashed.
    Refused(Conclusion, Denial),
    /// It waited for others, or for the worker, for as long as it may.
    Busy,
}

/// Why an attempt was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// What the caller is told.
    pub reason: Reason,
    /// From when on it makes sense to try again.
    pub until: Option<Timestamp>,
}

/// An attempt that is paid for.
#[must_use]
pub struct Charged {
    attempt: Attempt,
    /// Until when it may wait for what it needs besides.
    deadline: Instant,
    /// Set where the account or the caller has nothing left and the client's own small budget has paid.
    second_chance: Option<SecondChance>,
}

/// Everybody who names an address gets as many hashes by it, whether the address is known to the account
/// or not, and the same answer; only for a known one does a right password count. Otherwise the
/// application could learn from a hash, or from an answer, who has logged in from where.
struct SecondChance {
    known: bool,
    refusal: Denial,
}

impl Denial {
    /// Somebody's password, but not this one.
    pub fn wrong() -> Self {
        Self::because(Reason::InvalidCredentials)
    }

    pub fn because(reason: Reason) -> Self {
        Self { reason, until: None }
    }

    fn by(payer: Payer, verdict: Verdict) -> Self {
        match verdict {
            // Nothing that time changes: the next change of the password, or whoever unlocks.
            Verdict::Locked if payer == Payer::Comparison => Self::because(Reason::Throttled),
            Verdict::Refused { until } => Self { reason: Reason::Throttled, until: Some(until) },
            Verdict::Locked => Self::because(Reason::Locked),
            Verdict::Admitted | Verdict::Wait => Self::because(Reason::Busy),
        }
    }
}

/// Charges an attempt, and reserves its place in the audit. `None` for `impossible` passwords: what is
/// recorded but not charged, because it is not hashed. Without a user only client and caller are charged.
///
/// # Errors
/// [`Error::StandbyValidation`], [`Error::JustInstalled`], [`Error::NotInstalled`],
/// [`Error::TooManyDatabases`].
pub fn admit(
    action: Action,
    user: Option<&UserId>,
    client: Option<IpAddr>,
    possible: bool,
) -> Result<Admission, Error> {
    if session::in_recovery() && !settings::standby_validation() {
        return Err(Error::StandbyValidation);
    }
    extension::require_not_new()?;
    let start = Instant::now();
    let deadline = start + settings::queue_timeout();
    match extension::require_recordable(deadline) {
        Err(Error::Locked) => return Ok(Admission::Busy),
        recordable => recordable?,
    }
    let record = audit::record(action, user, client);
    let Some(attempt) = Attempt::begin(record, settings::throttle(), deadline)? else {
        return Ok(Admission::Busy);
    };
    if !possible {
        let denial = Denial::wrong();
        return Ok(Admission::Refused(attempt.refuse(Outcome::InvalidCredentials), denial));
    }
    if !pin_all(&attempt, user, client, deadline)? {
        return Ok(refuse(attempt, Denial::because(Reason::Busy)));
    }
    let admission = charge_all(attempt, user.is_some() && client.is_some(), deadline);
    statistics::count_queue_time(start.elapsed());
    Ok(admission)
}

/// Charges the comparison of a new password with those that the account has or had, and reserves its place in
/// the audit. To the account only: whoever gets here has proven a password or a token, which was charged to
/// client and caller.
///
/// # Errors
/// [`Error::JustInstalled`], [`Error::NotInstalled`], [`Error::TooManyDatabases`].
pub fn admit_comparison(user: &UserId, client: Option<IpAddr>) -> Result<Admission, Error> {
    extension::require_not_new()?;
    let deadline = Instant::now() + settings::queue_timeout();
    let record = audit::record(Action::Compare, Some(user), client);
    let Some(attempt) = Attempt::begin(record, settings::throttle(), deadline)? else {
        return Ok(Admission::Busy);
    };
    let key = ActiveKey::read()?.key.budget(Payer::Comparison as u8, &[], Some(user));
    if !attempt.pin(Payer::Comparison, &key, deadline, || load(key))? {
        return Ok(refuse(attempt, Denial::because(Reason::Busy)));
    }
    Ok(charge_all(attempt, false, deadline))
}

/// Brings every budget of the attempt into the cache and keeps it there.
fn pin_all(
    attempt: &Attempt,
    user: Option<&UserId>,
    client: Option<IpAddr>,
    deadline: Instant,
) -> Result<bool, Error> {
    let key = match ActiveKey::read_by(deadline) {
        Err(Error::Locked) => return Ok(false),
        read => read?.key,
    };
    let rules = settings::throttle();
    let mut client = client.map(|addr| ClientAddr::from(addr).to_bytes().to_vec());
    let mut caller = session::login_role().to_be_bytes().to_vec();
    if user.is_none() {
        // Budgets of their own: a wrong token costs nothing, so it must not use up what logins have.
        client.iter_mut().chain([&mut caller]).for_each(|about| about.extend(TOKENS));
    }
    let mut payers: Vec<(Payer, &[u8], Option<&UserId>)> = Vec::with_capacity(5);
    if user.is_some() {
        payers.push((Payer::Account, &[][..], user));
    }
    if let Some(client) = &client {
        if user.is_some() {
            payers.push((Payer::Known, client, user));
            payers.push((Payer::Chance, client, user));
        }
        payers.push((Payer::Client, client, None));
    }
    if rules.caller.burst > 0 {
        payers.push((Payer::Caller, &caller, None));
    }
    for (payer, about, user) in payers {
        let key = key.budget(payer as u8, about, user);
        let load = || Ledger::open_by(Access::Read, deadline)?.read(key);
        match attempt.pin(payer, &key, deadline, load) {
            Ok(true) => {}
            Ok(false) | Err(Error::Locked) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Charges them all or none, and waits where only attempts in flight stand in the way.
fn charge_all(attempt: Attempt, has_address: bool, deadline: Instant) -> Admission {
    loop {
        match try_charge(&attempt, has_address) {
            Ok(second_chance) => {
                return Admission::Granted(Charged { attempt, deadline, second_chance });
            }
            Err(Hindrance::Refused(denial)) => return refuse(attempt, denial),
            Err(Hindrance::InFlight(payer)) => {
                attempt.withdraw();
                if Instant::now() >= deadline {
                    return refuse(attempt, Denial::because(Reason::Busy));
                }
                attempt.await_others(payer, deadline);
            }
        }
    }
}

enum Hindrance {
    /// Over budget because of this one's attempts in flight.
    InFlight(Payer),
    Refused(Denial),
}

fn try_charge(attempt: &Attempt, has_address: bool) -> Result<Option<SecondChance>, Hindrance> {
    let mut refusal: Option<Denial> = None;
    for payer in [Payer::Client, Payer::Account, Payer::Caller, Payer::Comparison] {
        match attempt.charge(payer) {
            Verdict::Admitted => {}
            Verdict::Wait => return Err(Hindrance::InFlight(payer)),
            verdict if payer == Payer::Client || !has_address => {
                return Err(Hindrance::Refused(Denial::by(payer, verdict)));
            }
            // Of two, the one that lasts: an account may be locked.
            verdict => refusal = refusal.or(Some(Denial::by(payer, verdict))),
        }
    }
    let Some(refusal) = refusal else { return Ok(None) };
    // The account is not charged for what may not count: its owner may be trying from somewhere new.
    attempt.withdraw_one(Payer::Account);
    match attempt.charge(Payer::Chance) {
        Verdict::Admitted => {
            let now = session::now();
            let known = attempt.budget(Payer::Known).is_some_and(|budget| budget.is_known(now));
            Ok(Some(SecondChance { known, refusal }))
        }
        Verdict::Wait => Err(Hindrance::InFlight(Payer::Chance)),
        Verdict::Refused { .. } | Verdict::Locked => Err(Hindrance::Refused(refusal)),
    }
}

fn refuse(attempt: Attempt, denial: Denial) -> Admission {
    Admission::Refused(attempt.refuse(denial.reason.into()), denial)
}

impl Charged {
    /// Until when it may wait for a hash slot.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// From here on it is a guess: whatever ends it, it stays charged. What ends before costs nothing.
    pub fn begin_hash(&self) {
        self.attempt.begin_hash();
    }

    /// It ends in an error. One that comes from a record tells something of its user, like a hash: it stays
    /// charged.
    pub fn note_error(&self, why: Error) {
        if why.is_of_a_record() {
            self.begin_hash();
        }
    }

    /// Nothing will be hashed for it: it gets back what it has paid.
    pub fn withdraw(self, reason: Reason) -> Conclusion {
        self.attempt.refuse(reason.into())
    }

    /// Settles the charge for a reset token: whose it is, or nobody's.
    pub fn settle_token(self, user: Option<&UserId>) -> Conclusion {
        let outcome = if user.is_some() { Outcome::Valid } else { Outcome::InvalidToken };
        if let Some(user) = user {
            self.attempt.name_user(user);
        }
        self.attempt.settle(outcome, user.is_some())
    }

    /// Settles the charge for a comparison, which stays: `Err` is [`Reason::Reused`], or
    /// [`Reason::Busy`] where not all could be compared.
    pub fn settle_comparison(self, answer: Result<(), Reason>) -> Conclusion {
        self.attempt.settle(answer.map_or_else(Outcome::from, |()| Outcome::Valid), true)
    }

    /// By which a wrong password is known again, where the policy forgives repeats. Made for every user and
    /// address, known or not, which takes as long.
    pub fn mark(&self, comparison: &Comparison) -> Option<u64> {
        settings::throttle_forgive_repeats().then(|| comparison.mark(segment::repeat_key()))
    }

    /// Settles the charge: a right password gets back what it cost, a wrong one does not. `verdict` is
    /// what a right password is worth here; `None` means that it was not right.
    pub fn settle(
        self,
        worth: Option<Result<(), Reason>>,
        mark: Option<u64>,
    ) -> (Conclusion, Result<(), Denial>) {
        let Self { attempt, second_chance, .. } = self;
        if let (None, Some(mark)) = (worth, mark) {
            attempt.forgive_repeat(mark);
        }
        let (right, answer) = match (worth, second_chance) {
            (Some(worth), None | Some(SecondChance { known: true, .. })) => {
                (true, worth.map_err(Denial::because))
            }
            (None, None) => (false, Err(Denial::wrong())),
            (_, Some(SecondChance { refusal, .. })) => (false, Err(refusal)),
        };
        if right && answer.is_ok() {
            attempt.remember_client();
        }
        let outcome = match &answer {
            Ok(()) => Outcome::Valid,
            Err(denial) => denial.reason.into(),
        };
        (attempt.settle(outcome, right), answer)
    }
}

/// What a change ends for its user when it commits. Whoever knows the old password has already ended what was
/// held against the account, unless it was by the client's own attempts, which leave it waiting for others.
pub fn cleared_by(action: Action) -> &'static [Payer] {
    match action {
        Action::Create | Action::Set | Action::Reset | Action::Unlock => {
            &[Payer::Account, Payer::Comparison]
        }
        Action::Change | Action::Delete => &[Payer::Comparison],
        _ => &[],
    }
}

/// Which budgets of a user have something in them. What is charged but not settled is not in them yet.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn charged(user: &UserId, payers: &[Payer]) -> Result<Vec<(Payer, budgets::Key)>, Error> {
    let active = ActiveKey::read()?.key;
    let mut charged = Vec::with_capacity(payers.len());
    for payer in payers {
        let key = active.budget(*payer as u8, &[], Some(user));
        let budget = match budgets::glance(session::database(), &key) {
            Some(budget) => Some(budget),
            None => load(key)?.map(|stored| stored.budget),
        };
        if budget.is_some_and(|budget| budget.count > 0) {
            charged.push((*payer, key));
        }
    }
    Ok(charged)
}

/// What is charged to a user is charged to another id as well, at once: which budgets are to be written.
///
/// # Errors
/// What [`carried::carry_over`] says.
pub fn carry_over(old: &UserId, new: &UserId) -> Result<Vec<(Payer, Place)>, Error> {
    let active = ActiveKey::read()?.key;
    let key = |payer: Payer, user| active.budget(payer as u8, &[], Some(user));
    let carry = |(payer, from): (Payer, budgets::Key)| {
        let place = carried::carry_over(payer, [&from, &key(payer, new)], load)?;
        Ok((payer, place))
    };
    charged(old, &[Payer::Account, Payer::Comparison])?.into_iter().map(carry).collect()
}

/// Reads an account's budget from the table.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn load(key: budgets::Key) -> Result<Option<Stored>, Error> {
    Ledger::open(Access::Read)?.read(key)
}

/// How long from now, at least a microsecond.
pub fn wait_from_now(until: Timestamp) -> Duration {
    Duration::from_micros(until.saturating_sub(session::now()).max(1).unsigned_abs())
}

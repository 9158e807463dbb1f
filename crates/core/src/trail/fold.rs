//! Folds repeated events of a flood into counted rows, so that an attacker cannot fill the disk.
//!
//! Folding loses details, but no events: the counts of all rows add up to the number of events.

use std::collections::BTreeMap;

use blake2::Blake2b;
use blake2::digest::{Digest, consts::U16};

use crate::rules::account::Timestamp;
use crate::rules::event::{Action, Event, Outcome, Role};
use crate::trail::chain::put;

/// One second in microseconds.
const SECOND: i64 = 1_000_000;
/// How long repetitions of an event are folded, in microseconds.
pub const WINDOW: i64 = 60 * SECOND;
/// How many rows failures may add at once, beyond one per second.
pub const BURST: i64 = 10_000;
/// How many keys are remembered.
pub const MAX_KEYS: usize = 8192;
/// How many coarse folds may name their login role and its certificate.
pub const MAX_COARSE: usize = 256;

/// What the events of a fold have in common: a hash of action, outcome, user id, client address, login
/// role and certificate. It is the primary key of the table of open folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FoldKey([u8; 16]);

impl FoldKey {
    /// The key of an event, and of the fold that the event belongs to.
    pub fn of(event: &Event) -> Self {
        let mut out = vec![event.action as u8, event.outcome as u8];
        let (subject, serial) = (&event.certificate_subject, &event.certificate_serial);
        for text in [&event.user_id, &event.client_addr, &event.login_role, subject, serial] {
            put(&mut out, text.as_ref());
        }
        Self(Blake2b::<U16>::digest(&out).into())
    }

    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Where an event goes.
// It is taken apart right after it is made: boxing would only cost an allocation.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It gets a row of its own.
    Alone(Event),
    /// It is counted in the open fold with this key.
    Folded(FoldKey),
}

/// The state of folding in one database.
///
/// A new one has a full allowance of [`BURST`] rows.
#[derive(Debug, Default)]
pub struct Folding {
    windows: BTreeMap<FoldKey, Window>,
    /// The number of `windows` whose fold names neither user nor client.
    coarse: usize,
    bucket: Bucket,
    /// When `windows` was last searched for expired ones.
    swept: Option<Timestamp>,
}

/// The state of one key.
#[derive(Debug)]
struct Window {
    /// When an event with this key last got a row of its own.
    opened: Timestamp,
    fold: Option<Fold>,
}

#[derive(Debug)]
struct Fold {
    event: Event,
    /// When its window opened. The window may open again before the fold is taken.
    opened: Timestamp,
    dirty: bool,
}

/// The rows that were allowed, less those that time has given back.
#[derive(Debug, Default)]
struct Bucket {
    /// The microseconds that it takes to give them all back.
    spent: i64,
    /// The time at which `spent` was true.
    at: Timestamp,
}

/// How much of the [`BURST`] is spent, and when that was true. The default: nothing.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// The microseconds that it takes to give all rows back.
    pub spent: i64,
    pub at: Timestamp,
}

impl Folding {
    /// Starts with a full allowance.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with the allowance that another instance has left. An attacker who could cause a new,
    /// full allowance could fill the table.
    pub fn with_allowance(Allowance { spent, at }: Allowance) -> Self {
        Self { bucket: Bucket { spent, at }, ..Self::default() }
    }

    /// The allowance that is left.
    pub const fn allowance(&self) -> Allowance {
        Allowance { spent: self.bucket.spent, at: self.bucket.at }
    }

    /// Decides where an event goes. A folded event has been counted.
    pub fn place(&mut self, event: Event) -> Placed {
        if stands_alone(&event) {
            return Placed::Alone(event);
        }
        let (key, failure) = (FoldKey::of(&event), event.outcome.is_failure());
        let window = self.windows.get(&key).filter(|window| near(window.opened, event.at));
        let repeats = window.is_some();
        if window.is_some_and(|window| window.fold.is_some()) {
            return self.fold(key, event);
        }
        // From here on the event adds a row, if only the row of its fold.
        let room = repeats || self.has_room(event.at);
        if failure && !(room && self.bucket.take(event.at)) {
            return self.fold_coarsely(event);
        }
        if repeats {
            return self.fold(key, event);
        }
        if room {
            self.windows.entry(key).or_insert(Window { opened: 0, fold: None }).opened = event.at;
        }
        Placed::Alone(event)
    }

    /// Like [`Folding::place`], for an attempt that was hashed. Hashes are too slow for a flood,
    /// and a flood of cheap events must not make them anonymous: only their repetitions are folded.
    pub fn place_hashed(&mut self, event: Event) -> Placed {
        if stands_alone(&event) {
            return Placed::Alone(event);
        }
        let key = FoldKey::of(&event);
        if self.windows.get(&key).is_some_and(|window| near(window.opened, event.at)) {
            return self.fold(key, event);
        }
        if self.has_room(event.at) {
            self.windows.entry(key).or_insert(Window { opened: 0, fold: None }).opened = event.at;
        }
        Placed::Alone(event)
    }

    /// Takes the folds whose window is over at `now`, each as one event, oldest first.
    pub fn due(&mut self, now: Timestamp) -> Vec<(FoldKey, Event)> {
        let (mut due, mut coarse) = (Vec::new(), 0);
        self.windows.retain(|&key, window| {
            if let Some(fold) = window.fold.take_if(|fold| !near(fold.opened, now)) {
                due.push((key, fold.event));
            }
            coarse += usize::from(window.is_coarse());
            window.fold.is_some() || near(window.opened, now)
        });
        self.coarse = coarse;
        due.sort_by_key(|(key, event)| (event.since, *key));
        due
    }

    /// Copies the open folds that have changed since the last call.
    pub fn dirty(&mut self) -> Vec<(FoldKey, Event)> {
        let folds = self.windows.iter_mut().filter_map(|(&key, window)| {
            let fold = window.fold.as_mut()?;
            std::mem::take(&mut fold.dirty).then(|| (key, fold.event.clone()))
        });
        folds.collect()
    }

    /// Restores a fold that [`Folding::dirty`] returned. Its window begins with its first event.
    pub fn restore(&mut self, event: Event) {
        let key = FoldKey::of(&event);
        let opened = event.since;
        self.windows.entry(key).or_insert(Window { opened, fold: None });
        self.add(key, event, false);
    }

    /// Copies the open folds about these users.
    pub fn about(&self, users: &[Option<String>]) -> Vec<(FoldKey, Event)> {
        let folds =
            self.windows.iter().filter_map(|(key, window)| Some((*key, window.fold.as_ref()?)));
        let about = folds.filter(|(_, Fold { event, .. })| {
            event.user_id.is_some() && users.contains(&event.user_id)
        });
        about.map(|(key, fold)| (key, fold.event.clone())).collect()
    }

    /// That fold is a row of its own now.
    pub fn close(&mut self, key: FoldKey) {
        if let Some(window) = self.windows.get_mut(&key) {
            self.coarse -= usize::from(window.is_coarse());
            window.fold = None;
        }
    }

    /// Counts an event in the fold of an existing window.
    fn fold(&mut self, key: FoldKey, event: Event) -> Placed {
        self.add(key, event, true);
        Placed::Folded(key)
    }

    /// Counts an event without its user and client.
    fn fold_coarsely(&mut self, mut event: Event) -> Placed {
        event.user_id = None;
        event.client_addr = None;
        let mut key = FoldKey::of(&event);
        let open = self.windows.get(&key).is_some_and(|window| window.fold.is_some());
        if !open && self.coarse >= MAX_COARSE {
            event.login_role = None;
            (event.certificate_subject, event.certificate_serial) = (None, None);
            key = FoldKey::of(&event);
        }
        let opened = event.at;
        let window = self.windows.entry(key).or_insert(Window { opened, fold: None });
        if window.fold.is_none() {
            window.opened = opened;
        }
        self.fold(key, event)
    }

    fn add(&mut self, key: FoldKey, event: Event, dirty: bool) {
        let Some(window) = self.windows.get_mut(&key) else { return };
        match &mut window.fold {
            Some(fold) => {
                fold.absorb(event);
                fold.dirty = true;
            }
            None => {
                window.fold = Some(Fold { event, opened: window.opened, dirty });
                self.coarse += usize::from(window.is_coarse());
            }
        }
    }

    /// Whether another key can be remembered. Searches for expired ones at most once a second.
    fn has_room(&mut self, at: Timestamp) -> bool {
        if self.windows.len() < MAX_KEYS {
            return true;
        }
        if self.swept.is_none_or(|swept| swept.abs_diff(at) >= SECOND.unsigned_abs()) {
            self.swept = Some(at);
            self.windows.retain(|_, window| window.fold.is_some() || near(window.opened, at));
        }
        self.windows.len() < MAX_KEYS
    }
}

impl Window {
    fn is_coarse(&self) -> bool {
        let names_nobody = |event: &Event| event.user_id.is_none() && event.client_addr.is_none();
        self.fold.as_ref().is_some_and(|fold| names_nobody(&fold.event))
    }
}

impl Fold {
    /// Adds one event, or a fold of several.
    fn absorb(&mut self, event: Event) {
        fn agree<T: PartialEq>(mine: &mut Option<T>, other: &Option<T>) {
            if mine != other {
                *mine = None;
            }
        }
        let fold = &mut self.event;
        fold.count = fold.count.saturating_add(event.count);
        fold.since = fold.since.min(event.since);
        fold.at = fold.at.max(event.at);
        agree(&mut fold.acting_role, &event.acting_role);
        agree(&mut fold.peer_addr, &event.peer_addr);
        agree(&mut fold.application_name, &event.application_name);
        agree(&mut fold.pid, &event.pid);
        agree(&mut fold.detail, &event.detail);
    }
}

impl Bucket {
    /// Spends one row, if it is allowed.
    fn take(&mut self, at: Timestamp) -> bool {
        if at > self.at {
            self.spent = self.spent.saturating_sub(at.saturating_sub(self.at)).max(0);
            self.at = at;
        } else if !near(self.at, at) {
            // The clock was set back. A smaller step back only means two processes out of step.
            self.at = at;
        }
        let allowed = self.spent <= (BURST - 1) * SECOND;
        if allowed {
            self.spent += SECOND;
        }
        allowed
    }
}

/// Whether two times are less than a window apart, in either order: a clock that was set back must
/// not keep windows open.
const fn near(a: Timestamp, b: Timestamp) -> bool {
    a.abs_diff(b) < WINDOW.unsigned_abs()
}

/// Whether the event must keep a row of its own.
fn stands_alone(event: &Event) -> bool {
    let opened = event.action == Action::OpenSecret && event.outcome == Outcome::Valid;
    event.action.role() == Role::Chain
        || !event.alert.is_empty()
        || event.xid.is_some()
        // Each opening of a secret is on record, with its job.
        || opened
}

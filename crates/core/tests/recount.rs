//! Records that are made, moved and deleted while a pass counts them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use password_verify_core::decoys::cost_class::{ClassKey, NO_CLASS};
use password_verify_core::decoys::recount::{Behind, Counted, Place, Recount, Slice, Span};

const DAY: i64 = 86_400_000_000;

/// Pseudo-random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % end
    }

    fn place(&mut self) -> Place {
        let mut place = [0; 16];
        place[0] = 1 + self.below(250) as u8;
        place
    }
}

fn class(number: u64) -> ClassKey {
    [number as u8 + 1; 16]
}

/// A table with all visible records, and moves that are not yet counted.
#[derive(Default)]
struct World {
    pass: Recount,
    records: BTreeMap<Place, ClassKey>,
    /// Moves that are visible and not yet reported.
    committing: Vec<(ClassKey, Place, ClassKey, Place)>,
    /// Moves that are reported and not yet counted.
    waiting: Vec<(ClassKey, ClassKey, Behind)>,
}

impl World {
    /// Makes a transaction visible that creates, deletes, replaces or moves a record.
    fn commit(&mut self, dice: &mut Dice) {
        let (place, other) = (dice.place(), dice.place());
        let from = self.records.remove(&place).unwrap_or(NO_CLASS);
        let to = if dice.below(3) == 0 { NO_CLASS } else { class(dice.below(3)) };
        let renamed = from != NO_CLASS && to != NO_CLASS && !self.records.contains_key(&other);
        let goes_to = if renamed { other } else { place };
        if to != NO_CLASS {
            self.records.insert(goes_to, to);
        }
        self.pass.enter();
        self.committing.push((from, place, to, goes_to));
    }

    fn report(&mut self) {
        let Some((from, place, to, goes_to)) = self.committing.pop() else { return };
        let behind = self.pass.behind(Span::at(place), Span::at(goes_to), 1);
        self.waiting.push((from, to, behind));
        self.pass.leave();
    }

    fn count_moves(&mut self) {
        for (from, to, behind) in self.waiting.drain(..) {
            self.pass.moved(from, to, behind);
        }
    }

    fn look(&self, slice: Slice, rows: usize) -> Counted {
        let mut counted = Counted::default();
        let after = self.records.iter().filter(|(place, _)| **place > slice.after);
        for (place, class) in after.take(rows) {
            *counted.records.entry(*class).or_default() += 1;
            counted.last = Some(*place);
        }
        if counted.records.values().sum::<u64>() < rows as u64 {
            counted.last = None;
        }
        counted
    }

    fn truth(&self) -> BTreeMap<ClassKey, u64> {
        let mut truth = BTreeMap::new();
        self.records.values().for_each(|class| *truth.entry(*class).or_default() += 1);
        truth
    }
}

#[test]
fn a_count_is_exact_whatever_moves_meanwhile() {
    let (mut passes, mut refused) = (0, 0);
    for seed in 0..2000 {
        let (mut world, mut dice) = (World::default(), Dice(seed));
        for _ in 0..60 {
            world.commit(&mut dice);
            world.report();
        }
        world.waiting.clear();
        while world.pass.result().is_none() {
            let slice = world.pass.begin(0);
            // Whether this look sees a transaction that commits between the two is random.
            let before = dice.below(2) == 0;
            let counted = slice.filter(|_| before).map(|slice| (slice, world.look(slice, 5)));
            for _ in 0..dice.below(3) {
                world.commit(&mut dice);
            }
            let after = slice.filter(|_| !before).map(|slice| (slice, world.look(slice, 5)));
            for _ in 0..dice.below(4) {
                world.report();
            }
            if let Some((slice, counted)) = counted.or(after) {
                refused += usize::from(!world.pass.take(slice, &counted));
            }
            if dice.below(2) == 0 {
                world.count_moves();
            }
        }
        while !world.committing.is_empty() {
            world.report();
        }
        world.count_moves();
        let (found, unread) = world.pass.result().unwrap();
        let found: BTreeMap<_, _> = found.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!((found, unread), (world.truth(), 0), "seed {seed}");
        passes += 1;
    }
    assert!(passes == 2000 && refused > 2000, "{refused}");
}

#[test]
fn a_pass_between_the_places_of_one_transaction_begins_again() {
    let mut pass = Recount::default();
    let slice = pass.begin(0).unwrap();
    let counted = Counted { last: Some([5; 16]), ..Counted::default() };
    assert!(pass.take(slice, &counted));
    let both = Span::at([9; 16]).join(Span::at([3; 16]));
    pass.behind(both, both, 7);
    assert!(pass.begin(1).is_none());
    assert!(pass.is_resting());
    assert!(pass.begin(DAY / 200).is_none(), "ten minutes later, not before");
    assert_eq!(pass.begin(DAY / 100).unwrap().after, [0; 16]);
}

#[test]
fn a_pass_is_made_at_once_once_a_day_and_when_moves_were_lost() {
    let mut pass = Recount::default();
    let count = |pass: &mut Recount, now| {
        let slice = pass.begin(now)?;
        assert!(pass.take(slice, &Counted::default()));
        let result = pass.result();
        pass.finish(now);
        result
    };
    assert!(count(&mut pass, 1000).is_some());
    assert!(count(&mut pass, DAY).is_none());
    assert!(count(&mut pass, DAY + 1000).is_some());
    pass.lose(DAY + 2000);
    assert!(count(&mut pass, DAY + 3000).is_none());
    assert!(count(&mut pass, DAY + DAY / 100).is_some());
    // Now the clock is set back.
    assert!(count(&mut pass, 5).is_some());
}

#[test]
fn classes_that_have_no_place_leave_counts_as_they_are() {
    let mut pass = Recount::default();
    let slice = pass.begin(0).unwrap();
    let records = (0..70).map(|number| (class(number), 1)).collect();
    assert!(pass.take(slice, &Counted { records, ..Counted::default() }));
    assert_eq!(pass.result().unwrap().1, u64::MAX);
}

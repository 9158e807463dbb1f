//! How often known and unknown ids change their class of cost over the years of an installation.
#![allow(clippy::unwrap_used)]

use password_verify_core::decoys::cells::{CELLS, Classes, MAX_CLASSES, Move};
use password_verify_core::decoys::cost_class::{ClassKey, NO_CLASS};

const TODAY: ClassKey = [1; 16];
const BCRYPT: ClassKey = [2; 16];
const SCRYPT: ClassKey = [3; 16];
const TOMORROW: ClassKey = [4; 16];

/// An installation: the classes of its users, and those of unknown ids ("strangers"), one per cell.
#[derive(Default)]
struct World {
    classes: Classes,
    users: Vec<ClassKey>,
}

/// The fractions of users and of strangers that have changed their class.
struct Flips {
    users: f64,
    strangers: f64,
}

impl World {
    fn happen(&mut self, from: ClassKey, to: ClassKey) {
        let ours = to == TODAY || to == TOMORROW;
        self.classes.follow(to, String::new());
        self.classes.apply(Move { from, to, ours }, 1);
    }

    fn make(&mut self, class: ClassKey, count: usize) {
        for _ in 0..count {
            self.happen(NO_CLASS, class);
            self.users.push(class);
        }
    }

    /// Moves every `nth` user of a class to another one.
    fn migrate(&mut self, from: ClassKey, to: ClassKey, nth: usize) {
        let of: Vec<usize> = (0..self.users.len()).filter(|i| self.users[*i] == from).collect();
        for user in of.into_iter().step_by(nth) {
            self.happen(from, to);
            self.users[user] = to;
        }
    }

    fn strangers(&self) -> Vec<ClassKey> {
        let all = [TODAY, BCRYPT, SCRYPT, TOMORROW];
        (0..CELLS)
            .map(|cell| {
                // A cell belongs to at most one class; without one, to the current settings.
                let class = self.classes.of(cell);
                all.into_iter()
                    .find(|key| class.is_some_and(|class| self.classes.get(*key) == Some(class)))
                    .unwrap_or(NO_CLASS)
            })
            .collect()
    }

    fn share_of_users(&self, class: ClassKey) -> f64 {
        self.users.iter().filter(|of| **of == class).count() as f64 / self.users.len() as f64
    }

    fn share_of_strangers(&self, class: ClassKey) -> f64 {
        let strangers = self.strangers();
        strangers.iter().filter(|of| **of == class).count() as f64 / CELLS as f64
    }

    fn flips(&mut self, happens: impl FnOnce(&mut Self)) -> Flips {
        let (users, strangers) = (self.users.clone(), self.strangers());
        happens(self);
        let part = |before: &[ClassKey], after: &[ClassKey]| {
            let other = before.iter().zip(after).filter(|(before, after)| before != after);
            other.count() as f64 / before.len() as f64
        };
        Flips { users: part(&users, &self.users), strangers: part(&strangers, &self.strangers()) }
    }
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.005
}

#[test]
fn sign_ups_change_nobodys_class() {
    for (imported, before) in [(100, 0), (100, 10), (3000, 1000), (10, 1000)] {
        let mut world = World::default();
        world.make(BCRYPT, imported);
        world.make(TODAY, before);
        let flips = world.flips(|world| world.make(TODAY, 5000));
        // The first sign-up claims cells that no class owned, which changes no time.
        let claimed = flips.strangers > 0.0 && before == 0;
        assert!(claimed || flips.strangers == 0.0, "{imported}, {before}: {}", flips.strangers);
        if claimed {
            let strangers = world.share_of_strangers(BCRYPT);
            assert!((0.4..=0.5).contains(&strangers), "{strangers}");
        }
    }
}

#[test]
fn migration_changes_strangers_as_often_as_users() {
    let mut world = World::default();
    world.make(BCRYPT, 3000);
    world.make(TODAY, 3000);
    let (before, strangers) = (world.share_of_users(BCRYPT), world.share_of_strangers(BCRYPT));
    assert!((0.4..=0.5).contains(&strangers), "{strangers} of strangers");
    let flips = world.flips(|world| world.migrate(BCRYPT, TODAY, 2));
    assert!(close(flips.users, before / 2.0));
    assert!(close(flips.strangers, strangers / 2.0), "{} {strangers}", flips.strangers);
    world.flips(|world| world.make(TODAY, 5000));
    let flips = world.flips(|world| world.migrate(BCRYPT, TODAY, 1));
    assert!(close(flips.strangers, strangers / 2.0));
    assert_eq!(world.share_of_strangers(TODAY), 1.0);
    assert!(!world.classes.follows(BCRYPT));
}

#[test]
fn nobody_changes_back() {
    let mut world = World::default();
    world.make(TODAY, 500);
    world.make(BCRYPT, 500);
    let mut strangers = world.strangers();
    for _ in 0..8 {
        world.migrate(BCRYPT, TODAY, 2);
        world.make(TODAY, 50);
        let now = world.strangers();
        for (before, now) in strangers.iter().zip(&now) {
            assert!(before == now || (*before, *now) == (BCRYPT, TODAY));
        }
        strangers = now;
    }
}

/// A class that is commoner among users than strangers hints that an id is known: 2.5 times at
/// most.
#[test]
fn no_time_tells_much_that_somebody_is_there() {
    let steps: [(ClassKey, usize); 8] = [
        (BCRYPT, 1000),
        (SCRYPT, 300),
        (TODAY, 50),
        (SCRYPT, 3000),
        (TODAY, 4000),
        (BCRYPT, 9000),
        (TODAY, 20_000),
        (SCRYPT, 30_000),
    ];
    let mut world = World::default();
    for (class, count) in steps {
        world.make(class, count);
        for class in [TODAY, BCRYPT, SCRYPT] {
            let (users, strangers) = (world.share_of_users(class), world.share_of_strangers(class));
            // Shares are exact to one cell.
            assert!(users <= strangers * 2.55 + 1.0 / CELLS as f64, "{users} {strangers}");
        }
    }
}

#[test]
fn a_second_import_takes_its_share_once() {
    let mut world = World::default();
    world.make(BCRYPT, 1000);
    world.make(TODAY, 1000);
    let flips = world.flips(|world| world.make(SCRYPT, 2000));
    assert_eq!(flips.users, 0.0);
    assert!(flips.strangers <= 0.5, "{}", flips.strangers);
    // Half of the cells stays with the current settings.
    assert!(world.share_of_strangers(TODAY) >= 0.49);
    let strangers = world.share_of_strangers(SCRYPT);
    assert!((0.25..=0.4).contains(&strangers), "{strangers}");
    // Of two migrating classes, each takes its own cells along.
    let bcrypt = world.share_of_strangers(BCRYPT);
    world.migrate(SCRYPT, TODAY, 2);
    assert_eq!(world.share_of_strangers(BCRYPT), bcrypt);
    assert!(close(world.share_of_strangers(SCRYPT), strangers / 2.0));
}

#[test]
fn other_settings_change_strangers_as_they_change_users() {
    let mut world = World::default();
    world.make(TODAY, 4000);
    world.make(BCRYPT, 1000);
    let strangers = world.share_of_strangers(TODAY);
    // The first users log in after the settings have changed.
    let flips = world.flips(|world| world.migrate(TODAY, TOMORROW, 100));
    assert!(close(flips.users, 0.008) && close(flips.strangers, 0.008), "{}", flips.strangers);
    let flips = world.flips(|world| world.migrate(TODAY, TOMORROW, 2));
    // As many strangers of the former cost change as users do.
    let of_users = flips.users / 0.8;
    assert!(close(flips.strangers / strangers, of_users), "{} {of_users}", flips.strangers);
    assert!(close(world.share_of_strangers(TODAY), strangers * 0.495));
    let flips = world.flips(|world| world.make(TOMORROW, 1000));
    assert_eq!(flips.strangers, 0.0);
    // Where no user logs in, new users share their time with strangers.
    let mut world = World::default();
    world.make(TODAY, 1000);
    let flips = world.flips(|world| world.make(TOMORROW, 1000));
    assert!(flips.strangers <= 0.5, "{}", flips.strangers);
    assert!(world.share_of_strangers(TOMORROW) >= 0.24);
}

#[test]
fn those_who_go_change_nobody_but_with_the_last_of_a_class() {
    let mut world = World::default();
    world.make(BCRYPT, 100);
    world.make(TODAY, 100);
    let flips = world.flips(|world| {
        for _ in 0..99 {
            world.happen(BCRYPT, NO_CLASS);
        }
        for _ in 0..100 {
            world.happen(TODAY, NO_CLASS);
        }
    });
    assert_eq!(flips.strangers, 0.0);
    world.happen(BCRYPT, NO_CLASS);
    assert_eq!(world.share_of_strangers(TODAY), 1.0);
}

#[test]
fn what_comes_at_once_moves_as_much_as_what_comes_one_by_one() {
    let make = |classes: &mut Classes, from, to, count| {
        classes.follow(to, String::new());
        classes.apply(Move { from, to, ours: to == TODAY }, count);
    };
    let mut world = World::default();
    world.make(TODAY, 1000);
    world.make(BCRYPT, 1000);
    let mut at_once = world.classes.clone();
    world.migrate(BCRYPT, TODAY, 2);
    make(&mut at_once, BCRYPT, TODAY, 500);
    let cells = |classes: &Classes| {
        let class = classes.get(BCRYPT).unwrap();
        class.cells.iter().map(|byte| byte.count_ones()).sum::<u32>()
    };
    assert!(cells(&at_once).abs_diff(cells(&world.classes)) <= 1);
}

#[test]
fn a_count_that_was_wrong_moves_no_cell() {
    let mut world = World::default();
    world.make(BCRYPT, 100);
    world.make(TODAY, 100);
    let strangers = world.strangers();
    let found = [(TODAY, 105), (BCRYPT, 90)].into_iter().collect();
    world.classes.correct(&found, 0, TODAY);
    assert_eq!(world.strangers(), strangers);
    assert_eq!(world.classes.get(BCRYPT).unwrap().users, 90);
    // Some of the unread records may be of this class.
    world.classes.correct(&[(TODAY, 105), (BCRYPT, 80)].into_iter().collect(), 5, TODAY);
    assert_eq!(world.classes.get(BCRYPT).unwrap().users, 85);
    world.classes.correct(&[(TODAY, 105)].into_iter().collect(), 0, TODAY);
    assert!(!world.classes.follows(BCRYPT));
    // More moves than there are users, and moves of unknown classes.
    let mut classes = world.classes;
    classes.apply(Move { from: TODAY, to: NO_CLASS, ours: false }, 1000);
    classes.apply(Move { from: [9; 16], to: [8; 16], ours: true }, 10);
    classes.apply(Move { from: NO_CLASS, to: TODAY, ours: true }, u64::MAX);
    classes.apply(Move { from: NO_CLASS, to: TODAY, ours: true }, u64::MAX);
    assert_eq!(classes.get(TODAY).unwrap().users, u64::MAX);
}

#[test]
fn classes_beyond_the_last_are_not_followed() {
    let mut classes = Classes::default();
    for i in 0..MAX_CLASSES + 3 {
        let to = [i as u8 + 10; 16];
        classes.follow(to, String::new());
        classes.apply(Move { from: NO_CLASS, to, ours: false }, 100);
    }
    let followed = (0..MAX_CLASSES + 3).filter(|i| classes.follows([*i as u8 + 10; 16])).count();
    assert_eq!(followed, MAX_CLASSES);
    // Each class has a cell, and the current settings have half of all cells.
    assert!(
        (0..CELLS).filter(|cell| classes.of(*cell).is_none()).count() >= CELLS / 2 - MAX_CLASSES
    );
    let stored = classes.take_changed();
    assert_eq!(stored.iter().filter(|(_, class)| class.is_some()).count(), MAX_CLASSES);
    assert!(classes.take_changed().is_empty());
}

//! The trail is verified from a head that somebody has kept elsewhere.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::create;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::query::number;
use password_verify_tests::trail::{settle, verify, verify_from};
use password_verify_tests::{GOOD, sqlstate};

#[test]
fn the_trail_is_verified_from_a_head_that_was_kept() {
    let site = sealed_site(&line("a", &fresh_key()));
    site.enroll("42", GOOD);
    let mut heads = Vec::new();
    for round in 0..3 {
        heads.push(verify(&mut site.admin()).head.unwrap());
        create(&mut site.login(), &format!("user{round}"), "short");
        settle(&mut site.admin());
        heads.push(verify(&mut site.admin()).head.unwrap());
        site.cluster.down();
        site.cluster.up();
        site.enroll(&format!("after {round}"), GOOD);
        settle(&mut site.admin());
    }
    let mut admin = site.admin();
    let rows = number(&mut admin, "SELECT count(*) FROM password_verify.event");
    let mut before = rows + 1;
    for head in &heads {
        let (intact, problem, events) = verify_from(&mut admin, head);
        assert_eq!((intact, problem), (true, None), "{head:?}");
        assert!(events < before, "{events} of {before}");
        before = events;
    }
    assert!(before > 1);
    let none = "the row of this head is missing, or is another one";
    for (what, head) in [
        ("no such epoch", (99, 0, heads[0].2.clone())),
        ("no such row", (1, 9999, heads[0].2.clone())),
        ("before the first", (1, -1, heads[0].2.clone())),
        ("another row's", (heads[0].0, heads[0].1, heads[1].2.clone())),
        ("the lowest", (i64::MIN, i64::MIN, heads[0].2.clone())),
        ("the highest", (i64::MAX, i64::MAX, heads[0].2.clone())),
    ] {
        assert_eq!(verify_from(&mut admin, &head).1.as_deref(), Some(none), "{what}");
    }
    for mac in ["", "00", &heads[0].2[1..], &format!("{}00", heads[0].2), &"g".repeat(64)] {
        let result = admin.query("SELECT auth.pv_verify_events(1, 0, $1)", &[&mac]);
        assert_eq!(sqlstate(result), "22023", "{mac}");
    }
    // What comes before the head does not matter to it, what comes after does.
    let (epoch, seq, _) = heads[3].clone();
    let mut tried = 0;
    for (place, seen) in [("<", false), ("=", true), (">", true)] {
        let mut open = admin.transaction().unwrap();
        let sql = format!(
            "UPDATE password_verify.event SET count = count + 1 WHERE (epoch, seq) = (SELECT epoch, seq
               FROM password_verify.event WHERE (epoch, seq) {place} ({epoch}, {seq}) ORDER BY epoch, seq LIMIT 1)"
        );
        tried += open.execute(&sql, &[]).unwrap();
        let sql = "SELECT intact FROM auth.pv_verify_events($1, $2, $3)";
        let intact: bool = open.query_one(sql, &[&epoch, &seq, &heads[3].2]).unwrap().get(0);
        assert_eq!(intact, !seen, "{place}");
        open.rollback().unwrap();
    }
    assert_eq!(tried, 3);
    // As it was.
    let kept = verify(&mut admin).head.unwrap();
    assert!(verify_from(&mut admin, &kept).0);
}

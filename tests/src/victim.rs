//! Somebody whose record an application attacks, with a login that may create schemas in its database.

use postgres::Client;

use crate::calls::validate;
use crate::{Answer, GOOD, Site, sqlstate};

/// A site with that user, and everything that an application may have at most.
pub fn victim() -> Site {
    let site = Site::new();
    site.admin()
        .batch_execute(&format!("GRANT CREATE, TEMP ON DATABASE {} TO {}", site.database, site.app))
        .unwrap();
    site.enroll("victim", GOOD);
    site
}

/// The stored verifier, as only a superuser can see it.
pub fn verifier(site: &Site) -> String {
    let sql = "SELECT verifier FROM password_verify.credential WHERE user_id = 'victim'";
    site.admin().query_one(sql, &[]).unwrap().get(0)
}

/// After whatever was tried: the record is what it was, and the password is right.
pub fn unharmed(site: &Site, before: &str) {
    assert_eq!(verifier(site), before);
    assert_eq!(validate(&mut site.login(), "victim", GOOD), Answer::yes());
}

/// For want of a privilege, or because of what it is.
pub fn all_refused(client: &mut Client, attacks: &[&str]) {
    for sql in attacks {
        let state = sqlstate(client.batch_execute(sql));
        assert!(["42501", "42809"].contains(&state.as_str()), "{state} for: {sql}");
    }
}

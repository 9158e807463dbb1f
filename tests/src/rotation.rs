//! Rotation of keys, as tests start and follow it.

use postgres::Client;

use crate::Site;
use crate::keyring::{active_key, put, reload};
use crate::query::text;
use crate::trail::wait_until;

/// As a manager calls it.
pub const ROTATE: &str = "CALL auth.pv_rotate_keys()";

/// How many records are not sealed with the newest key.
pub fn left(client: &mut Client) -> i64 {
    client.query_one("SELECT auth.pv_rotation_left()", &[]).unwrap().get(0)
}

/// `pv_keys`, sorted: id, is it active, how many records.
pub fn keys(client: &mut Client) -> String {
    let sql = "SELECT string_agg(concat_ws(' ', COALESCE(key_id, 'none'), CASE WHEN active THEN 'active' END, records), ', '
                      ORDER BY key_id NULLS FIRST) FROM auth.pv_keys WHERE (key_id IS NULL) = (fingerprint IS NULL)";
    text(client, sql)
}

/// Adds records that nobody logs in with: copies of one user's, not sealed, in places of their own.
pub fn fill(site: &Site, phc: &str, records: i32) {
    let sql = "WITH new AS (INSERT INTO password_verify.credential (blind_index, user_id, verifier, must_change, expires_at, created_at, changed_at, mac)
               SELECT gen_random_uuid(), 'copy ' || i, $1, false, NULL, now(), now(), '' FROM generate_series(1, $2) i
               RETURNING *)
               INSERT INTO password_verify.account
               SELECT blind_index, user_id, NULL, NULL, NULL, created_at, '', '' FROM new";
    site.admin().execute(sql, &[&phc, &records]).unwrap();
}

/// Somebody's PHC string.
pub const PHC: &str = "$argon2id$v=19$m=7168,t=5,p=1$c29tZSBzYWx0IG9mIDE2$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// New records are sealed with that key from now on, in every session.
pub fn activate(site: &Site, keys: &str, id: &str) {
    let mut admin = site.admin();
    // One that has just begun reads the file as it is. This one has to hear of the reload.
    assert_ne!(active_key(&mut admin).as_deref(), Some(id));
    put(&site.cluster, keys);
    reload(&site.cluster);
    wait_until("the new key is active", || active_key(&mut admin).as_deref() == Some(id));
}

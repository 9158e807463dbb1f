//! Hashes of other systems, as a test imports them.

use std::collections::BTreeMap;

use postgres::{Client, GenericClient};

use crate::Answer;
use crate::calls::ask;
use crate::trail::wait_until;

/// `correct horse battery staple`, which is [`crate::GOOD`], as other systems kept it.
///
/// python3 -c "import crypt; print(crypt.crypt('correct horse battery staple', '$2b$05$E2zMiFD6CER8OUVZQXoz4u'))"
pub const BCRYPT: &str = "$2b$05$E2zMiFD6CER8OUVZQXoz4u0MeIu64zWQk328GIricLdhNUbz4Zt.u";
/// With 32 times as many rounds: `$2b$10$`.
pub const SLOW_BCRYPT: &str = "$2b$10$E2zMiFD6CER8OUVZQXoz4uLyfVXBR4P.yr8A8gbpIH0kOewADosZC";
/// echo -n 'correct horse battery staple' | sha1sum | xxd -r -p | base64
pub const SHA1: &str = "{SHA}q/eq1kOINtvlJqojGr3i0O73TUI=";

/// What a record of our own looks like in `pv_users`, with the parameters of these tests.
pub const OURS: &str = "argon2id m=7168,t=5,p=1";

/// Nothing can be computed without parameters of the project, which are not in these texts.
pub const WITHOUT_PARAMETERS: [&str; 2] = ["Firebase $firebase-scrypt$", "Firebase export"];

/// A password as another system hashed it.
pub struct Vector {
    pub format: &'static str,
    /// The user id that the hash depends on; empty where it does not.
    pub user: &'static str,
    /// `None`: not a text, or with a NUL in it. PostgreSQL has no such text.
    pub password: Option<String>,
    pub hash: &'static str,
}

/// What other systems made of passwords, all of it.
pub fn vectors() -> Vec<Vector> {
    let text = include_str!("../../crates/legacy/tests/vectors.txt");
    text.lines().filter(|line| !line.starts_with('#')).map(vector).collect()
}

fn vector(line: &'static str) -> Vector {
    let columns: Vec<&str> = line.split('\t').collect();
    let [_, format, user, password, hash] = columns[..] else { panic!("{line}") };
    let hex = if password == "-" { "" } else { password };
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let password = String::from_utf8((0..hex.len()).step_by(2).map(byte).collect());
    let password = password.ok().filter(|text| !text.contains('\0'));
    Vector { format, user, password, hash }
}

/// Some vectors of each format, of passwords that are texts.
pub fn some_of_each_format(most: usize) -> Vec<Vector> {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chosen = vectors();
    chosen.retain(|vector| {
        let count = taken.entry(vector.format).or_default();
        *count += usize::from(vector.password.is_some());
        vector.password.is_some() && *count <= most
    });
    chosen
}

/// One character among the first seven is another: systems that look at the beginning alone notice, too.
pub fn another(vector: &Vector, password: &str) -> String {
    let mut letters: Vec<char> = password.chars().collect();
    // In $2x$ a byte above 0x7f hides those before it in a word of four: the last one counts.
    let ends_word = |(at, letter): &(usize, char)| (at + 1..=at + letter.len_utf8()).contains(&4);
    let at = password.char_indices().position(|letter| ends_word(&letter));
    let at = at.filter(|_| vector.format.contains("$2x$")).unwrap_or(0);
    match letters.get_mut(at) {
        None => letters.push('x'),
        Some(' ') => *letters.get_mut(at).unwrap() = '!',
        Some(letter) => *letter = char::from_u32(u32::from(*letter) ^ 1).unwrap(),
    }
    letters.into_iter().collect()
}

/// Bytes in base64, without padding.
pub fn base64(client: &mut impl GenericClient, bytes: &[u8]) -> String {
    let sql = "SELECT translate(encode($1::bytea, 'base64'), E'\\n=', '')";
    client.query_one(sql, &[&bytes]).unwrap().get(0)
}

/// `pv_import_hash` with a text id, where a test wants to see the error too.
pub const IMPORT: &str = "SELECT * FROM auth.pv_import_hash($1::text, $2)";

/// `pv_import_hash` with a text id.
pub fn import(client: &mut Client, user: &str, hash: &str) -> Answer {
    ask(client, IMPORT, &[&user, &hash]).unwrap()
}

/// What `pv_users` shows of a user's record: "algorithm parameters", or nothing without a record.
pub fn shown(client: &mut impl GenericClient, user: &str) -> String {
    let sql = "SELECT algorithm || ' ' || parameters FROM auth.pv_users WHERE user_id = $1";
    let row = client.query_opt(sql, &[&user]).unwrap();
    row.map(|row| row.get(0)).unwrap_or_default()
}

/// Waits until `pv_users` shows that: a record is made anew at a login and written a moment later.
pub fn becomes(client: &mut impl GenericClient, user: &str, label: &str) {
    wait_until(&format!("{user} becomes {label}"), || shown(client, user) == label);
}

/// What is kept of a user.
pub fn stored(client: &mut impl GenericClient, user: &str) -> String {
    let sql = "SELECT verifier FROM password_verify.credential WHERE user_id = $1";
    client.query_one(sql, &[&user]).unwrap().get(0)
}

/// How many users there are.
pub fn users(client: &mut impl GenericClient) -> i64 {
    client.query_one("SELECT count(*) FROM auth.pv_users", &[]).unwrap().get(0)
}

/// Waits until the worker has counted every record: until then unknown ids may still change their time.
pub fn await_counted(client: &mut impl GenericClient) {
    let sql = "SELECT (SELECT sum(users) FROM password_verify.cost_class)
                    = (SELECT count(*) FROM auth.pv_users)";
    wait_until("all are counted", || {
        client.query_one(sql, &[]).unwrap().get::<_, Option<bool>>(0) == Some(true)
    });
}

/// Users that are counted in classes whose template has this in it.
pub fn users_of(client: &mut impl GenericClient, scheme: &str) -> i64 {
    let sql = "SELECT COALESCE(sum(users), 0)::bigint FROM password_verify.cost_class
                WHERE position('$' || $1 || '$' IN template) > 0";
    client.query_one(sql, &[&scheme]).unwrap().get(0)
}

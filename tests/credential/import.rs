//! `pv_import_hash`: hashes of other systems are taken over, open to the password that they were made of,
//! and are replaced by records of our own at the first login.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_legacy::{Limits, parse};
use password_verify_tests::calls::{VALIDATE, ask, change, create, manage, set, validate};
use password_verify_tests::cluster::{PRELOADED, server};
use password_verify_tests::imports::{
    BCRYPT, OURS, SHA1, SLOW_BCRYPT, Vector, becomes, import, shown, stored, users, vectors,
};
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::trail::{assert_intact, of_user, settle, stat, wait_until};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, refused, sqlstate};
use postgres::{Client, NoTls};

const IMPORT: &str = "SELECT * FROM auth.pv_import_hash($1::text, $2)";

////////////////////////////////////////////////////////////////////////////////
// Every format
////////////////////////////////////////////////////////////////////////////////

/// Vectors of one format that are tried; the crate that computes them tries them all.
const OF_A_FORMAT: usize = 4;
/// Nothing but their length tells what they are.
const UNMARKED: [&str; 3] = ["better-auth salt:key", "MySQL 4.1 *", "Oracle 11 S:"];
/// Nothing can be computed without parameters of the project, which are not in these texts.
const WITHOUT_PARAMETERS: [&str; 2] = ["Firebase $firebase-scrypt$", "Firebase export"];

/// Some vectors of each format, of passwords that are texts.
fn some_of_each_format(most: usize) -> Vec<Vector> {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chosen = vectors();
    chosen.retain(|vector| {
        let count = taken.entry(vector.format).or_default();
        *count += usize::from(vector.password.is_some());
        vector.password.is_some() && *count <= most
    });
    chosen
}

/// The name under which a hash is kept as it is; `None`: it is too fast for that.
fn slow_name(vector: &Vector) -> Option<&'static str> {
    let names = [
        ("yescrypt $y$", "yescrypt"),
        ("scrypt $7$", "scrypt"),
        ("scrypt $scrypt$", "scrypt"),
        ("Django scrypt$", "scrypt"),
        ("Werkzeug scrypt:", "scrypt"),
        ("Firebase", "firebase-scrypt"),
        ("bcrypt $2x$", "bcrypt-2x"),
        ("bcrypt $2", "bcrypt"),
        ("Django bcrypt$", "bcrypt"),
        ("Django bcrypt_sha256$", "django-bcrypt-sha256"),
        ("bcrypt-sha256 $bcrypt-sha256$ v=2", "passlib-bcrypt-sha256-v2"),
        ("bcrypt-sha256 $bcrypt-sha256$", "passlib-bcrypt-sha256-v1"),
        ("WordPress 6.8 $wp$2y$", "wordpress-bcrypt"),
        ("Argon2 $argon2d$", "argon2d"),
        ("Argon2 $argon2i$", "argon2i"),
        ("Argon2 $argon2id$", "argon2id"),
        ("Django argon2$", "argon2id"),
        ("Keycloak argon2", "argon2id"),
        ("LDAP {ARGON2}", "argon2id"),
        ("Dovecot {ARGON2ID}", "argon2id"),
        ("Dovecot {ARGON2I}", "argon2i"),
        ("Dovecot {BLF-CRYPT}", "bcrypt"),
        ("Spring {argon2", "argon2id"),
        ("Spring {bcrypt}", "bcrypt"),
        ("Spring {scrypt", "scrypt"),
        ("Keycloak bcrypt", "bcrypt"),
        ("better-auth salt:key", "better-auth-scrypt"),
    ];
    names.iter().find(|(begins, _)| vector.format.starts_with(begins)).map(|(_, name)| *name)
}

/// What a record is after the right password: ours, or what the other system did not tell from others is kept.
fn after_login(vector: &Vector, before: &str) -> String {
    let password = vector.password.as_deref().unwrap();
    let kept = match vector.format {
        _ if before.starts_with("argon2id+des-crypt ") => "des-crypt",
        _ if before.starts_with("argon2id+xdes-crypt ") => "xdes-crypt",
        _ if before == "bcrypt -" && password.len() >= 72 => "bcrypt",
        _ if before == "bcrypt-2x -" && (password.len() >= 72 || !password.is_ascii()) => {
            "bcrypt-2x"
        }
        "WordPress 6.8 $wp$2y$" => "trimmed",
        // Stronger than ours: it stays.
        _ if before.starts_with("argon2id m=65536,") => return before.to_owned(),
        "PostgreSQL SCRAM-SHA-256" | "passlib $scram$" => "saslprep",
        "better-auth salt:key" => "nfkc",
        "SQL Server 2000 0x0100" => "mssql2000",
        _ => return OURS.to_owned(),
    };
    OURS.replace("argon2id", &format!("argon2id+{kept}"))
}

/// One character among the first seven is another: systems that look at the beginning alone notice, too.
fn another(vector: &Vector, password: &str) -> String {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(client: &mut Client, bytes: &[u8]) -> String {
    let sql = "SELECT translate(encode($1::bytea, 'base64'), E'\\n=', '')";
    client.query_one(sql, &[&bytes]).unwrap().get(0)
}

/// The last characters of a hash, which most formats end in the output with.
fn hash_end(hash: &str) -> Option<String> {
    let at = hash.char_indices().rev().nth(23).map_or(0, |(at, _)| at);
    hash.get(at..).map(str::to_owned)
}

/// Nothing of what the other system compared with, in no form.
fn assert_no_output(admin: &mut Client, vector: &Vector, kept: &str) {
    let output =
        parse(vector.hash, &Limits::new(1 << 20), &Default::default()).ok().unwrap().output;
    let hex = hex(output.expose());
    let base64 = base64(admin, output.expose());
    // LDAP's salts are at the end, and are kept.
    let salted = vector.format.starts_with("LDAP {S");
    let tail = hash_end(vector.hash).filter(|_| !salted).unwrap_or_default();
    for text in [&hex, &hex.to_uppercase(), &base64, &tail] {
        let letters: Vec<char> = text.chars().collect();
        for part in letters.windows(11) {
            let part: String = part.iter().collect();
            assert!(!kept.contains(&part), "{} keeps {part} of {}", kept, vector.hash);
        }
    }
}

struct Crew {
    manager: Client,
    app: Client,
    admin: Client,
}

impl Crew {
    fn of(site: &Site) -> Self {
        Self { manager: site.login_with(&["manager"]), app: site.login(), admin: site.admin() }
    }

    /// From another system's table to a record of our own.
    fn live_through(&mut self, user: &str, vector: &Vector, look: impl FnOnce(&mut Client, &str)) {
        let Self { manager, app, admin } = self;
        let (password, what) = (vector.password.as_deref().unwrap(), vector.hash);
        if WITHOUT_PARAMETERS.contains(&vector.format) {
            assert_eq!(
                import(manager, user, vector.hash),
                Answer::no("unsupported_format"),
                "{what}"
            );
            return;
        }
        assert_eq!(import(manager, user, vector.hash), Answer::yes(), "{what}");
        let label = shown(admin, user);
        match slow_name(vector) {
            Some("argon2id") if !vector.format.contains("version 16") => {
                assert!(label.starts_with("argon2id m="), "{what}: {label}");
            }
            Some(name) => assert_eq!(label, format!("{name} -"), "{what}"),
            None => {
                let (algorithm, parameters) = label.split_once(' ').unwrap();
                assert!(algorithm.starts_with("argon2id+"), "{what}: {label}");
                assert_eq!(parameters, "m=7168,t=5,p=1", "{what}");
                let kept = stored(admin, user);
                assert_no_output(admin, vector, &kept);
            }
        }
        look(admin, user);
        assert_eq!(validate(app, user, &another(vector, password)), Answer::wrong(), "{what}");
        assert_eq!(shown(admin, user), label, "a wrong password changes nothing: {what}");
        assert_eq!(validate(app, user, password), Answer::yes(), "{what}");
        becomes(admin, user, &after_login(vector, &label));
        assert_eq!(validate(app, user, password), Answer::yes(), "once more: {what}");
        assert_eq!(validate(app, user, &another(vector, password)), Answer::wrong(), "{what}");
    }
}

#[test]
fn every_format_opens_to_its_password_and_becomes_argon2id() {
    let all = vectors();
    let texts = all.iter().filter(|vector| vector.password.is_some()).count();
    println!("{} of {} passwords are no texts and left out", all.len() - texts, all.len());
    assert!((all.len() - texts) * 20 < all.len());
    let formats = |vectors: &[Vector]| vectors.iter().map(|it| it.format).collect::<BTreeSet<_>>();
    let chosen = some_of_each_format(OF_A_FORMAT);
    assert_eq!(formats(&chosen), formats(&all));
    println!("{} vectors of {} formats", chosen.len(), formats(&chosen).len());

    let site = Site::new();
    // Those whose hash depends on the user id share it: one after the other.
    let (named, any): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|it| !it.user.is_empty());
    let any = Mutex::new(any.into_iter().enumerate());
    let mut crews = [(); 4].map(|()| Crew::of(&site));
    thread::scope(|scope| {
        for crew in &mut crews {
            scope.spawn(|| {
                loop {
                    let next = any.lock().unwrap().next();
                    let Some((i, vector)) = next else { break };
                    crew.live_through(&format!("user {i}"), &vector, |_, _| {});
                }
            });
        }
    });
    let [crew, ..] = &mut crews;
    for vector in &named {
        crew.live_through(vector.user, vector, |_, _| {});
        assert!(manage(&mut crew.manager, "pv_delete_user", vector.user));
    }
}

#[test]
fn with_a_keyring_what_was_imported_is_sealed_before_and_after_the_first_login() {
    let site = sealed_site(&line("a", &fresh_key()));
    let mut crew = Crew::of(&site);
    for (i, vector) in some_of_each_format(1).iter().enumerate() {
        let user = if vector.user.is_empty() { format!("user {i}") } else { vector.user.into() };
        crew.live_through(&user, vector, |admin, user| {
            let kept = stored(admin, user);
            assert!(kept.starts_with("$sealed$v=1$a$"), "{kept}");
            for part in ["legacy", "wrapped", "$v=19$", "cost="] {
                assert!(!kept.contains(part), "{kept}");
            }
            assert_no_output(admin, vector, &kept);
        });
        if !WITHOUT_PARAMETERS.contains(&vector.format) {
            assert!(stored(&mut crew.admin, &user).starts_with("$sealed$v=1$a$"));
        }
    }
}

////////////////////////////////////////////////////////////////////////////////
// What is refused
////////////////////////////////////////////////////////////////////////////////

/// One that is not imported: why, on record, and nothing else has happened.
fn is_refused(site: &Site, manager: &mut Client, user: &str, hash: &str, reason: &str) {
    let mut admin = site.admin();
    let before = users(&mut admin);
    let what = &hash[..hash.len().min(100)];
    assert_eq!(import(manager, user, hash), Answer::no(reason), "{what}");
    assert_eq!(users(&mut admin), before, "{what}");
    let events = of_user(&mut admin, user);
    assert_eq!(events.last(), Some(&format!("import {reason}")), "{what}");
}

#[test]
fn what_is_no_hash_is_unsupported() {
    let site = Site::new();
    let manager = &mut site.login_with(&["manager"]);
    for (i, hash) in [
        "",
        " ",
        "x",
        "plaintext",
        "{noop}secret",
        "$9$",
        "$argon2$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$2c$05$E2zMiFD6CER8OUVZQXoz4u0MeIu64zWQk328GIricLdhNUbz4Zt.u",
        " $2b$05$E2zMiFD6CER8OUVZQXoz4u0MeIu64zWQk328GIricLdhNUbz4Zt.u",
        "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
        // Our own form is nobody else's.
        "$legacy$AAAA$bcrypt$cost=4$c2FsdHNhbHRzYWx0c2FsdA",
        "$wrapped$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA$ldap-sha1$$",
        "$sealed$v=1$a$AAAA$argon2id -$AAAA",
        "日本語",
        // Written well, but of an algorithm that is not known here: nothing is wrong with the text.
        "$pbkdf2$f=SHA3-256,w=600000,l=32$c2FsdA$MTIzNDU2Nzg5MDEyMzQ1NjEyMzQ1Njc4OTAxMjM0NTY",
        "{PBKDF2}$2$salt$1000$00112233445566778899aabbccddeeff00112233",
        r#"{"credentialData":"{\"algorithm\":\"scrypt\"}","secretData":"{\"value\":\"$x\",\"salt\":\"\"}"}"#,
        "{SCRAM-SHA-1}4096,c2FsdA==,a,b",
    ]
    .into_iter()
    .enumerate()
    {
        is_refused(&site, manager, &format!("user {i}"), hash, "unsupported_format");
    }
}

#[test]
fn what_is_a_hash_that_lacks_something_is_malformed() {
    let site = Site::new();
    site.configure(&["audit_durability = async"]);
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    let (mut taken, mut refused) = (0, BTreeMap::<String, usize>::new());
    for vector in some_of_each_format(1) {
        if WITHOUT_PARAMETERS.contains(&vector.format) {
            continue;
        }
        let (hash, length) = (vector.hash, vector.hash.len());
        for (i, end) in [length / 3, length / 2, length * 2 / 3, length - 1].into_iter().enumerate()
        {
            // 13 characters are the traditional crypt(3).
            if !hash.is_char_boundary(end) || end == 13 {
                continue;
            }
            let user = match vector.user {
                "" => format!("{} {i}", vector.format),
                user => user.to_owned(),
            };
            let before = users(&mut admin);
            let Answer(success, reason) = import(&mut manager, &user, &hash[..end]);
            if success {
                // Padding is lost, which says nothing; or the text alone decides how long an output is.
                let same = hash[end..].trim_end_matches('=').is_empty();
                assert!(same || vector.format.starts_with("Werkzeug"), "{}", &hash[..end]);
                let password = vector.password.as_deref().unwrap();
                assert_eq!(validate(&mut app, &user, password), Answer::yes(), "{}", &hash[..end]);
                taken += 1;
            } else {
                assert_eq!(users(&mut admin), before);
                if UNMARKED.contains(&vector.format) {
                    assert_eq!(reason.as_deref(), Some("unsupported_format"), "{}", &hash[..end]);
                } else {
                    *refused.entry(reason.unwrap()).or_default() += 1;
                }
            }
        }
    }
    println!("{taken} taken, {refused:?}");
    // What has no telling beginning left is not known at all.
    assert!(refused.keys().all(|reason| reason == "malformed" || reason == "unsupported_format"));
    assert!(refused["malformed"] > 9 * (taken + refused["unsupported_format"]));
    for hash in
        [format!("{BCRYPT}."), format!("{BCRYPT} "), format!("{BCRYPT}\n"), format!("{SHA1} ")]
    {
        is_refused(&site, &mut manager, "longer", &hash, "malformed");
    }
}

#[test]
fn what_asks_for_too_much_is_over_the_limit() {
    let site = Site::new();
    let manager = &mut site.login_with(&["manager"]);
    let tag = "MTIzNDU2Nzg5MDEyMzQ1Ng";
    for (i, hash) in [
        BCRYPT.replace("$05$", "$31$"),
        BCRYPT.replace("$05$", "$17$"),
        format!("$scrypt$ln=31,r=8,p=1$c2FsdHNhbHQ${tag}"),
        // 2 GiB of memory in the other way to write it.
        format!("scrypt:2097152:8:1$salt${}", "00".repeat(64)),
        format!("$pbkdf2-sha256$i=2147483648,l=16$c2FsdHNhbHQ${tag}"),
        format!("pbkdf2_sha256$2147483648$salt${tag}AAAAAAAAAAAAAAAAAAAAA="),
        // More than password_verify.hash_memory_limit, whose default is 128 MB.
        format!("$argon2id$v=19$m=131073,t=1,p=1$c2FsdHNhbHQ${tag}"),
        format!("$argon2i$v=19$m=131073,t=1,p=1$c2FsdHNhbHQ${tag}"),
        format!("$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHQ${tag}"),
        format!("$6$rounds=999999999$salt${}", "/".repeat(86)),
        "x".repeat(4097),
        "$".repeat(100_000),
        format!("{BCRYPT}{}", ".".repeat(1_000_000)),
    ]
    .iter()
    .enumerate()
    {
        is_refused(&site, manager, &format!("user {i}"), hash, "over_limit");
    }
    // A record has 512 bytes, of which a wrapped one takes more for itself.
    let salted =
        |bytes: usize| format!("pbkdf2_sha256$1000${}${}=", "s".repeat(bytes), "A".repeat(43));
    is_refused(&site, manager, "salt", &salted(280), "over_limit");
    assert_eq!(import(manager, "salt", &salted(250)), Answer::yes());
    let within = format!("$argon2id$v=19$m=131072,t=1,p=1$c2FsdHNhbHQ${tag}");
    assert_eq!(import(manager, "within", &within), Answer::yes());
}

#[test]
fn who_has_a_password_keeps_it() {
    let site = Site::new();
    let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
    site.enroll("42", OTHER);
    for hash in [BCRYPT, SHA1, "no hash at all", &"x".repeat(5000)] {
        is_refused(&site, &mut manager, "42", hash, "already_set");
    }
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "42", GOOD), Answer::wrong());

    assert_eq!(import(&mut manager, "43", BCRYPT), Answer::yes());
    is_refused(&site, &mut manager, "43", SHA1, "already_set");
    assert_eq!(create(&mut app, "43", OTHER), Answer::no("already_set"));
    assert_eq!(shown(&mut site.admin(), "43"), "bcrypt -");
    // Within a statement and within a transaction, too; and in every spelling of an id.
    let twice =
        "SELECT success FROM (VALUES (1), (2)) AS n (i), auth.pv_import_hash(44 + 0 * i, $1)";
    let rows = manager.query(twice, &[&SHA1]).unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<bool>>(), [true, false]);
    let mut transaction = manager.transaction().unwrap();
    let mut once = |id: &str| -> Option<String> {
        let sql = format!("SELECT reason FROM auth.pv_import_hash({id}, $1)");
        transaction.query_one(&sql, &[&BCRYPT]).unwrap().get(0)
    };
    assert_eq!(once("'00000000-0000-0000-0000-00000000000A'::text"), None);
    assert_eq!(
        once("'00000000-0000-0000-0000-00000000000a'::uuid").as_deref(),
        Some("already_set")
    );
    transaction.commit().unwrap();
    assert_eq!(validate(&mut app, "00000000-0000-0000-0000-00000000000a", GOOD), Answer::yes());
}

#[test]
fn arguments_that_are_missing_are_errors() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager"]);
    for (arguments, state, says) in [
        ("42, NULL", "22004", "hash must not be null"),
        ("NULL::bigint, 'x'", "22004", "user id must not be null"),
        ("NULL::uuid, 'x'", "22004", "user id must not be null"),
        ("NULL::text, NULL", "22004", "user id must not be null"),
        ("''::text, 'x'", "22023", "user id must not be empty"),
        ("repeat('x', 256), 'x'", "22023", "user id is too long"),
    ] {
        let sql = format!("SELECT auth.pv_import_hash({arguments})");
        let (found, message, _) = refused(manager.query(&sql, &[]));
        assert_eq!((found.as_str(), message.as_str()), (state, says), "{arguments}");
    }
    let mut read_only = manager.build_transaction().read_only(true).start().unwrap();
    assert_eq!(sqlstate(read_only.query(IMPORT, &[&"42", &BCRYPT])), "25006");
    drop(read_only);
    let mut read_only = manager.build_transaction().read_only(true).start().unwrap();
    assert_eq!(sqlstate(read_only.query(IMPORT, &[&"42", &"x".repeat(5000)])), "25006");
    assert_eq!(users(&mut site.admin()), 0);
}

#[test]
fn an_import_is_worth_what_its_transaction_comes_to() {
    let site = Site::new();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    for (hash, label) in [(BCRYPT, "bcrypt -"), (SHA1, "argon2id+ldap-sha1 m=7168,t=5,p=1")] {
        let mut transaction = manager.transaction().unwrap();
        transaction.execute(IMPORT, &[&label, &hash]).unwrap();
        wait_until("it is on record", || of_user(&mut admin, label) == ["import pending"]);
        assert_eq!(users(&mut admin), 0);
        assert_eq!(validate(&mut app, label, GOOD), Answer::wrong());
        transaction.rollback().unwrap();
        settle(&mut admin);
        assert_eq!(of_user(&mut admin, label)[0], "import rolled_back");
        assert_eq!(validate(&mut app, label, GOOD), Answer::wrong());
        assert!(!manage(&mut admin, "pv_has_password", label));

        let mut transaction = manager.transaction().unwrap();
        let mut savepoint = transaction.savepoint("s").unwrap();
        savepoint.execute(IMPORT, &[&"undone", &hash]).unwrap();
        savepoint.rollback().unwrap();
        transaction.execute(IMPORT, &[&label, &hash]).unwrap();
        transaction.commit().unwrap();
        settle(&mut admin);
        let mut events = of_user(&mut admin, label);
        events.retain(|event| event.starts_with("import"));
        assert_eq!(events, ["import rolled_back", "import committed"]);
        assert_eq!(of_user(&mut admin, "undone").last().unwrap(), "import rolled_back");
        assert_eq!(shown(&mut admin, label), label);
        assert_eq!(validate(&mut app, label, GOOD), Answer::yes());
        assert!(manage(&mut manager, "pv_delete_user", label));
    }
    assert_intact(&mut admin);
}

#[test]
fn one_statement_imports_a_table_and_keeps_what_was_rejected() {
    let site = Site::new();
    let mut admin = site.admin();
    site.enroll("4", OTHER);
    let sql = format!(
        "CREATE TABLE users (id bigint, password_hash text);
         INSERT INTO users VALUES (1, '{BCRYPT}'), (2, '{SHA1}'), (3, 'plain'), (4, '{SHA1}'), (5, '{SHA1} ');
         CREATE TABLE rejected AS
         SELECT id, (answer).reason
           FROM (SELECT id, auth.pv_import_hash(id, password_hash) AS answer FROM users OFFSET 0) AS imported
          WHERE NOT (answer).success;"
    );
    admin.batch_execute(&sql).unwrap();
    let rows = admin.query("SELECT id, reason FROM rejected ORDER BY id", &[]).unwrap();
    let rejected: Vec<(i64, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rejected, [(3, "unsupported_format"), (4, "already_set"), (5, "malformed")]);
    let again = "SELECT (auth.pv_import_hash(u.id, btrim(u.password_hash))).success
                   FROM rejected r JOIN users u USING (id) WHERE r.reason = 'malformed'";
    assert!(admin.query_one(again, &[]).unwrap().get::<_, bool>(0));
    let mut app = site.login();
    for user in ["1", "2", "5"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
    settle(&mut admin);
    for (user, event) in [("1", "committed"), ("3", "unsupported_format"), ("4", "already_set")] {
        let events = of_user(&mut admin, user);
        assert!(events.contains(&format!("import {event}")), "{user}: {events:?}");
    }
}

#[test]
fn an_export_of_firebase_is_imported_with_its_projects_parameters() {
    let site = Site::new();
    let (mut admin, mut app) = (site.admin(), site.login());
    let (all, of) = (vectors(), |vector: &&Vector, format| vector.format == format);
    let keys = all.iter().find(|it| of(it, "Firebase $fbscrypt$")).unwrap().hash;
    let signer_key = keys.split_once("sk=").unwrap().1.split('$').next().unwrap();
    for (user, vector) in all.iter().filter(|it| of(it, "Firebase export")).enumerate() {
        let user = user.to_string();
        assert_eq!(import(&mut admin, &user, vector.hash), Answer::no("unsupported_format"));
        let sql = "SELECT * FROM auth.pv_import_hash($1::text, format('$fbscrypt$v=1,n=11,r=8,p=1,ss=%s,sk=%s$%s$%s',
                   'Bw==', $2::text, $3::text::json->>'salt', $3::text::json->>'passwordHash'))";
        let answer = ask(&mut admin, sql, &[&user, &signer_key, &vector.hash]).unwrap();
        assert_eq!(answer, Answer::yes());
        let password = vector.password.as_deref().unwrap();
        assert_eq!(validate(&mut app, &user, &another(vector, password)), Answer::wrong());
        assert_eq!(validate(&mut app, &user, password), Answer::yes());
    }
}

////////////////////////////////////////////////////////////////////////////////
// Many at once
////////////////////////////////////////////////////////////////////////////////

/// A table of the application's, as it was: so many users with bcrypt hashes of their own.
fn old_table(site: &Site, rows: i64) {
    let sql = format!(
        "CREATE TABLE old_users AS
         SELECT id, '$2b$12$' || left(translate(encode(sha256(id::text::bytea), 'base64'), '+=', './'), 21) || 'u'
                    || left(translate(encode(sha256((-id)::text::bytea), 'base64'), '+=', './'), 30) || '.' AS password_hash
           FROM generate_series(1, {rows}) AS id;
         GRANT SELECT ON old_users TO PUBLIC"
    );
    site.admin().batch_execute(&sql).unwrap();
}

const BULK: &str = "SELECT count(*), count(*) FILTER (WHERE (pv_import_hash).success)
                      FROM (SELECT auth.pv_import_hash(id, password_hash) FROM old_users OFFSET 0) AS done";

#[test]
fn many_slow_hashes_are_imported_without_hashing_and_seen_to_be() {
    let rows = 20_000;
    let site = Site::on(server(&[]));
    old_table(&site, rows);
    let (mut manager, mut admin) = (site.login_with(&["manager"]), site.admin());
    let done = AtomicBool::new(false);
    let (time, seen) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut auditor, mut seen) = (site.login_with(&["auditor"]), BTreeSet::new());
            while !done.load(Ordering::Relaxed) {
                seen.insert(stat(&mut auditor, "import_pending"));
                thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        let start = Instant::now();
        let row = manager.query_one(BULK, &[]);
        let time = start.elapsed();
        done.store(true, Ordering::Relaxed);
        let row = row.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (rows, rows));
        (time, watcher.join().unwrap())
    });
    println!("{rows} hashes of bcrypt in {time:?}; {} counts seen meanwhile", seen.len());
    assert!(seen.iter().filter(|count| **count > 0 && **count < rows).count() >= 3, "{seen:?}");
    assert_eq!(users(&mut admin), rows);
    for unused in ["hashes", "hash_slots_used_at_most", "hash_slots_used"] {
        assert_eq!(stat(&mut admin, unused), 0, "{unused}");
    }
    settle(&mut admin);
    let sql =
        "SELECT count(*) FROM auth.pv_events WHERE action = 'import' AND outcome = 'committed'";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), rows);

    // Fast ones have to be hashed: 20,000 slow ones take less than 200 of those, twenty times.
    let fast = 50;
    let start = Instant::now();
    for i in 0..fast {
        assert_eq!(import(&mut manager, &format!("fast {i}"), SHA1), Answer::yes());
    }
    let of_fast = start.elapsed();
    println!("{fast} fast ones in {of_fast:?}");
    assert!(time < of_fast * (200 / fast) * 20, "{time:?} {of_fast:?}");
    assert_eq!(stat(&mut admin, "hash_slots_used_at_most"), 1);
}

#[test]
fn a_bulk_import_that_is_cancelled_imports_nobody() {
    let site = Site::new();
    old_table(&site, 100_000);
    let (mut manager, mut admin) = (site.login_with(&["manager"]), site.admin());
    let cancel = manager.cancel_token();
    thread::scope(|scope| {
        let run = scope.spawn(|| sqlstate(manager.query_one(BULK, &[])));
        wait_until("some are imported", || stat(&mut admin, "import_pending") > 2000);
        cancel.cancel_query(NoTls).unwrap();
        assert_eq!(run.join().unwrap(), "57014");
    });
    assert_eq!(users(&mut admin), 0);
    let imported = stat(&mut admin, "import_pending");
    println!("cancelled after {imported}");
    assert!((2000..100_000).contains(&imported));
    settle(&mut admin);
    let sql =
        "SELECT count(*) FROM auth.pv_events WHERE action = 'import' AND outcome = 'rolled_back'";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), imported);
    assert_intact(&mut admin);
    // As if nothing had been.
    assert_eq!(import(&mut manager, "1", BCRYPT), Answer::yes());
    assert_eq!(validate(&mut site.login(), "1", GOOD), Answer::yes());
}

////////////////////////////////////////////////////////////////////////////////
// What the passwords of other systems are like
////////////////////////////////////////////////////////////////////////////////

#[test]
fn what_is_hashed_before_bcrypt_is_never_cut() {
    let site = Site::new();
    let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
    let mut formats = BTreeSet::new();
    for (i, vector) in vectors().iter().enumerate() {
        let hashed_first =
            vector.format.contains("sha256") || vector.format.starts_with("WordPress");
        let Some(password) = vector.password.as_ref().filter(|password| password.len() > 72) else {
            continue;
        };
        if !vector.format.contains("bcrypt") && !vector.format.starts_with("WordPress") {
            continue;
        }
        let user = i.to_string();
        assert_eq!(import(&mut manager, &user, vector.hash), Answer::yes());
        let Some(seen) = password.get(..72) else { continue };
        if hashed_first {
            assert_eq!(validate(&mut app, &user, seen), Answer::wrong(), "{}", vector.hash);
            assert_eq!(
                validate(&mut app, &user, &format!("{seen}x")),
                Answer::wrong(),
                "{}",
                vector.hash
            );
            assert_eq!(validate(&mut app, &user, password), Answer::yes(), "{}", vector.hash);
            assert_eq!(validate(&mut app, &user, seen), Answer::wrong(), "{}", vector.hash);
            formats.insert(vector.format);
        } else {
            assert_eq!(validate(&mut app, &user, seen), Answer::yes(), "{}", vector.hash);
            let scheme = if vector.format.contains("$2x$") { "bcrypt-2x" } else { "bcrypt" };
            let cut = OURS.replace("argon2id", &format!("argon2id+{scheme}"));
            becomes(&mut site.admin(), &user, &cut);
            assert_eq!(validate(&mut app, &user, password), Answer::yes(), "{}", vector.hash);
        }
    }
    assert_eq!(formats.len(), 4, "{formats:?}");
}

#[test]
fn a_password_that_was_hashed_decomposed_opens_as_it_was_and_then_in_every_form() {
    let (decomposed, composed) = ("e\u{301}te\u{301} a\u{300} la plage", "été à la plage");
    assert_ne!(decomposed, composed);
    // python3 -c "import crypt; print(crypt.crypt('…decomposed…', '$2b$04$E2zMiFD6CER8OUVZQXoz4u'))",
    // and base64 of sha256.
    for hash in [
        "$2b$04$E2zMiFD6CER8OUVZQXoz4uL1P6UnK/80mDLpoNU7dCgu1xrgXvTlG",
        "{SHA256}mBQ3h7nLWXPYdIo8m20cR0Xse7/qoOrzIgOdKDvPTa4=",
    ] {
        let site = Site::new();
        let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
        assert_eq!(import(&mut manager, "42", hash), Answer::yes());
        assert_eq!(
            validate(&mut app, "42", composed),
            Answer::wrong(),
            "the source system knows it not"
        );
        assert_eq!(validate(&mut app, "42", decomposed), Answer::yes());
        becomes(&mut site.admin(), "42", OURS);
        assert_eq!(validate(&mut app, "42", composed), Answer::yes());
        assert_eq!(validate(&mut app, "42", decomposed), Answer::yes());
        // The same with a change: it is the same password in either form.
        assert_eq!(import(&mut manager, "43", hash), Answer::yes());
        site.configure(&["min_strength = 0", "min_length = 8"]);
        let mut app = site.login();
        assert_eq!(change(&mut app, "43", decomposed, composed), Answer::no("reused"));
        assert_eq!(change(&mut app, "43", composed, OTHER), Answer::wrong());
        assert_eq!(change(&mut app, "43", decomposed, OTHER), Answer::yes());
        becomes(&mut site.admin(), "43", OURS);
    }
}

////////////////////////////////////////////////////////////////////////////////
// Accounts
////////////////////////////////////////////////////////////////////////////////

#[test]
fn only_a_manager_imports() {
    let site = Site::new();
    assert_eq!(sqlstate(site.login().query(IMPORT, &[&"42", &BCRYPT])), "42501");
    for kind in ["verifier", "enroller", "registrar", "auditor"] {
        let mut login = site.login_with(&[kind]);
        for id in ["42::bigint", "'42'::text", "'00000000-0000-0000-0000-000000000001'::uuid"] {
            let sql = format!("SELECT auth.pv_import_hash({id}, $1)");
            assert_eq!(sqlstate(login.query(&sql, &[&BCRYPT])), "42501", "{kind} {id}");
        }
    }
    assert_eq!(users(&mut site.admin()), 0);
    assert_eq!(import(&mut site.login_with(&["manager"]), "42", BCRYPT), Answer::yes());
}

#[test]
fn imported_users_are_throttled_like_all_others() {
    let site = Site::new();
    let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
    for (user, hash) in [("slow", BCRYPT), ("fast", SHA1)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        for _ in 0..5 {
            assert_eq!(validate(&mut app, user, OTHER), Answer::wrong());
        }
        for password in [GOOD, OTHER] {
            assert_eq!(validate(&mut app, user, password), Answer::no("throttled"));
            assert_eq!(
                change(&mut app, user, password, "a heron in the millrace"),
                Answer::no("throttled")
            );
        }
        assert!(shown(&mut site.admin(), user) != OURS);
        assert!(manage(&mut manager, "pv_unlock_user", user));
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
}

#[test]
fn imported_users_are_disabled_expired_and_made_to_change_like_all_others() {
    let site = Site::new();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    for (user, hash) in [("slow", BCRYPT), ("fast", SHA1)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        let label = shown(&mut admin, user);
        assert!(manage(&mut manager, "pv_disable_user", user));
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("disabled"));
        assert_eq!(validate(&mut app, user, OTHER), Answer::wrong());
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::no("disabled"));
        assert!(manage(&mut manager, "pv_enable_user", user));

        let expire = |admin: &mut Client, at: &str| {
            let sql = format!(
                "UPDATE password_verify.credential SET expires_at = {at} WHERE user_id = $1"
            );
            admin.execute(&sql, &[&user]).unwrap();
        };
        expire(&mut admin, "now() - interval '1 second'");
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("expired"));
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::no("expired"));
        expire(&mut admin, "NULL");

        assert!(manage(&mut manager, "pv_require_change", user));
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("change_required"));
        assert_eq!(validate(&mut app, user, OTHER), Answer::wrong());
        assert_eq!(shown(&mut admin, user), label, "no login, no new record");
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::yes());
        becomes(&mut admin, user, OURS);
        assert_eq!(validate(&mut app, user, OTHER), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::wrong());
    }
}

#[test]
fn imported_passwords_are_changed_and_replaced() {
    let site = Site::new();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    let mut registrar = site.login_with(&["registrar"]);
    for (user, hash) in [("slow", BCRYPT), ("fast", SHA1)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        assert!(manage(&mut registrar, "pv_has_password", user));
        assert_eq!(change(&mut app, user, OTHER, "a heron in the millrace"), Answer::wrong());
        assert_eq!(change(&mut app, user, GOOD, GOOD), Answer::no("reused"));
        assert_eq!(change(&mut app, user, GOOD, "short"), Answer::no("too_short"));
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::yes());
        becomes(&mut admin, user, OURS);
        assert_eq!(validate(&mut app, user, OTHER), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::wrong());

        let user = &format!("{user} reset");
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        assert_eq!(set(&mut registrar, user, OTHER), Answer::yes());
        becomes(&mut admin, user, OURS);
        assert_eq!(validate(&mut app, user, OTHER), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::wrong());
        assert_eq!(import(&mut manager, user, hash), Answer::no("already_set"));

        // Whoever is deleted can be imported again.
        assert!(manage(&mut manager, "pv_delete_user", user));
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
}

#[test]
fn first_logins_at_the_same_moment_all_succeed() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager"]);
    let mut sessions: Vec<Client> = (0..8).map(|_| site.login()).collect();
    for (round, hash) in [BCRYPT, SHA1, BCRYPT, SHA1].into_iter().enumerate() {
        let user = format!("user {round}");
        assert_eq!(import(&mut manager, &user, hash), Answer::yes());
        let barrier = Barrier::new(sessions.len());
        thread::scope(|scope| {
            for app in &mut sessions {
                scope.spawn(|| {
                    barrier.wait();
                    assert_eq!(validate(app, &user, GOOD), Answer::yes());
                    assert_eq!(validate(app, &user, GOOD), Answer::yes());
                });
            }
        });
        becomes(&mut site.admin(), &user, OURS);
        assert_eq!(validate(&mut sessions[0], &user, OTHER), Answer::wrong());
    }
}

////////////////////////////////////////////////////////////////////////////////
// Records that are not as they should be
////////////////////////////////////////////////////////////////////////////////

#[test]
fn a_record_that_takes_more_memory_than_allowed_is_its_own_users_trouble() {
    let cluster = Cluster::init();
    cluster.configure(PRELOADED);
    cluster.up();
    let site = Site::on(Arc::new(cluster));
    site.allow_failures();
    let mut manager = site.login_with(&["manager"]);
    let tag = "MTIzNDU2Nzg5MDEyMzQ1NjEyMzQ1Njc4OTAxMjM0NTY";
    let large = [
        ("native", format!("$argon2id$v=19$m=20480,t=1,p=1$c2FsdHNhbHRzYWx0${tag}")),
        ("argon2i", format!("$argon2i$v=19$m=20480,t=1,p=1$c2FsdHNhbHRzYWx0${tag}")),
        ("scrypt", format!("$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0${tag}")),
    ];
    for (user, hash) in &large {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        assert_eq!(validate(&mut site.login(), user, GOOD), Answer::wrong());
    }
    for (user, hash) in [("slow", BCRYPT), ("fast", SHA1)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
    }
    drop(manager);
    site.cluster.down();
    site.cluster.configure(&["password_verify.hash_memory_limit = 8192"]);
    site.cluster.up();
    let (mut app, mut manager) = (site.login(), site.login_with(&["manager"]));
    for (user, hash) in &large {
        let (state, message, hint) = refused(app.query(VALIDATE, &[user, &GOOD]));
        assert_eq!(state, "54000", "{user}");
        assert!(message.contains("asks for more memory than one hash may take"), "{message}");
        assert!(hint.contains("password_verify.hash_memory_limit"), "{hint}");
        assert_eq!(import(&mut manager, &format!("{user} too"), hash), Answer::no("over_limit"));
    }
    for user in ["slow", "fast"] {
        assert_eq!(validate(&mut app, user, OTHER), Answer::wrong());
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
    // What those cannot get, some strangers cannot get either.
    for i in 0..40 {
        match app.query_one(VALIDATE, &[&format!("stranger {i}"), &GOOD]) {
            Ok(row) => assert_eq!(row.get::<_, Option<&str>>(1), Some("invalid_credentials")),
            Err(error) => assert_eq!(error.code().unwrap().code(), "54000"),
        }
    }
    // Raised again, it is as before; and a reset is a way out in any case.
    assert_eq!(set(&mut site.admin(), "native", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "native", OTHER), Answer::yes());
}

/// Every character of a record as kept, changed in three ways: answers are an error of their own, or no.
fn no_change_of_a_character_opens(user: &str, hash: &str) {
    let site = Site::new();
    site.allow_failures();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    assert_eq!(import(&mut manager, user, hash), Answer::yes());
    let good = stored(&mut admin, user);
    let put = |admin: &mut Client, text: &str| {
        let sql = "UPDATE password_verify.credential SET verifier = $1 WHERE user_id = $2";
        assert_eq!(admin.execute(sql, &[&text, &user]).unwrap(), 1);
    };
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for at in 0..good.len() {
        let letter = good.as_bytes()[at];
        let similar = match letter {
            b'0'..=b'9' => (letter - b'0' + 1) % 10 + b'0',
            // The last bit of what a character of base64 stands for.
            b'A'..=b'Z' | b'a'..=b'z' => ((letter - b'A') ^ 1).min(b'z' - b'A') + b'A',
            _ => b'A',
        };
        for other in [similar, b'$', b'\x7f'] {
            let mut changed = good.clone().into_bytes();
            changed[at] = other;
            let changed = String::from_utf8(changed).unwrap();
            if changed == good {
                continue;
            }
            put(&mut admin, &changed);
            let outcome = match app.query_one(VALIDATE, &[&user, &GOOD]) {
                Ok(row) => {
                    assert!(!row.get::<_, bool>(0), "{changed} opens");
                    row.get::<_, String>(1)
                }
                Err(error) => error.code().unwrap().code().to_owned(),
            };
            *outcomes.entry(outcome).or_default() += 1;
            let _ = manage(&mut manager, "pv_unlock_user", user);
        }
    }
    println!("{user}: {outcomes:?} of {good}");
    let known = ["XX001", "54000", "invalid_credentials"];
    assert!(outcomes.keys().all(|outcome| known.contains(&outcome.as_str())), "{outcomes:?}");
    assert!(outcomes["XX001"] > good.len());
    put(&mut admin, &good);
    assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "and the server is as it was");
    let log = site.cluster.log();
    assert!(!log.contains("panicked") && !log.contains("terminated by signal"), "{log}");
}

#[test]
fn no_changed_character_of_a_record_of_bcrypt_opens() {
    no_change_of_a_character_opens("slow", BCRYPT);
}

#[test]
fn no_changed_character_of_a_wrapped_record_opens() {
    no_change_of_a_character_opens("fast", SHA1);
}

#[test]
fn no_changed_character_of_other_records_opens() {
    let mut seen = BTreeSet::new();
    let vectors = vectors();
    let of = |vector: &&Vector| {
        vector.password.as_deref() == Some(GOOD)
            && vector.user.is_empty()
            && ["scrypt $scrypt$", "yescrypt $y$", "Argon2 $argon2i$, version 19"]
                .contains(&vector.format)
    };
    for vector in vectors.iter().filter(of) {
        if seen.insert(vector.format) {
            no_change_of_a_character_opens(vector.format, vector.hash);
        }
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn records_made_of_parts_of_others_are_errors() {
    let site = Site::new();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    assert_eq!(import(&mut manager, "slow", BCRYPT), Answer::yes());
    assert_eq!(import(&mut manager, "fast", SHA1), Answer::yes());
    assert_eq!(import(&mut manager, "slower", SLOW_BCRYPT), Answer::yes());
    let (slow, fast) = (stored(&mut admin, "slow"), stored(&mut admin, "fast"));
    let ours = fast["$wrapped".len()..].split_inclusive('$').take(6).collect::<String>();
    for text in [
        // Taken for our own the output of a fast hash would be a password.
        ours.trim_end_matches('$').to_owned(),
        slow.replace("$legacy$", "$wrapped$"),
        fast.replace("$wrapped$", "$legacy$"),
        format!("$wrapped{fast}"),
        format!("$legacy{slow}"),
        fast.replace("ldap-sha1", "ldap-sha2"),
        format!("{fast}$"),
        format!("{slow}$"),
        slow.replace("$bcrypt$", "$BCRYPT$"),
        slow.replace("cost=5", "cost=05"),
        slow.replace("cost=5", "cost=3"),
        slow[..slow.len() / 2].to_owned(),
        "$legacy$$bcrypt$".to_owned(),
        "$legacy$".to_owned(),
        "$wrapped$".to_owned(),
        "$wrapped$$$$$$".to_owned(),
        "$legacy".repeat(100),
    ] {
        let sql = "UPDATE password_verify.credential SET verifier = $1 WHERE user_id = 'slow'";
        admin.execute(sql, &[&text]).unwrap();
        let answer = app.query_one(VALIDATE, &[&"slow", &GOOD]);
        let outcome = match answer {
            Ok(row) => (row.get::<_, bool>(0), row.get::<_, Option<String>>(1).unwrap_or_default()),
            Err(error) => (false, error.code().unwrap().code().to_owned()),
        };
        let expected = if text.starts_with("$argon2id") { "invalid_credentials" } else { "XX001" };
        assert_eq!(outcome, (false, expected.to_owned()), "{text}");
        manage(&mut manager, "pv_unlock_user", "slow");
        // A neighbour that is broken is nobody else's trouble, and a view shows it as it can.
        assert_eq!(validate(&mut app, "stranger", GOOD), Answer::wrong());
        manage(&mut manager, "pv_unlock_user", "stranger");
        assert_eq!(users(&mut admin), 3);
    }
    let sql = "UPDATE password_verify.credential SET verifier = $1 WHERE user_id = 'slow'";
    admin.execute(sql, &[&slow.replace("cost=5", "cost=17")]).unwrap();
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"slow", &GOOD])), "54000");
    // A record of another user's opens to the other's password, without a keyring: no more, no less.
    let slower = stored(&mut admin, "slower");
    admin.execute(sql, &[&slower]).unwrap();
    assert_eq!(validate(&mut app, "slow", GOOD), Answer::yes());
}

//! `pv_import_hash`: hashes of other systems are taken over, open to the password that they were made of,
//! and are replaced by records of our own at the first login.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use password_verify_legacy::{Limits, parse};
use password_verify_tests::calls::{ask, manage, validate};
use password_verify_tests::imports::{
    OURS, Vector, WITHOUT_PARAMETERS, another, base64, becomes, import, shown, some_of_each_format,
    stored, vectors,
};
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::{Answer, Site};
use postgres::Client;

/// Vectors of one format that are tried; the crate that computes them tries them all.
const OF_A_FORMAT: usize = 4;

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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

//! Everybody's hash comes out, and verifies elsewhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::Arc;

use argon2::{Argon2, PasswordVerifier};
use password_verify_tests::calls::{create, manage};
use password_verify_tests::cluster::run;
use password_verify_tests::{Answer, GOOD, OTHER, Site};

use crate::exporter::{Exporter, Told, key, write_keyring};

/// Users with the password [`GOOD`] and nothing special beside their ids.
const IDS: [&str; 8] = [
    "42",
    "zoë 用户",
    "a\tb",
    "a\nb\r\nc",
    "back\\slash\\N\\x41",
    "\\.",
    "\\N",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
];
/// Users, and when their password ends.
const ENDS: [(&str, &str); 6] = [
    ("soon", "2030-06-01 12:00:00.5+05:30"),
    ("by the microsecond", "2030-06-01 12:00:00.000001+00"),
    ("before offsets were round", "1850-01-01 00:00:00+00"),
    ("long ago", "0044-03-15 12:00:00+00 BC"),
    ("late", "294276-12-31 00:00:00+00"),
    ("never", "infinity"),
];
const ZONES: [&str; 4] = ["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin"];

fn with_everybody() -> Exporter {
    let this = Exporter::new();
    let mut app = this.site.login();
    for id in IDS {
        assert_eq!(create(&mut app, id, GOOD), Answer::yes(), "{id}");
    }
    let mut login = this.site.login_with(&["registrar", "manager"]);
    for (id, end) in ENDS {
        let sql = format!(
            "SELECT success FROM auth.pv_set_password($1::text, $2, expires_at => '{end}')"
        );
        assert!(login.query_one(&sql, &[&id, &GOOD]).unwrap().get::<_, bool>(0), "{id}");
    }
    for (id, function) in [("disabled", "pv_disable_user"), ("must change", "pv_require_change")] {
        assert_eq!(create(&mut app, id, GOOD), Answer::yes());
        assert!(manage(&mut login, function, id));
    }
    this
}

fn everybody() -> Vec<&'static str> {
    let others = ["unsealed", "disabled", "must change"];
    IDS.into_iter().chain(ENDS.map(|(id, _)| id)).chain(others).collect()
}

/// User id and hash of each line.
fn rows(tsv: &str) -> Vec<(String, String)> {
    let unescaped = |id: &str| {
        let id = id.replace("\\\\", "\u{1}").replace("\\t", "\t").replace("\\n", "\n");
        id.replace("\\r", "\r").replace('\u{1}', "\\")
    };
    tsv.lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(id, hash)| (unescaped(id), hash.into()))
        .collect()
}

fn ids(tsv: &str) -> Vec<String> {
    let mut ids: Vec<_> = rows(tsv).into_iter().map(|(id, _)| id).collect();
    ids.sort();
    ids
}

fn sorted(mut ids: Vec<&str>) -> Vec<&str> {
    ids.sort_unstable();
    ids
}

/// By an implementation that is not ours.
fn verifies(hash: &str, password: &str) -> bool {
    Argon2::default().verify_password(password.as_bytes(), hash).is_ok()
}

#[test]
fn everybody_takes_their_hash_along() {
    let this = with_everybody();
    let dump = this.dump("UTC", &[]);
    let tsv = this.exported(&dump);
    assert_eq!(ids(&tsv), sorted(everybody()));
    for (id, hash) in rows(&tsv) {
        assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{id}");
        assert!(verifies(&hash, GOOD) && !verifies(&hash, OTHER), "{id}");
    }

    // Whatever the form of the dump and the time zone of whoever dumps.
    for zone in ZONES {
        assert_eq!(this.exported(&this.dump(zone, &[])), tsv, "{zone}");
    }
    let only = [
        "--data-only",
        "--table=password_verify.credential",
        "--table=password_verify.account",
        "--encoding=UTF8",
    ];
    assert_eq!(this.exported(&this.dump("Asia/Kolkata", &only)), tsv);
    assert_eq!(this.exported(&this.dump("UTC", &["--quote-all-identifiers"])), tsv);
    for format in ["-Fc", "-Ft"] {
        let file = this.site.cluster.folder().join(format!("dump{format}"));
        let custom = this.dump("Asia/Kolkata", &[format]);
        fs::write(&file, &custom).unwrap();
        let mut pg_restore = this.site.cluster.command("pg_restore");
        let plain = run(pg_restore.args(["-f", "-"]).arg(&file)).stdout;
        assert_eq!(this.exported(&plain), tsv);
        let refused = this.export(&this.keyring, &custom);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
        assert!(refused.stderr.contains("pg_restore -f - FILE |"), "{}", refused.stderr);
    }

    // To a file, of the owner's alone, which is not overwritten.
    fs::write(this.folder.path().join("dump"), &dump).unwrap();
    let keyring = this.keyring.to_str().unwrap();
    let args = ["--keyring", keyring, "--output", "out", "dump"];
    let told = this.run(&args, b"");
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
    assert_eq!(
        told.stderr,
        format!(
            "password_verify_export: {} rows were written to out\n\
             password_verify_export: warning: out holds password hashes, which whoever has them can \
             attack; delete it after use\n",
            everybody().len()
        )
    );
    let out = this.folder.path().join("out");
    assert_eq!(fs::metadata(&out).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&out).unwrap(), tsv);
    let told = this.run(&args, b"");
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("cannot write out: File exists"), "{}", told.stderr);
    assert_eq!(fs::read_to_string(&out).unwrap(), tsv);

    json_lines(&this, &dump, &rows(&tsv));
    latin(this);
}

fn json_lines(this: &Exporter, dump: &[u8], rows: &[(String, String)]) {
    let keyring = this.keyring.to_str().unwrap();
    let args = ["--keyring", keyring, "--format", "jsonl", "--output", "-", "-"];
    let told = this.run(&args, dump);
    assert_eq!(told.code, 0);
    let mut admin = this.site.admin();
    for (line, (id, hash)) in told.stdout.lines().zip(rows) {
        // PostgreSQL reads it, and finds in it what it has.
        let same: bool = admin
            .query_one(
                "SELECT (j->>'must_change')::boolean = (c.must_change OR COALESCE(a.change_required_at >= c.changed_at, false))
                    AND (j->>'expires_at')::timestamptz IS NOT DISTINCT FROM c.expires_at
                    AND (j->>'disabled_at')::timestamptz IS NOT DISTINCT FROM a.disabled_at
                    AND (j->>'created_at')::timestamptz = c.created_at
                    AND (j->>'changed_at')::timestamptz = c.changed_at
                    AND j->>'hash' = $2
                   FROM (SELECT $1::text::json AS j) line
                   JOIN password_verify.credential c ON c.user_id = j->>'user_id'
                   JOIN password_verify.account a USING (blind_index)
                  WHERE c.user_id = $3",
                &[&line, hash, id],
            )
            .unwrap()
            .get(0);
        assert!(same, "{line}");
    }
    assert_eq!(told.stdout.lines().count(), rows.len());
    for part in [
        r#""expires_at":"2030-06-01T06:30:00.500000Z""#,
        r#""expires_at":"0044-03-15 12:00:00+00 BC""#,
        r#""expires_at":"infinity""#,
        r#""user_id":"a\nb\r\nc""#,
        r#""must_change":true"#,
    ] {
        assert!(told.stdout.contains(part), "{part}");
    }
}

#[test]
fn what_does_not_open_is_told_and_the_others_are_written() {
    let this = Exporter::new();
    for id in ["anna", "bert", "carl"] {
        this.site.enroll(id, GOOD);
    }
    let everybody = ["anna", "bert", "carl", "unsealed"];
    let dump = this.text();
    assert_eq!(ids(&this.exported(dump.as_bytes())), everybody);
    let table = |line: &str| line.starts_with("COPY password_verify.credential ");
    let from = dump.lines().position(table).unwrap();
    let row = |id: &str| {
        let mut lines = dump.lines().enumerate().skip(from);
        let at = lines.find(|(_, line)| line.split('\t').nth(1) == Some(id)).unwrap();
        (at.0 + 1, at.1.to_owned(), at.1.split('\t').next().unwrap().to_owned())
    };
    let says = |told: &Told, id: &str, why: &str| {
        let (line, _, number) = row(id);
        let expected =
            format!("password_verify_export: line {line}, blind_index {number}: {why}\n");
        assert!(told.stderr.contains(&expected), "{}", told.stderr);
    };

    // Without the key of three of them.
    let text = fs::read_to_string(&this.keyring).unwrap();
    let old = text.lines().next().unwrap();
    let other = this.folder.path().join("other");
    let without = |ring: Option<&str>| match ring {
        None => this.run(&["--output", "-", "-"], dump.as_bytes()),
        Some(ring) => {
            write_keyring(&other, &this.site.cluster, ring);
            this.export(&other, dump.as_bytes())
        }
    };
    let missing = "it is sealed with the key new, which the keyring does not have";
    let wrong = "it is sealed with a key new, and the key new of the keyring is another one";
    for (ring, why) in
        [(None, missing), (Some(old), missing), (Some(&*format!("new:{}", key())), wrong)]
    {
        let told = without(ring);
        assert_eq!((told.code, ids(&told.stdout)), (3, vec!["unsealed".to_owned()]), "{ring:?}");
        for id in &everybody[..3] {
            says(&told, id, why);
        }
        assert!(
            told.stderr.ends_with("export: rows that were not exported: 3\n"),
            "{}",
            told.stderr
        );
    }

    // Rows that were changed, or took the hash of another.
    let (_, anna, _) = row("anna");
    let (_, bert, _) = row("bert");
    let hash = |row: &str| row.split('\t').nth(2).unwrap().to_owned();
    let broken = "it does not open: it was changed, or belongs to another row";
    let no_row = "it is not a row of this table, or is cut off";
    for (changed, why) in [
        (anna.replace("\tf\t", "\tt\t"), broken),
        (anna.replacen("+00", "+01", 1), broken),
        (anna.replace(&hash(&anna), &hash(&bert)), broken),
        (anna.replace("\tf\t", "\t"), no_row),
        (anna.replace(&hash(&anna), ""), no_row),
    ] {
        assert_ne!(changed, anna);
        let told = this.export(&this.keyring, dump.replace(&anna, &changed).as_bytes());
        assert_eq!(
            (told.code, ids(&told.stdout)),
            (3, everybody[1..].iter().map(|id| (*id).to_owned()).collect())
        );
        says(&told, "anna", why);
    }

    // A dump that ends in the middle of a row.
    let (_, last, _) = ["anna", "bert", "carl", "unsealed"].map(row).into_iter().max().unwrap();
    let end = dump.find(&last).unwrap() + last.len() - 5;
    let told = this.export(&this.keyring, &dump.as_bytes()[..end]);
    assert_eq!((told.code, told.stdout.lines().count()), (1, 3));
    assert!(told.stderr.ends_with("the dump is cut off: it had more rows than were read\n"));

    // What comes from an importer is written as it is.
    let imported = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW";
    let told =
        this.export(&this.keyring, dump.replace(&hash(&row("unsealed").1), imported).as_bytes());
    assert_eq!(told.code, 0);
    assert!(told.stdout.contains(&format!("unsealed\t{imported}\n")));
    assert!(
        told.stderr.contains("export: 1 records are in formats of this extension's importer\n")
    );

    // A keyring that is not private, or none.
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    let told = this.export(&other, dump.as_bytes());
    assert!(
        told.stderr.starts_with("password_verify_export: warning: others can use the keyring ")
    );
    fs::write(&other, "new:secret\n").unwrap();
    let told = this.export(&other, dump.as_bytes());
    assert_eq!((told.code, told.stderr.contains("secret")), (1, false));
    assert!(told.stderr.contains("is not a keyring: line 1: the key is not 32 bytes"));

    other_dumps(&this);
}

/// Dumps that are not to be read, and leave no file.
fn other_dumps(this: &Exporter) {
    let mut dumpall = this.site.cluster.command("pg_dumpall");
    let second = Site::on(Arc::clone(&this.site.cluster));
    second.enroll("of the other database", GOOD);
    let all = run(&mut dumpall).stdout;
    let told = this.export(&this.keyring, &all);
    assert_eq!((told.code, told.stdout.lines().count()), (1, 4));
    assert!(told.stderr.contains("the passwords of another database too"), "{}", told.stderr);

    for (options, said) in [
        (&["--inserts"][..], "without them"),
        (&["--column-inserts"], "without them"),
        (&["--rows-per-insert=2"], "without them"),
        (&["--schema-only"], "no section COPY password_verify.credential"),
        (&["--encoding=LATIN1"], "make it with pg_dump --encoding=UTF8"),
    ] {
        let dump = this.dump("UTC", options);
        let told = this.run(&["--output", "never", "-"], &dump);
        assert_eq!(told.code, 1, "{options:?}");
        assert!(told.stderr.contains(said), "{options:?}: {}", told.stderr);
        assert!(!this.folder.path().join("never").exists(), "{options:?}");
    }
    // A dump in the directory format.
    let told = this.run(&["--output", "never", "."], b"");
    assert_eq!((told.code, told.stderr.contains("pg_restore -f - FILE |")), (1, true));
}

/// A database in another encoding.
fn latin(this: Exporter) {
    let options = "ENCODING 'LATIN1' LOCALE 'C'";
    let latin = Site::with(Arc::clone(&this.site.cluster), options);
    latin.enroll("zoë", GOOD);
    let this = Exporter { site: latin, ..this };
    assert_eq!(ids(&this.exported(&this.dump("UTC", &["--encoding=UTF8"]))), ["zoë"]);
    // A dump that is there already.
    let dump = this.dump("UTC", &[]);
    assert_eq!(this.export(&this.keyring, &dump).code, 1);
    let file = this.folder.path().join("latin");
    fs::write(&file, dump).unwrap();
    let script = "iconv -f LATIN1 -t UTF-8 latin | sed \"s/^SET client_encoding = .*/SET client_encoding = 'UTF8';/\"";
    let converted = run(Command::new("sh").args(["-c", script]).current_dir(this.folder.path()));
    assert_eq!(ids(&this.exported(&converted.stdout)), ["zoë"]);
}

//! Secrets come out, those in vaults with the vault password only, and none without being asked for.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use password_verify_tests::calls::rename;
use password_verify_tests::cluster::run;
use password_verify_tests::keeper::{
    DESTINATION, VAULT, VAULT2, change_vault, create_vault, finish, open, request, store,
    store_in_vault, take,
};
use password_verify_tests::{Answer, GOOD};
use postgres::Client;
use serde_json::{Value, json};

use crate::exporter::{Exporter, Told};

/// Begins every secret, and nothing else.
pub const CANARY: &str = "canary-";
/// Users with one secret `imap`, which is the canary and their id.
const IDS: [&str; 5] = ["42", "a\tb\nc\\d\\N", "zoë 用户", "\\.", "moved"];
const WARNING: &str =
    "holds secrets in the clear, which whoever has them can use; delete it after use\n";

/// What the command has to write, sorted.
struct Expected {
    open: Vec<Value>,
    /// Those in the vaults of `vera` and `tab\tbed`, in the clear.
    vera: Vec<Value>,
    tabbed: Vec<Value>,
}

fn of(user: &str, name: &str, secret: &str) -> Value {
    let mut destination: Value = serde_json::from_str(DESTINATION).unwrap();
    destination["host"] = "mail.example.org".into();
    json!({
        "user_id": user, "name": name, "destination": destination, "state": "new",
        "in_vault": false, "secret": secret,
    })
}

fn in_vault(user: &str, name: &str, secret: &str) -> Value {
    let mut value = of(user, name, secret);
    value["in_vault"] = true.into();
    value
}

fn sorted(mut lines: Vec<Value>) -> Vec<Value> {
    lines.sort_by_key(|line| (line["user_id"].to_string(), line["name"].to_string()));
    lines
}

pub fn lines(jsonl: &str) -> Vec<Value> {
    sorted(jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// As they are written without a vault password.
fn locked(lines: &[Value]) -> Vec<Value> {
    let mut lines = lines.to_vec();
    lines.iter_mut().for_each(|line| line["secret"] = Value::Null);
    lines
}

fn all(groups: [&[Value]; 3]) -> Vec<Value> {
    sorted(groups.concat())
}

/// A database with secrets in each state, and of each size.
fn fill(this: &Exporter) -> Expected {
    let mut app = this.site.login_with(&["depositor"]);
    let mut open_ones = Vec::new();
    for id in IDS {
        let secret = format!("{CANARY}{id}");
        store(&mut app, id, "imap", &secret);
        open_ones.push(of(id, "imap", &secret));
    }
    let mut manager = this.site.login_with(&["manager"]);
    this.site.enroll("moved", GOOD);
    assert_eq!(rename(&mut manager, "moved", "moved to"), Answer::yes());
    open_ones[4]["user_id"] = "moved to".into();

    open_ones.push(largest(&mut app));
    let mut keeper = this.site.login_with(&["connector"]);
    for (name, outcome, detail) in
        [("good", "done", "ok"), ("bad\t\"name\"", "rejected", "credential_refused")]
    {
        store(&mut app, "states", name, CANARY);
        let job = request(&mut app, "states", name);
        assert_eq!(take(&mut keeper), Some(job));
        assert_eq!(open(&mut keeper, job), Ok(CANARY.into()));
        finish(&mut keeper, job, outcome, detail);
        let mut value = of("states", name, CANARY);
        value["state"] = if outcome == "done" { "verified" } else { "rejected" }.into();
        open_ones.push(value);
    }

    for user in ["vera", "tab\tbed", "empty vault"] {
        assert_eq!(create_vault(&mut app, user, VAULT), Answer::yes());
    }
    let mut vera = Vec::new();
    for name in ["one", "two"] {
        let secret = format!("{CANARY}{name}");
        store_in_vault(&mut app, "vera", name, &secret);
        vera.push(in_vault("vera", name, &secret));
    }
    assert_eq!(change_vault(&mut app, "vera", VAULT, VAULT2), Answer::yes());
    store(&mut app, "vera", "outside", CANARY);
    open_ones.push(of("vera", "outside", CANARY));
    store_in_vault(&mut app, "tab\tbed", "one", CANARY);
    Expected { open: open_ones, vera, tabbed: vec![in_vault("tab\tbed", "one", CANARY)] }
}

/// The longest secret, for a long destination, in which much is escaped.
fn largest(app: &mut Client) -> Value {
    let body = format!("M{}\n", "A".repeat(63)).repeat(187);
    let ca = format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n");
    let destination = json!({
        "protocol": "smtp", "host": "mail.example.org", "port": 587, "mechanism": "XOAUTH2",
        "login": "\\\"".repeat(160), "token_endpoint": "https://id.example/token",
        "scopes": ["a", "b"], "ca": ca,
    });
    let (name, secret) = ("\\".repeat(128), format!("{CANARY}\0x").replace('\0', "\u{1}\n\""));
    let secret = format!("{secret}{}", "\\".repeat(8192 - secret.len()));
    let sql = "SELECT success FROM auth.pv_store_secret($1::text, $2, $3, $4::text::jsonb)";
    let user = "\\".repeat(255);
    let stored = app.query_one(sql, &[&user, &name, &secret, &destination.to_string()]).unwrap();
    assert!(stored.get::<_, bool>(0));
    let mut value = of(&user, &name, &secret);
    value["destination"] = destination;
    value
}

/// Vault passwords in a file, and the options for them.
pub fn given(this: &Exporter, file: &str) -> [&'static str; 2] {
    let path = this.folder.path().join("passwords");
    fs::write(&path, file).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    ["--vault-passwords", "passwords"]
}

/// To standard output.
pub fn export(this: &Exporter, options: &[&str], dump: &[u8]) -> Told {
    let keyring = this.keyring.to_str().unwrap();
    let told = this.run(&[&["--keyring", keyring, "--secrets", "-", "-"], options].concat(), dump);
    assert!(!told.stderr.contains(CANARY) && !told.stderr.contains("lanterns"), "{}", told.stderr);
    told
}

#[test]
fn secrets_come_out_if_asked() {
    let this = Exporter::new();
    let expected = fill(&this);
    let dump = this.dump("UTC", &[]);

    // Nobody has asked.
    let hashes = this.export(&this.keyring, &dump);
    assert_eq!((hashes.code, hashes.stdout.lines().count()), (0, 2));
    assert!(!hashes.stdout.contains(CANARY));

    // Without a vault password.
    let closed = all([&expected.open, &locked(&expected.vera), &locked(&expected.tabbed)]);
    let told = export(&this, &[], &dump);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(lines(&told.stdout), closed);
    let written = closed.len();
    assert_eq!(
        told.stderr,
        format!(
            "password_verify_export: {written} secrets were written to standard output\n\
             password_verify_export: 3 of them are in vaults: without the secret itself, for which the vault \
             password was not given\n\
             password_verify_export: warning: standard output {WARNING}"
        )
    );
    // In an order in which people read it.
    let first = r#"{"user_id":"42","name":"imap","destination":{"host":"mail.example.org","login":"alice","mechanism":"PLAIN","port":993,"protocol":"imaps"},"state":"new","in_vault":false,"secret":"canary-42"}"#;
    assert!(told.stdout.lines().any(|line| line == first), "{}", told.stdout);

    // Whatever the form of the dump is, and the settings of whoever dumps.
    let only = ["secret", "vault", "blind_index_key"]
        .map(|table| format!("--table=password_verify.{table}"));
    let only: Vec<&str> = only.iter().map(String::as_str).chain(["--data-only"]).collect();
    assert_eq!(lines(&export(&this, &[], &this.dump("Asia/Kolkata", &only)).stdout), closed);
    let quoted = this.dump("America/St_Johns", &["--quote-all-identifiers"]);
    assert_eq!(lines(&export(&this, &[], &quoted).stdout), closed);
    let mut pg_restore = this.site.cluster.command("pg_restore");
    let file = this.site.cluster.folder().join("custom");
    fs::write(&file, this.dump("UTC", &["-Fc"])).unwrap();
    let plain = run(pg_restore.args(["-f", "-"]).arg(&file)).stdout;
    assert_eq!(lines(&export(&this, &[], &plain).stdout), closed);
    let sql = format!("ALTER DATABASE {} SET bytea_output = 'escape'", this.site.database);
    this.site.admin().batch_execute(&sql).unwrap();
    let escaped = this.dump("UTC", &only);
    assert!(!String::from_utf8(escaped.clone()).unwrap().contains("\\\\x"));
    assert_eq!(lines(&export(&this, &[], &escaped).stdout), closed);

    vaults(&this, &expected, &dump);
    files(&this, &expected, &dump);
}

fn vaults(this: &Exporter, expected: &Expected, dump: &[u8]) {
    // One vault of two, and one without secrets.
    let half = all([&expected.open, &expected.vera, &locked(&expected.tabbed)]);
    let options = given(this, &format!("vera\t{VAULT2}\nempty vault\t{VAULT}\n"));
    let told = export(this, &options, dump);
    assert_eq!((told.code, lines(&told.stdout)), (0, half), "{}", told.stderr);
    assert!(told.stderr.contains("export: 1 of them are in vaults"), "{}", told.stderr);

    // Both, and of somebody without a vault.
    let both = format!("vera\t{VAULT2}\r\n\ntab\\tbed\t{VAULT}\n42\tx\nnobody\ty");
    let opened = all([&expected.open, &expected.vera, &expected.tabbed]);
    let told = export(this, &given(this, &both), dump);
    assert_eq!((told.code, lines(&told.stdout)), (0, opened.clone()), "{}", told.stderr);
    assert!(!told.stderr.contains("in vaults"), "{}", told.stderr);
    let unused = "export: vault passwords of users without a vault in the dump: 2\n";
    assert!(told.stderr.contains(unused), "{}", told.stderr);

    // The vaults before the secrets, as a dump of several pieces may have them.
    let text = String::from_utf8(dump.to_vec()).unwrap();
    let from = text.find("COPY password_verify.vault ").unwrap();
    let to = from + text[from..].find("\n\\.\n").unwrap() + 4;
    let (section, rest) = (&text[from..to], [&text[..from], &text[to..]].concat());
    let turned = rest.replacen(
        "COPY password_verify.secret ",
        &format!("{section}\nCOPY password_verify.secret "),
        1,
    );
    let told = export(this, &given(this, &both), turned.as_bytes());
    assert_eq!((told.code, lines(&told.stdout)), (0, opened.clone()), "{}", told.stderr);

    // On standard input.
    fs::write(this.folder.path().join("dump"), dump).unwrap();
    let keyring = this.keyring.to_str().unwrap();
    let args = ["--keyring", keyring, "--secrets", "-", "--vault-passwords", "-", "dump"];
    let told = this.run(&args, both.as_bytes());
    assert_eq!((told.code, lines(&told.stdout)), (0, opened), "{}", told.stderr);

    // The one before, that of another user, and without the rows of vaults.
    let wrong = "the vault password that was given for its user is wrong";
    let missing = "the row of password_verify.vault of its user is missing, was changed, or belongs to another row";
    let right = format!("vera\t{VAULT2}\n");
    let swapped = text.replace("\tvera\t$sealed", "\tbob\t$sealed");
    let moved = section.replace("\tvera\t", "\tx\t").replace("\ttab\\tbed\t", "\tvera\t");
    let moved = [&text[..from], &moved, &text[to..]].concat();
    for (dump, file, why) in [
        (&text, format!("vera\t{VAULT}\n"), wrong),
        (&text, format!("vera\t{VAULT2} \n"), wrong),
        (&rest, right.clone(), missing),
        (&swapped, right.clone(), missing),
        (&moved, right.clone(), missing),
    ] {
        let told = export(this, &given(this, &file), dump.as_bytes());
        let left = all([&expected.open, &locked(&expected.tabbed), &[]]);
        assert_eq!((told.code, lines(&told.stdout)), (3, left), "{}", told.stderr);
        assert_eq!(told.stderr.matches(why).count(), 2, "{}", told.stderr);
        assert!(told.stderr.ends_with("export: rows that were not exported: 2\n"));
    }
}

/// Who can use the files.
fn files(this: &Exporter, expected: &Expected, dump: &[u8]) {
    let folder = this.folder.path();
    let keyring = this.keyring.to_str().unwrap();
    let args = ["--keyring", keyring, "--output", "hashes", "--secrets", "secrets", "-"];
    let told = this.run(&args, dump);
    assert_eq!((told.code, told.stdout.as_str()), (0, ""), "{}", told.stderr);
    for said in ["2 rows were written to hashes\n", &format!("warning: secrets {WARNING}")] {
        assert!(told.stderr.contains(said), "{}", told.stderr);
    }
    let text = fs::read_to_string(folder.join("secrets")).unwrap();
    let closed = all([&expected.open, &locked(&expected.vera), &locked(&expected.tabbed)]);
    assert_eq!(lines(&text), closed);
    assert_eq!(fs::metadata(folder.join("secrets")).unwrap().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(folder.join("hashes")).unwrap().contains(CANARY));

    // Nothing is overwritten, and nothing begun.
    fs::remove_file(folder.join("hashes")).unwrap();
    let told = this.run(&args, dump);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("cannot write secrets: File exists"), "{}", told.stderr);
    assert_eq!(fs::read_to_string(folder.join("secrets")).unwrap(), text);
    assert!(!folder.join("hashes").exists());

    // Vault passwords that others can read, or that are none.
    let options = given(this, &format!("vera\t{VAULT2}\nlanterns\n"));
    let told = export(this, &options, dump);
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
    assert!(told.stderr.contains("passwords has no vault passwords: line 2: it is not"));
    for mode in [0o640, 0o604] {
        let options = given(this, &format!("vera\t{VAULT2}\n"));
        let path = folder.join("passwords");
        // 0640 would do for root's.
        chown(&path, Some(fs::metadata(this.site.cluster.data()).unwrap().uid()), None).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let told = export(this, &options, dump);
        assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{mode:o}");
        assert!(told.stderr.contains("others can use passwords, which"), "{}", told.stderr);
    }
}

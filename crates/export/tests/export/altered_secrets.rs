//! Secrets that were changed or have no key are told, and dumps that are not to be read are refused.

use std::fs;
use std::sync::Arc;

use password_verify_tests::cluster::run;
use password_verify_tests::keeper::{VAULT, create_vault, store, store_in_vault};
use password_verify_tests::{Answer, Site};

use crate::exporter::{Exporter, key, write_keyring};
use crate::secrets::{CANARY, export, given, lines};

#[test]
fn what_was_changed_or_has_no_key_is_told() {
    let this = Exporter::new();
    let mut app = this.site.login_with(&["depositor"]);
    for (user, name) in [("anna", "imap"), ("anna", "smtp"), ("bert", "imap")] {
        store(&mut app, user, name, &format!("{CANARY}{user}-{name}"));
    }
    assert_eq!(create_vault(&mut app, "carl", VAULT), Answer::yes());
    store_in_vault(&mut app, "carl", "imap", CANARY);
    let dump = this.text();
    let row = |user: &str, name: &str| {
        let found = dump
            .lines()
            .enumerate()
            .skip_while(|(_, line)| !line.starts_with("COPY password_verify.secret "));
        let is_it = |line: &str| line.contains(&format!("\t{user}\t{name}\t"));
        found.map(|(at, line)| (at + 1, line.to_owned())).find(|(_, line)| is_it(line)).unwrap()
    };
    let (line, anna) = row("anna", "imap");
    let (smtp, carl) = (row("anna", "smtp").1, row("carl", "imap").1);
    let field = |row: &str, at: usize| row.split('\t').nth(at).unwrap().to_owned();
    let broken = "it does not open: it was changed, or belongs to another row";
    let altered = "its MAC is not that of this row, which was changed or moved";
    let no_row = "it is not a row of this table, or is cut off";

    let swap = |at| anna.replace(&field(&anna, at), &field(&smtp, at));
    for (changed, why) in [
        (swap(0), altered),
        (swap(1), broken),
        (anna.replace("\tanna\t", "\tbert\t"), broken),
        (anna.replace("\timap\t", "\tsmtp\t"), altered),
        (anna.replace("mail.example.org", "evil.example.org"), altered),
        (swap(5), broken),
        (anna.replace("\tf\t", "\tt\t"), broken),
        (swap(7), altered),
        (anna.replace("\tnew\t", "\tverified\t"), altered),
        (anna.replace("\tnew\t\\N\t", "\tnew\tok\t"), altered),
        (anna.replacen("+00", "+01", 1), altered),
        (anna.replace("+00\t\\N\t", "+00\t2026-01-02 03:04:05+00\t"), altered),
        (anna.replace(&field(&anna, 12), &field(&smtp, 12)), altered),
        (anna.replace(&field(&anna, 12), "\\\\x"), altered),
        (anna.replace("\tf\t", "\t"), no_row),
        (anna.replace("{", "["), no_row),
    ] {
        assert_ne!(changed, anna);
        let told = export(&this, &[], dump.replace(&anna, &changed).as_bytes());
        assert_eq!((told.code, lines(&told.stdout).len()), (3, 3), "{changed}: {}", told.stderr);
        let number = field(&changed, 0);
        let said = format!("password_verify_export: line {line}, key {number}: {why}\n");
        assert!(told.stderr.contains(&said), "{changed}: {}", told.stderr);
    }
    // What is not opened is looked at just as well.
    let evil = carl.replace("mail.example.org", "evil.example.org");
    let told = export(&this, &[], dump.replace(&carl, &evil).as_bytes());
    assert_eq!((told.code, lines(&told.stdout).len()), (3, 3));
    assert!(told.stderr.contains(altered), "{}", told.stderr);
    // Even with the vault password, there is no way from the vault to outside of it.
    let outside = carl.replace("\tt\t", "\tf\t");
    let told = export(
        &this,
        &given(&this, &format!("carl\t{VAULT}")),
        dump.replace(&carl, &outside).as_bytes(),
    );
    assert_eq!((told.code, lines(&told.stdout).len()), (3, 3));

    keys(&this, &dump);
    other_dumps(&this, &dump);
}

/// Keys that are missing.
fn keys(this: &Exporter, dump: &str) {
    let text = fs::read_to_string(&this.keyring).unwrap();
    let other = this.folder.path().join("other");
    let missing = "it is sealed with the key new, which the keyring does not have";
    let wrong = "it is sealed with a key new, and the key new of the keyring is another one";
    for (ring, why) in [
        (None, missing),
        (text.lines().next().map(str::to_owned), missing),
        (Some(format!("new:{}", key())), wrong),
    ] {
        let mut args = vec!["--secrets", "-", "-"];
        if let Some(ring) = &ring {
            write_keyring(&other, &this.site.cluster, ring);
            args.extend(["--keyring", "other"]);
        }
        let told = this.run(&args, dump.as_bytes());
        assert_eq!((told.code, told.stdout.as_str()), (3, ""), "{}", told.stderr);
        assert_eq!(told.stderr.matches(why).count(), 4, "{}", told.stderr);
    }
    // The key of the blind index of another installation, both, and none.
    let from = dump.find("COPY password_verify.blind_index_key ").unwrap();
    let from = from + dump[from..].find('\n').unwrap() + 1;
    let own = &dump[from..from + dump[from..].find('\n').unwrap() + 1];
    let start = own.find("\\\\x").unwrap() + 3;
    let another = format!("{}{}{}", &own[..start], "5".repeat(64), &own[start + 64..]);
    let no_key =
        "password_verify.blind_index_key does not have the one key that its MAC depends on";
    let altered = "its MAC is not that of this row, which was changed or moved";
    for (rows, why) in
        [(another.clone(), altered), (format!("{own}{another}"), no_key), (String::new(), no_key)]
    {
        let told = export(this, &[], dump.replace(own, &rows).as_bytes());
        assert_eq!((told.code, told.stdout.as_str()), (3, ""), "{}", told.stderr);
        assert_eq!(told.stderr.matches(why).count(), 4, "{}", told.stderr);
    }
}

/// Dumps that are not to be read, and leave no file.
fn other_dumps(this: &Exporter, dump: &str) {
    let second = Site::on(Arc::clone(&this.site.cluster));
    store(&mut second.login_with(&["depositor"]), "dora", "imap", CANARY);
    let dumped = run(&mut this.site.cluster.command("pg_dumpall")).stdout;
    let told = export(this, &[], &dumped);
    // It has the databases in the order of their names.
    let first = if this.site.database < second.database { 4 } else { 1 };
    assert_eq!((told.code, told.stdout.lines().count()), (1, first), "{}", told.stderr);
    assert!(told.stderr.contains("the secrets of another database too"), "{}", told.stderr);

    let keyless = ["--table=password_verify.secret", "--data-only"];
    for (dump, said) in [
        (this.dump("UTC", &["--inserts"]), "without them"),
        (this.dump("UTC", &["--schema-only"]), "no section COPY password_verify.secret"),
        (this.dump("UTC", &keyless), "no section COPY password_verify.blind_index_key"),
    ] {
        let told = this.run(&["--secrets", "never", "-"], &dump);
        assert_eq!(told.code, 1);
        assert!(told.stderr.contains(said), "{}", told.stderr);
        assert!(!this.folder.path().join("never").exists(), "{said}");
    }
    // One that ends in the middle of the last row.
    let from = dump.find("COPY password_verify.secret ").unwrap();
    let end = from + dump[from..].find("\n\\.\n").unwrap() - 5;
    let told = export(this, &[], &dump.as_bytes()[..end]);
    assert_eq!((told.code, told.stdout.lines().count()), (1, 3), "{}", told.stderr);
    assert!(told.stderr.ends_with("the dump is cut off: it had more rows than were read\n"));
}

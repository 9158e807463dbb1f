//! `contrib/mail-on-change`: users are told by mail of what was committed, and of nothing else.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use password_verify_tests::calls::{change, create, issue, manage, rename, reset, set, validate};
use password_verify_tests::cluster::{run, server};
use password_verify_tests::query::number;
use password_verify_tests::smtp::{Mail, Sink};
use password_verify_tests::told::chance;
use password_verify_tests::trail::{settle, wait_until};
use password_verify_tests::{ALL_KINDS, Answer, GOOD, OTHER, Site, WRONG, attack};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/mail-on-change");

/// A site with the recipe set up in it, and a mail server.
struct Office {
    site: Site,
    sink: Sink,
}

impl Office {
    fn open() -> Self {
        let site = Site::on(server(&[]));
        // What was before is not reported.
        site.enroll("before", GOOD);
        assert_eq!(change(&mut site.login(), "before", GOOD, OTHER), Answer::yes());
        settle(&mut site.admin());
        site.admin().batch_execute("CREATE ROLE mailer LOGIN").unwrap();
        let mut psql = site.cluster.command("psql");
        psql.args(["-X", "-q", "-v", "schema=auth", "-v", "role=mailer", "-d", &site.database]);
        run(psql.stdin(File::open(Path::new(RECIPE).join("setup.sql")).unwrap()));
        let program = site.cluster.folder().join("mail_on_change.py");
        fs::copy(Path::new(RECIPE).join("mail_on_change.py"), &program).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        let office = Self { site, sink: Sink::start() };
        office.addresses(&["before", "alice", "bob", "carol", "dora"]);
        office
    }

    fn addresses(&self, users: &[&str]) {
        let sql = "INSERT INTO mail_on_change.address VALUES ($1, $1 || '@example.com')";
        users
            .iter()
            .for_each(|user| assert_eq!(self.site.admin().execute(sql, &[user]).unwrap(), 1));
    }

    /// The program, as a DBA runs it, with psql of this server.
    fn program(&self, more: &[&str]) -> Command {
        let psql = self.site.cluster.command("psql");
        let path = Path::new(psql.get_program()).parent().unwrap().display().to_string();
        let mut program = self.site.cluster.command("/usr/bin/env");
        program.arg(format!("PATH={path}:/usr/local/bin:/usr/bin:/bin"));
        program.args(["python3", "mail_on_change.py", "--from", "Site <security@example.com>"]);
        program.args(["--smtp", &format!("127.0.0.1:{}", self.sink.port)]).args(more);
        program.env("PGUSER", "mailer").env("PGDATABASE", &self.site.database);
        program
    }

    /// Looks once; what it said.
    fn look(&self) -> String {
        settle(&mut self.site.admin());
        let output = run(&mut self.program(&["--once"]));
        String::from_utf8(output.stderr).unwrap()
    }

    fn start(&self) -> Child {
        let mut program = self.program(&["--every", "0.05"]);
        program.stderr(Stdio::null()).spawn().unwrap()
    }

    /// "address: subject" of all mails, in order.
    fn told(&self) -> Vec<String> {
        self.sink
            .mails()
            .iter()
            .map(|mail| format!("{}: {}", mail.to, mail.header("Subject")))
            .collect()
    }

    fn is_over(&self) -> bool {
        let sql = "SELECT (SELECT count(*) FROM mail_on_change.mail) + (SELECT count(*) FROM mail_on_change.change)
                        + (SELECT count(*) FROM password_verify.event e, mail_on_change.place p WHERE (e.epoch, e.seq) > (p.epoch, p.seq))";
        number(&mut self.site.admin(), sql) == 0
    }
}

#[test]
fn a_user_is_told_of_each_change_that_was_committed() {
    let office = Office::open();
    let mut app = office.site.login_with(&ALL_KINDS);
    assert_eq!(office.look(), "");
    assert_eq!(office.told(), [""; 0], "of what was before");

    ["alice", "bob"]
        .iter()
        .for_each(|user| assert_eq!(create(&mut app, user, GOOD), Answer::yes()));
    assert_eq!(validate(&mut app, "alice", GOOD), Answer::yes());
    assert_eq!(change(&mut app, "alice", WRONG, OTHER), Answer::wrong());
    assert_eq!(change(&mut app, "alice", GOOD, "short"), Answer::no("too_short"));
    assert_eq!(office.look(), "");
    assert_eq!(office.told(), [""; 0], "of what has changed nothing");

    assert_eq!(change(&mut app, "alice", GOOD, OTHER), Answer::yes());
    let token = issue(&mut app, "bob");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
    assert_eq!(set(&mut app, "bob", GOOD), Answer::yes());
    assert!(manage(&mut app, "pv_disable_user", "bob"));
    assert!(manage(&mut app, "pv_enable_user", "bob"));
    assert_eq!(rename(&mut app, "alice", "carol"), Answer::yes());
    assert!(manage(&mut app, "pv_delete_user", "carol"));
    // A user without an address cannot be told.
    assert_eq!(create(&mut app, "nowhere", GOOD), Answer::yes());
    assert!(manage(&mut app, "pv_disable_user", "nowhere"));
    assert_eq!(office.look(), "mail-on-change: 1 changes are of users who have no address\n");
    let expected = [
        "alice@example.com: Your password was changed",
        "bob@example.com: Your password was reset",
        "bob@example.com: Your password was replaced",
        "bob@example.com: Your account was disabled",
        "bob@example.com: Your account was enabled",
        "carol@example.com: Your user name was changed",
        "carol@example.com: Your password was deleted",
    ];
    assert_eq!(office.told(), expected);
    for mail in office.sink.mails() {
        assert!(mail.text.contains("Time: 20") && !mail.text.contains("{at}"), "{}", mail.text);
        assert!(
            ![GOOD, OTHER, WRONG, &token].iter().any(|it| mail.text.contains(*it)),
            "{}",
            mail.text
        );
    }
    assert!(office.is_over());
    assert_eq!((office.look().as_str(), office.told().len()), ("", expected.len()), "once");
}

#[test]
fn nobody_is_told_of_what_was_not_committed() {
    let office = Office::open();
    let mut app = office.site.login_with(&ALL_KINDS);
    ["alice", "bob"]
        .iter()
        .for_each(|user| assert_eq!(create(&mut app, user, GOOD), Answer::yes()));
    let disable = "SELECT auth.pv_disable_user($1::text)";
    let mut open = app.transaction().unwrap();
    open.execute(disable, &[&"alice"]).unwrap();
    {
        let mut inner = open.transaction().unwrap();
        inner.execute(disable, &[&"bob"]).unwrap();
        inner.rollback().unwrap();
    }
    // It is in the feed, and not over.
    wait_until("the change is known", || {
        run(&mut office.program(&["--once"]));
        number(&mut office.site.admin(), "SELECT count(*) FROM mail_on_change.change") >= 1
    });
    assert_eq!(office.told(), [""; 0]);
    open.commit().unwrap();
    office.look();
    assert_eq!(office.told(), ["alice@example.com: Your account was disabled"], "and not bob");
    let mut open = app.transaction().unwrap();
    open.execute("SELECT auth.pv_enable_user($1::text)", &[&"alice"]).unwrap();
    open.rollback().unwrap();
    office.look();
    assert_eq!(office.told().len(), 1);
    assert!(office.is_over());
    // Of three changes in one transaction it is told once for each action.
    let mut open = app.transaction().unwrap();
    for password in [OTHER, GOOD, OTHER] {
        let sql = "SELECT auth.pv_set_password('bob'::text, $1)";
        open.execute(sql, &[&password]).unwrap();
    }
    open.execute(disable, &[&"bob"]).unwrap();
    open.commit().unwrap();
    office.look();
    let expected = [
        "bob@example.com: Your password was replaced",
        "bob@example.com: Your account was disabled",
    ];
    assert_eq!(office.told()[1..], expected);
}

/// Killed at moments that nobody has chosen, and when the mail server has a mail and has not said so.
#[test]
fn whoever_kills_the_program_each_change_is_told_of() {
    const ROUNDS: usize = 20;
    let office = Office::open();
    let mut app = office.site.login_with(&ALL_KINDS);
    let users: Vec<String> = (0..5).map(|i| format!("user{i}")).collect();
    users.iter().for_each(|user| assert_eq!(create(&mut app, user, GOOD), Answer::yes()));
    office.addresses(&users.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut kills, mut rolled_back) = (0, 0);
    let doomed: Arc<Mutex<Option<Child>>> = Arc::default();
    for round in 0..ROUNDS {
        *doomed.lock().unwrap() = Some(office.start());
        if round % 2 == 0 {
            let doomed = Arc::clone(&doomed);
            let mut left = chance(round, 4);
            office.sink.before_answers(move |_| {
                if left == 0 {
                    drop(doomed.lock().unwrap().as_mut().map(Child::kill));
                }
                left = left.wrapping_sub(1);
            });
        }
        for user in &users {
            let mut open = app.transaction().unwrap();
            let function = if round % 2 == 0 { "pv_disable_user" } else { "pv_enable_user" };
            let sql = format!("SELECT auth.{function}($1::text)");
            let there = open.query_one(&sql, &[user]).unwrap().get::<_, bool>(0);
            assert!(there);
            open.commit().unwrap();
            let mut open = app.transaction().unwrap();
            open.execute("SELECT auth.pv_set_password($1::text, $2)", &[user, &GOOD]).unwrap();
            open.rollback().unwrap();
            rolled_back += 1;
        }
        thread::sleep(Duration::from_millis(300 + chance(round, 500)));
        let mut child = doomed.lock().unwrap().take().unwrap();
        drop(child.kill());
        kills += 1;
        child.wait().unwrap();
        office.sink.before_answers(|_| {});
        // A mail that was claimed comes again after a minute: not to wait for it.
        office.site.admin().batch_execute("UPDATE mail_on_change.mail SET due_at = now()").unwrap();
    }
    office.look();
    assert!(office.is_over());
    // A mail is known by its id, which names the event.
    let mut times: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for mail in office.sink.mails() {
        let entry = times.entry(mail.header("Message-ID").to_owned()).or_default();
        *entry = (subject(&mail), entry.1 + 1);
    }
    let changes = ROUNDS * users.len();
    for subject in ["Your account was disabled", "Your account was enabled"] {
        let told = times.values().filter(|(it, _)| it == subject).count();
        assert_eq!(told, changes / 2, "{subject}");
    }
    assert_eq!(times.len(), changes, "of {rolled_back} changes that were rolled back none is told");
    let twice = times.values().map(|(_, times)| times - 1).sum::<usize>();
    println!("{changes} changes, {kills} kills, {twice} mails twice");
    assert!(twice <= kills && twice > 0, "{twice}");
    attack("changes that a user was not told of after 20 kills of the program", changes, 0);
}

fn subject(mail: &Mail) -> String {
    mail.header("Subject").to_owned()
}

#[test]
fn a_mail_that_is_not_taken_holds_up_no_other() {
    let office = Office::open();
    let mut app = office.site.login_with(&ALL_KINDS);
    let users = ["later", "refused", "lines", "two", "fine"];
    users.iter().for_each(|user| assert_eq!(create(&mut app, user, GOOD), Answer::yes()));
    office.addresses(&["later", "refused", "fine"]);
    office
        .site
        .admin()
        .batch_execute(
            r"INSERT INTO mail_on_change.address VALUES
                  ('lines', E'lines@example.com\r\nBcc: mallory@example.com'),
                  ('two', 'two@example.com, mallory@example.com')",
        )
        .unwrap();
    users.iter().for_each(|user| assert!(manage(&mut app, "pv_disable_user", user)));
    let said = office.look();
    assert_eq!(said.lines().filter(|line| line.contains("was not taken")).count(), 4, "{said}");
    assert_eq!(office.told(), ["fine@example.com: Your account was disabled"]);
    let sql = "SELECT count(*) FROM mail_on_change.mail WHERE due_at = 'infinity' AND problem IS NOT NULL";
    assert_eq!(number(&mut office.site.admin(), sql), 3);
    let sql = "SELECT count(*) FROM mail_on_change.mail WHERE due_at BETWEEN now() AND now() + interval '1 min'";
    assert_eq!(number(&mut office.site.admin(), sql), 1, "later");
}

#[test]
fn what_is_missing_in_the_feed_is_said() {
    let office = Office::open();
    let mut app = office.site.login_with(&ALL_KINDS);
    assert_eq!(create(&mut app, "alice", GOOD), Answer::yes());
    assert_eq!(office.look(), "");
    assert!(manage(&mut app, "pv_disable_user", "alice"));
    settle(&mut office.site.admin());
    let delete = "DELETE FROM password_verify.event WHERE action = 'disable'";
    office.site.admin().batch_execute(delete).unwrap();
    let said = office.look();
    assert!(said.contains("users may not be told of everything: events between"), "{said}");
    // It goes on.
    assert!(manage(&mut app, "pv_enable_user", "alice"));
    assert_eq!(office.look(), "");
    assert_eq!(office.told(), ["alice@example.com: Your account was enabled"]);
    let change = "UPDATE password_verify.event SET mac = decode(repeat('00', 32), 'hex')
                   WHERE (epoch, seq) = (SELECT epoch, seq FROM mail_on_change.place)";
    office.site.admin().batch_execute(change).unwrap();
    let said = office.look();
    assert!(said.contains("is not the one that was read there"), "{said}");
    // As the README says: from an earlier event on. What has been told of is told of again, so it is for a DBA to decide.
    let back = "UPDATE mail_on_change.place SET (epoch, seq, hash) = (SELECT epoch, seq, encode(mac, 'hex') FROM auth.pv_events WHERE epoch = 1 AND seq = 0)";
    office.site.admin().batch_execute(back).unwrap();
    assert!(office.look().contains("events between"));
    assert_eq!(office.told().iter().filter(|it| it.contains("enabled")).count(), 2);
}

/// As the README says: addresses that the application has, two of one user while she changes hers.
#[test]
fn addresses_can_be_a_view_of_the_application_s_own() {
    let office = Office::open();
    office
        .site
        .admin()
        .batch_execute(
            "CREATE SCHEMA app;
             CREATE TABLE app.users (id bigint, email text);
             INSERT INTO app.users VALUES (7, 'old@example.com'), (7, 'new@example.com');
             DROP TABLE mail_on_change.address;
             CREATE VIEW mail_on_change.address AS SELECT id::text AS user_id, email AS address FROM app.users;
             GRANT SELECT ON mail_on_change.address TO mailer",
        )
        .unwrap();
    let mut app = office.site.login_with(&ALL_KINDS);
    assert_eq!(create(&mut app, "7", GOOD), Answer::yes());
    assert!(manage(&mut app, "pv_disable_user", "7"));
    assert_eq!(office.look(), "");
    let mut told = office.told();
    told.sort();
    let both = [
        "new@example.com: Your account was disabled",
        "old@example.com: Your account was disabled",
    ];
    assert_eq!(told, both);
}

/// The program's login sees the audit, and what is its own.
#[test]
fn the_login_of_the_program_reads_no_hash_and_changes_no_password() {
    let office = Office::open();
    let mut mailer = office.site.cluster.connect("mailer", &office.site.database);
    for sql in [
        "SELECT * FROM password_verify.credential",
        "SELECT auth.pv_set_password('before'::text, 'x')",
        "UPDATE mail_on_change.notice SET body = 'x'",
        "UPDATE mail_on_change.address SET address = 'x'",
    ] {
        let error = mailer.batch_execute(sql).unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
}

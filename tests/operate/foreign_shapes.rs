//! What a superuser may make of our tables and we do not work with: refused by name, in every session and by
//! the worker, and forgotten once it is gone.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::calls::validate;
use password_verify_tests::cluster::{major, server};
use password_verify_tests::keeper;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::trail::{settle, wait_until};
use password_verify_tests::{Answer, GOOD, Site, refused};
use postgres::Client;

/// What is done to a table, what undoes it, and what the hint names.
struct Change(String, String, &'static str);

fn changes(table: &str) -> Vec<Change> {
    let t = format!("password_verify.{table}");
    let (first, text, named) = match table {
        "event" => ("epoch", "detail", "\"detail\""),
        "secret" => ("key", "why", "\"why\""),
        _ => ("blind_index", "former", "\"former\""),
    };
    let mut all = vec![];
    let mut add = |make: String, undo: String, name| all.push(Change(make, undo, name));
    for (when, each) in
        [("BEFORE", "ROW"), ("AFTER", "ROW"), ("BEFORE", "STATEMENT"), ("AFTER", "STATEMENT")]
    {
        add(
            format!(
                "CREATE TRIGGER spy {when} INSERT OR UPDATE OR DELETE ON {t} FOR EACH {each} EXECUTE FUNCTION public.spy()"
            ),
            format!("DROP TRIGGER spy ON {t}"),
            "\"spy\"",
        );
    }
    add(
        format!(
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON {t} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.spy()"
        ),
        format!("DROP TRIGGER late ON {t}"),
        "\"late\"",
    );
    add(
        format!("CREATE RULE silence AS ON INSERT TO {t} DO ALSO NOTHING"),
        format!("DROP RULE silence ON {t}"),
        "\"silence\"",
    );
    add(
        format!("CREATE RULE swallow AS ON UPDATE TO {t} DO INSTEAD NOTHING"),
        format!("DROP RULE swallow ON {t}"),
        "\"swallow\"",
    );
    let key = match table {
        "event" => "epoch bigint, seq bigint".into(),
        _ => format!("{first} uuid"),
    };
    let columns = if table == "event" { "epoch, seq" } else { first };
    add(
        format!(
            "CREATE TABLE public.friend ({key}, FOREIGN KEY ({columns}) REFERENCES {t} ON DELETE CASCADE)"
        ),
        "DROP TABLE public.friend".into(),
        "\"friend_",
    );
    add(
        format!("CREATE TABLE public.owner ({first} {} PRIMARY KEY); INSERT INTO public.owner SELECT DISTINCT {first} FROM {t};
                 ALTER TABLE {t} ADD CONSTRAINT to_owner FOREIGN KEY ({first}) REFERENCES public.owner",
                if table == "event" { "bigint" } else { "uuid" }),
        format!("ALTER TABLE {t} DROP CONSTRAINT to_owner; DROP TABLE public.owner"),
        "\"to_owner\"",
    );
    add(
        format!(
            "ALTER TABLE {t} ADD CONSTRAINT whenever UNIQUE ({columns}) DEFERRABLE INITIALLY DEFERRED"
        ),
        format!("ALTER TABLE {t} DROP CONSTRAINT whenever"),
        "\"whenever\"",
    );
    add(
        format!("ALTER TABLE {t} ALTER {text} TYPE bytea USING {text}::bytea"),
        format!(
            "ALTER TABLE {t} ALTER {text} TYPE text COLLATE \"C\" USING encode({text}, 'escape')"
        ),
        named,
    );
    add(
        format!("ALTER TABLE {t} ALTER {text} TYPE varchar(5000)"),
        format!("ALTER TABLE {t} ALTER {text} TYPE text COLLATE \"C\""),
        named,
    );
    add(
        format!("CREATE TABLE public.child () INHERITS ({t})"),
        "DROP TABLE public.child".into(),
        "\"child\"",
    );
    add(
        format!(
            "CREATE TABLE public.parent ({first} {}); ALTER TABLE {t} INHERIT public.parent",
            if table == "event" { "bigint NOT NULL" } else { "uuid NOT NULL" }
        ),
        format!("ALTER TABLE {t} NO INHERIT public.parent; DROP TABLE public.parent"),
        "\"parent\"",
    );
    add(
        format!(
            "CREATE TABLE public.whole (LIKE {t}) PARTITION BY RANGE ({first}); ALTER TABLE public.whole ATTACH PARTITION {t} DEFAULT"
        ),
        format!("ALTER TABLE public.whole DETACH PARTITION {t}; DROP TABLE public.whole"),
        "\"whole\"",
    );
    if major() >= 15 {
        add(
            format!(
                "CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler; ALTER TABLE {t} SET ACCESS METHOD other"
            ),
            format!("ALTER TABLE {t} SET ACCESS METHOD heap; DROP ACCESS METHOD other"),
            "USING heap",
        );
    }
    // Once a column has been added there is no way back.
    add(format!("ALTER TABLE {t} ADD remark text DEFAULT 'none'"), String::new(), "\"remark\"");
    all
}

fn make(admin: &mut Client, sql: &str) {
    let made = admin.batch_execute(sql);
    assert!(made.is_ok(), "{sql}: {made:?}");
}

const SPY: &str = "CREATE TABLE public.seen (what text);
    CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (TG_OP); RETURN NULL; END $$";

fn refuses_and_recovers(table: &str) {
    let cluster = server(&[]);
    let site = Site::on(Arc::clone(&cluster));
    site.enroll("Ann", GOOD);
    let mut admin = site.admin();
    make(&mut admin, SPY);
    // Its session knows the tables from before each change.
    let mut app = site.login();
    for Change(sql, undo, name) in changes(table) {
        assert_eq!(validate(&mut app, "Ann", GOOD), Answer::yes(), "before {sql}");
        settle(&mut admin);
        make(&mut admin, &sql);
        for statement in [
            "SELECT auth.pv_validate_password('Ann', 'correct horse battery staple')",
            "SELECT auth.pv_create_password('Bob', 'correct horse battery staple')",
            "SELECT auth.pv_change_password('Ann', 'correct horse battery staple', 'velvet anvil under monsoon')",
        ] {
            let (state, message, hint) = refused(app.simple_query(statement));
            assert_eq!(
                (state.as_str(), message.as_str()),
                ("55000", "a table of password_verify is not as it was created"),
                "{sql}"
            );
            assert!(hint.contains(name) && hint.contains(table), "{sql}: {hint}");
        }
        if undo.is_empty() {
            return;
        }
        make(&mut admin, &undo);
    }
    unreachable!("the last change has no way back");
}

#[test]
fn what_is_put_on_the_credentials_is_refused_by_name_and_forgotten_when_it_is_gone() {
    refuses_and_recovers("credential");
}

/// What the keeper keeps is refused to the keeper and its application only.
#[test]
fn what_is_put_on_a_table_of_the_keeper_is_refused_by_name_and_forgotten_when_it_is_gone() {
    let site = sealed_site(&line("a", &fresh_key()));
    site.enroll("Ann", GOOD);
    let mut admin = site.admin();
    make(&mut admin, SPY);
    let (mut app, mut depositor) = (site.login(), site.login_with(&["depositor"]));
    for Change(sql, undo, name) in changes("secret") {
        keeper::store(&mut depositor, "Ann", "mail", "hunter2");
        make(&mut admin, &sql);
        for call in [
            "pv_secrets('Ann')",
            "pv_forget_secret('Ann', 'mail')",
            "pv_store_secret('Ann', 'mail', 'x', '{\"protocol\":\"imaps\",\"host\":\"a.example\",\"port\":993,\"login\":\"a\",\"mechanism\":\"PLAIN\"}')",
        ] {
            let (state, _, hint) = refused(depositor.simple_query(&format!("SELECT auth.{call}")));
            assert_eq!(state, "55000", "{sql}: {call}");
            assert!(hint.contains(name) && hint.contains("secret"), "{sql}: {hint}");
        }
        assert_eq!(validate(&mut app, "Ann", GOOD), Answer::yes(), "{sql}");
        if !undo.is_empty() {
            make(&mut admin, &undo);
        }
    }
}

#[test]
fn what_is_put_on_the_audit_is_refused_by_name_and_forgotten_when_it_is_gone() {
    refuses_and_recovers("event");
}

#[test]
fn a_column_that_was_dropped_is_refused_and_read_by_nobody() {
    for (table, column) in [("credential", "former"), ("event", "application_name")] {
        let site = Site::new();
        site.enroll("Ann", GOOD);
        let mut admin = site.admin();
        settle(&mut admin);
        let mut app = site.login();
        assert_eq!(validate(&mut app, "Ann", GOOD), Answer::yes());
        settle(&mut admin);
        make(&mut admin, &format!("ALTER TABLE password_verify.{table} DROP COLUMN {column}"));
        let (state, _, hint) =
            refused(app.query("SELECT auth.pv_validate_password('Ann', $1)", &[&GOOD]));
        assert_eq!(state, "55000", "{table}");
        assert!(hint.contains(table), "{hint}");
    }
}

#[test]
fn an_index_that_is_another_one_by_now_is_refused() {
    for index in [
        "CREATE INDEX credential_pkey ON password_verify.credential USING hash (blind_index)",
        "CREATE INDEX credential_pkey ON password_verify.credential (user_id)",
        "CREATE INDEX credential_pkey ON password_verify.credential (blind_index DESC)",
        "CREATE INDEX credential_pkey ON password_verify.credential (blind_index) WHERE user_id = ''",
        "CREATE INDEX credential_pkey ON password_verify.throttle (key)",
    ] {
        let site = Site::new();
        site.enroll("Ann", GOOD);
        let mut admin = site.admin();
        make(
            &mut admin,
            &format!(
                "ALTER TABLE password_verify.credential DROP CONSTRAINT credential_pkey; {index}"
            ),
        );
        let sql = "SELECT auth.pv_validate_password('Ann', $1)";
        let (state, _, hint) = refused(site.login().query(sql, &[&GOOD]));
        assert_eq!(state, "55000", "{index}");
        assert!(hint.contains("\"credential_pkey\""), "{index}: {hint}");
        make(
            &mut admin,
            "DROP INDEX password_verify.credential_pkey;
             ALTER TABLE password_verify.credential ADD PRIMARY KEY (blind_index)",
        );
        assert_eq!(validate(&mut site.login(), "Ann", GOOD), Answer::yes(), "{index}");
    }
}

#[test]
fn a_worker_that_finds_a_trigger_says_so_rests_and_goes_on_without_it() {
    let cluster = server(&[]);
    let site = Site::on(Arc::clone(&cluster));
    site.enroll("Ann", GOOD);
    let mut admin = site.admin();
    settle(&mut admin);
    make(
        &mut admin,
        "CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    );
    // An event that is under way while the trigger comes: that of a transaction's end.
    let mut other = site.admin();
    let mut transaction = other.transaction().unwrap();
    transaction.query("SELECT auth.pv_disable_user('Ann')", &[]).unwrap();
    settle_but_for_changes(&mut admin);
    make(
        &mut admin,
        "CREATE TRIGGER spy BEFORE INSERT ON password_verify.event FOR EACH ROW EXECUTE FUNCTION public.spy()",
    );
    transaction.rollback().unwrap();
    let said = || {
        cluster.log().matches("Drop or disable trigger \"spy\" on password_verify.event").count()
    };
    wait_until("the worker says what is in the way", || said() > 1);
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert!((2..12).contains(&said()), "it rests in between: {}", said());
    make(&mut admin, "ALTER TABLE password_verify.event DISABLE TRIGGER spy");
    wait_until("it goes on by itself", || {
        validate(&mut site.login(), "Ann", GOOD) == Answer::yes()
    });
    settle(&mut admin);
    password_verify_tests::trail::assert_intact(&mut admin);
}

/// Waits until nothing is on its way to the worker; a change that is open may be.
fn settle_but_for_changes(admin: &mut Client) {
    let sql = "SELECT count(*) FROM auth.pv_events WHERE outcome = 'pending'";
    wait_until("the change is on record", || {
        admin.query_one(sql, &[]).unwrap().get::<_, i64>(0) > 0
    });
}

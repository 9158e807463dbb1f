//! Passwords as parameters, and literals in the extended protocol.

use postgres::types::ToSql;

use super::seen::Window;
use super::way::{Way, binds, way};
use super::wire::{Batch, Value};

const VALIDATE: &str = "SELECT * FROM auth.pv_validate_password($1::text, $2)";
const LITERAL: &str = "SELECT * FROM auth.pv_validate_password('42'::text, '@')";

fn values(secret: &str) -> [Value<'_>; 2] {
    [Value::Text("42"), Value::Text(secret)]
}

pub fn ways() -> Vec<Way> {
    let mut ways = vec![
        binds("bound", "00000", "SELECT * FROM auth.pv_validate_password('42'::text, $1)", 1),
        way("id bound, too", |stage| {
            let values = ["42".to_owned(), stage.secret()];
            stage.bound("00000", VALIDATE, &values);
        }),
        binds(
            "bound beside a literal",
            "00000",
            "SELECT *, '@' FROM auth.pv_validate_password('42'::text, $1)",
            1,
        ),
        binds(
            "bound and made longer",
            "00000",
            "SELECT * FROM auth.pv_validate_password('42'::text, $1 || '@')",
            1,
        ),
        binds(
            "bound, in EXPLAIN",
            "00000",
            "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM auth.pv_validate_password('42'::text, $1)",
            1,
        ),
        binds(
            "bound, in COPY TO",
            "08P01",
            "COPY (SELECT * FROM auth.pv_validate_password('42'::text, $1)) TO STDOUT",
            1,
        ),
        binds(
            "bound, in CREATE TABLE AS",
            "00000",
            "CREATE TEMP TABLE t AS SELECT * FROM auth.pv_validate_password('42'::text, $1)",
            1,
        ),
        binds("bound, in CALL", "00000", "CALL public.listed_procedure('42', $1)", 1),
        binds("literal in Parse", "00000", LITERAL, 0),
        binds(
            "DO in Parse",
            "00000",
            "DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, '@'); END $do$",
            0,
        ),
        binds("CALL in Parse", "00000", "CALL public.listed_procedure('42', '@')", 0),
        binds(
            "bound, in a comment",
            "00000",
            "SELECT /* @ */ * FROM auth.pv_validate_password('42'::text, $1)",
            1,
        ),
        way("bound, binary", |stage| {
            let secret = stage.secret();
            let values = [Value::Binary(b"42"), Value::Binary(secret.as_bytes())];
            let reply = stage.session().extended(VALIDATE, &values);
            stage.expect("00000", &reply, VALIDATE);
        }),
        way("bound as an array", |stage| {
            let text = stage.fill("{@,\"@\"}");
            stage.bound(
                "00000",
                "SELECT * FROM auth.pv_validate_password('42'::text, ($1::text[])[2])",
                &[text],
            );
        }),
        way("bound as a composite", |stage| {
            let text = stage.fill("(42,@)");
            stage.bound(
                "00000",
                "SELECT * FROM auth.pv_validate_password('42'::text, ($1::public.pair).password)",
                &[text],
            );
        }),
        way("bound as json", |stage| {
            let text = stage.fill("{\"p\":\"@\"}");
            stage.bound(
                "00000",
                "SELECT * FROM auth.pv_validate_password('42'::text, $1::jsonb->>'p')",
                &[text],
            );
        }),
        way("bound as bytes", |stage| {
            let secret = stage.secret();
            let sql =
                "SELECT * FROM auth.pv_validate_password('42'::text, convert_from($1, 'UTF8'))";
            let reply = stage.session().extended(sql, &[Value::Binary(secret.as_bytes())]);
            stage.expect("00000", &reply, sql);
        }),
        way("prepared by name", |stage| {
            let secrets: Vec<String> = (0..7).map(|_| stage.secret()).collect();
            stage.sent("00000", &Batch::default().parse("s", VALIDATE).describe(b'S', "s").sync());
            // Five times with a plan of its own, then perhaps with a general one.
            for secret in &secrets {
                let batch = Batch::default().bind("", "s", &values(secret)).execute("", 0).sync();
                stage.sent("00000", &batch);
            }
        }),
        way("prepared by name with a literal", |stage| {
            let sql = stage.fill(LITERAL);
            stage.sent("00000", &Batch::default().parse("s", &sql).sync());
            for _ in 0..2 {
                stage.sent("00000", &Batch::default().bind("p", "s", &[]).execute("p", 0).sync());
            }
        }),
        way("prepared, never executed", |stage| {
            let sql = stage.fill(LITERAL);
            stage.sent("00000", &Batch::default().parse("s", &sql).describe(b'S', "s").sync());
        }),
        way("prepared without a name, never executed", |stage| {
            let sql = stage.fill(LITERAL);
            stage.sent("00000", &Batch::default().parse("", &sql).sync());
        }),
        way("bound, never executed", |stage| {
            let (sql, secret) = (
                stage.fill("SELECT *, '@' FROM auth.pv_validate_password('42'::text, $1)"),
                stage.secret(),
            );
            let batch = Batch::default().parse("s", &sql).bind("p", "s", &[Value::Text(&secret)]);
            stage.sent("00000", &batch.sync());
        }),
        way("pipelined", |stage| {
            let (sql, secrets) = (stage.fill(LITERAL), [stage.secret(), stage.secret()]);
            let mut batch = Batch::default().parse("s", VALIDATE).parse("", &sql);
            batch = batch.bind("", "", &[]).execute("", 0);
            for secret in &secrets {
                batch = batch.bind("", "s", &values(secret)).execute("", 0);
            }
            stage.sent("00000", &batch.sync());
        }),
        way("pipelined, the second fails", |stage| {
            let secrets = [stage.secret(), stage.secret(), stage.secret()];
            let mut batch = Batch::default();
            for (sql, secret) in
                [VALIDATE, "SELECT auth.pv_check_password($1::bigint, $2), 1/0", VALIDATE]
                    .iter()
                    .zip(&secrets)
            {
                batch = batch.parse("", sql).bind("", "", &values(secret)).execute("", 0);
            }
            stage.sent("22012", &batch.sync());
        }),
        way("a portal that waits", |stage| {
            let (sql, secret) = (stage.fill("SELECT *, '@' FROM generate_series(1, 3), auth.pv_check_password('42'::text, $1)"), stage.secret());
            stage.ok("BEGIN");
            let batch = Batch::default().parse("", &sql).bind("p", "", &[Value::Text(&secret)]);
            stage.sent("00000", &batch.execute("p", 1).sync());
            stage.sent("00000", &Batch::default().execute("p", 1).sync());
        }),
        way("fast path", |stage| {
            let secret = stage.secret();
            let sql = "SELECT 'auth.pv_check_password(text, text)'::regprocedure::oid::integer";
            let oid: i32 = stage.room.admin(|admin| admin.query_one(sql, &[]).unwrap().get(0));
            let batch = Batch::default().call(oid.cast_unsigned(), &values(&secret));
            stage.sent("0A000", &batch);
        }),
        way("bind of too few", |stage| {
            let secret = stage.secret();
            let batch = Batch::default().parse("", VALIDATE).bind("", "", &[Value::Text(&secret)]);
            stage.sent("08P01", &batch.sync());
        }),
        way("bind of a wrong encoding", |stage| {
            let mut bytes = stage.secret().into_bytes();
            bytes.push(0xff);
            let batch = Batch::default().parse("", VALIDATE);
            let values = [Value::Text("42"), Value::Binary(&bytes)];
            stage.sent("22021", &batch.bind("", "", &values).execute("", 0).sync());
        }),
        way("bind of a wrong binary length", |stage| {
            let secret = stage.secret();
            let sql = "SELECT * FROM auth.pv_validate_password($1::bigint, $2)";
            let values = [Value::Binary(secret.as_bytes()), Value::Text(&secret)];
            stage.sent("22P03", &Batch::default().parse("", sql).bind("", "", &values).sync());
        }),
        way("driver", |stage| {
            let (one, other) = (stage.secret(), stage.secret());
            let site = &stage.room.site;
            let mut client = site.cluster.connect(&stage.room.caller, &site.database);
            client.query(VALIDATE, &[&"42", &one]).unwrap();
            let statement = client.prepare(VALIDATE).unwrap();
            client.query_one(&statement, &[&"42", &other]).unwrap();
            let many: Vec<String> = (0..3).map(|_| stage.secret()).collect();
            let sql = "SELECT count(c.reason) FROM unnest($1::text[]) u, LATERAL auth.pv_check_password('42'::text, u) c";
            client.query(sql, &[&many as &(dyn ToSql + Sync)]).unwrap();
            super::seen::look_at_activity(stage.room, Window::After);
        }),
    ];
    for mode in ["force_generic_plan", "force_custom_plan"] {
        ways.push(way(&format!("bound, {mode}"), move |stage| {
            stage.ok(&format!("SET plan_cache_mode = {mode}"));
            let secrets = ["42".to_owned(), stage.secret()];
            stage.bound("00000", VALIDATE, &secrets);
        }));
    }
    ways
}

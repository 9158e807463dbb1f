//! Passwords that come to a function of ours by way of code: wrappers, procedures, triggers, `DO`.

use super::way::{Way, binds, fails, says, way};
use super::wire::Batch;

/// (name, simple query).
const CALLS: &[(&str, &str)] = &[
    ("wrapper in SQL", "SELECT public.listed_sql('42', '@')"),
    ("wrapper in SQL, atomic", "SELECT public.listed_atomic('42', '@')"),
    ("wrapper in PL/pgSQL", "SELECT public.listed_plpgsql('42', '@')"),
    ("wrapper with EXECUTE format()", "SELECT public.listed_execute('42', '@')"),
    ("wrapper with EXECUTE USING", "SELECT public.listed_using('42', '@')"),
    ("wrapper with a loop", "SELECT public.listed_cursor('42', '@')"),
    ("wrapper, named arguments", "SELECT listed_plpgsql(login => '42', password => '@')"),
    ("wrapper in FROM", "SELECT * FROM public.listed_plpgsql('42', '@') WHERE '@' <> ''"),
    ("procedure", "CALL public.listed_procedure('42', '@')"),
    ("procedure in DO", "DO $do$ BEGIN CALL public.listed_procedure('42', '@'); END $do$"),
    ("DO", "DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, '@'); END $do$"),
    ("DO in quotes", "DO 'BEGIN PERFORM auth.pv_check_password(''42''::text, ''@''); END'"),
    (
        "DO with a variable",
        "DO $do$ DECLARE p text := '@'; BEGIN PERFORM auth.pv_check_password('42'::text, p); END $do$",
    ),
    (
        "DO, EXECUTE format()",
        "DO $do$ BEGIN EXECUTE format('SELECT auth.pv_check_password(%L::text, %L)', '42', '@'); END $do$",
    ),
    (
        "DO, EXECUTE ||",
        "DO $do$ BEGIN EXECUTE 'SELECT auth.pv_check_password(''42''::text, ''@'')'; END $do$",
    ),
    (
        "DO, EXECUTE USING",
        "DO $do$ BEGIN EXECUTE 'SELECT auth.pv_check_password($1::text, $2)' USING '42', '@'; END $do$",
    ),
    (
        "DO, the name put together",
        "DO $do$ BEGIN EXECUTE 'SELECT auth.p' || 'v_check_pass' || 'word(''42''::text, ''@'')'; END $do$",
    ),
    (
        "DO, the name put together, USING",
        "DO $do$ BEGIN EXECUTE 'SELECT auth.p' || 'v_check_pass' || 'word($1, $2)' USING '42'::text, '@'::text; END $do$",
    ),
    (
        "DO with a cursor",
        "DO $do$ DECLARE c CURSOR FOR SELECT * FROM auth.pv_check_password('42'::text, '@'); it record; BEGIN OPEN c; FETCH c INTO it; CLOSE c; END $do$",
    ),
    (
        "DO with a handler",
        "DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, '@') , 1/0; EXCEPTION WHEN division_by_zero THEN RAISE LOG 'caught'; END $do$",
    ),
    ("DO with a wrapper", "DO $do$ BEGIN PERFORM public.listed_execute('42', '@'); END $do$"),
    ("trigger, INSERT", "INSERT INTO public.listed_signup VALUES ('trigger 1', '@')"),
    (
        "trigger, INSERT SELECT",
        "INSERT INTO listed_signup (login, password) SELECT 'trigger 2', '@' RETURNING login",
    ),
    (
        "trigger, UPDATE",
        "INSERT INTO public.listed_signup VALUES ('trigger 3', '@'); UPDATE public.listed_signup SET password = '@' WHERE login = 'trigger 3'",
    ),
    (
        "trigger, ON CONFLICT",
        "INSERT INTO public.listed_signup VALUES ('trigger 4', '@'), ('trigger 4', '@') ON CONFLICT (login) DO NOTHING",
    ),
    ("wrapper that is not listed", "SELECT public.unlisted_plpgsql('42', '@')"),
    ("wrapper in SQL that is not listed", "SELECT public.unlisted_sql('42', '@')"),
    ("procedure that is not listed", "CALL public.unlisted_procedure('42', '@')"),
    (
        "trigger that is not listed, INSERT",
        "INSERT INTO public.unlisted_signup VALUES ('trigger 5', '@')",
    ),
];

/// (name, SQLSTATE, simple query).
const FAILURES: &[(&str, &str, &str)] = &[
    ("wrapper takes it for a number", "22P02", "SELECT public.listed_number('42', '@')"),
    (
        "procedure, and then an error",
        "22012",
        "DO $do$ BEGIN CALL public.listed_procedure('42', '@'); PERFORM 1/0; END $do$",
    ),
    (
        "DO, an error in the same statement",
        "22012",
        "DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, '@'), 1/0; END $do$",
    ),
    (
        "DO, an error in EXECUTE",
        "22012",
        "DO $do$ BEGIN EXECUTE format('SELECT 1/0, auth.pv_check_password(%L::text, %L)', '42', '@'); END $do$",
    ),
    (
        "DO, a syntax error in EXECUTE",
        "42601",
        "DO $do$ BEGIN EXECUTE format('SELECT auth.pv_check_password(%L::text, %L) nonsense here', '42', '@'); END $do$",
    ),
    (
        "DO, a syntax error",
        "42601",
        "DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, '@'); END IF; END $do$",
    ),
    (
        "DO, our own error",
        "22004",
        "DO $do$ BEGIN PERFORM auth.pv_check_password(NULL::text, '@'); END $do$",
    ),
    ("wrapper, wrong number of arguments", "42883", "SELECT public.listed_plpgsql('42', '@', '@')"),
    (
        "trigger, a broken CHECK",
        "23514",
        "INSERT INTO public.listed_signup VALUES ('trigger 6', '@', 10)",
    ),
    (
        "trigger, takes it for a number",
        "22P02",
        "INSERT INTO public.listed_signup VALUES ('trigger 7', 'x', '@')",
    ),
];

pub fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = CALLS.iter().map(|(name, sql)| says(name, sql)).collect();
    ways.extend(FAILURES.iter().map(|(name, state, sql)| fails(name, state, sql)));
    ways.extend([
        binds("wrapper in PL/pgSQL, bound", "00000", "SELECT public.listed_plpgsql('42', $1)", 1),
        binds("wrapper with EXECUTE format(), bound", "00000", "SELECT public.listed_execute('42', $1)", 1),
        binds("wrapper with EXECUTE USING, bound", "00000", "SELECT public.listed_using('42', $1)", 1),
        binds("wrapper in SQL, bound", "00000", "SELECT public.listed_sql('42', $1)", 1),
        binds("wrapper takes it for a number, bound", "22P02", "SELECT public.listed_number('42', $1)", 1),
        binds("wrapper that is not listed, bound", "00000", "SELECT public.unlisted_plpgsql('42', $1)", 1),
        binds("trigger, bound", "00000", "INSERT INTO public.listed_signup VALUES ('trigger 8', $1)", 1),
        binds("trigger that is not listed, bound", "00000", "INSERT INTO public.unlisted_signup VALUES ('trigger 9', $1)", 1),
        binds("trigger, bound, a broken CHECK", "23514", "INSERT INTO public.listed_signup VALUES ('trigger 10', $1, 10)", 1),
        way("cursor that stays", |stage| {
            let sql = stage.fill("BEGIN; DECLARE c CURSOR FOR SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            stage.ok(&sql);
            stage.ok("FETCH ALL FROM c");
        }),
        way("cursor WITH HOLD", |stage| {
            let sql = stage.fill("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            stage.ok(&sql);
            stage.ok("FETCH ALL FROM c");
        }),
        way("PREPARE that stays", |stage| {
            let sql = stage.fill("PREPARE p (text) AS SELECT *, $1 FROM auth.pv_validate_password('42'::text, '@')");
            stage.ok(&sql);
            let sql = stage.fill("EXECUTE p('@')");
            stage.ok(&sql);
        }),
        way("PREPARE that is never executed", |stage| {
            let sql = stage.fill("PREPARE p AS SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            stage.ok(&sql);
        }),
        way("temporary files", |stage| {
            stage.ok("SET work_mem = '64kB'");
            let sql = stage.fill("BEGIN; DECLARE c CURSOR FOR SELECT g, c.* FROM generate_series(1, 30000) g, (SELECT * FROM auth.pv_check_password('42'::text, '@') OFFSET 0) c ORDER BY g DESC");
            stage.ok(&sql);
            stage.ok("FETCH 1 FROM c");
            assert_ne!(super::stage::look_at_temporary_files(stage.room), 0);
        }),
        way("trigger, COPY FROM STDIN", |stage| {
            copy(stage, "00000", "listed_signup", "copy 1\t@\t1\ncopy 2\t@\t2\n");
        }),
        way("trigger, COPY, a number that is none", |stage| {
            copy(stage, "22P02", "listed_signup", "copy 3\t@\t1\ncopy 4\tx\t@\n");
        }),
        way("trigger, COPY, a broken CHECK", |stage| {
            copy(stage, "23514", "listed_signup", "copy 5\t@\t10\n");
        }),
        way("trigger, COPY, too many columns", |stage| {
            copy(stage, "22P04", "listed_signup", "copy 6\tx\t1\t@\n");
        }),
        way("trigger, COPY, too few columns", |stage| {
            copy(stage, "22P04", "listed_signup", "@\n");
        }),
        way("trigger that is not listed, COPY", |stage| {
            copy(stage, "00000", "unlisted_signup", "copy 7\t@\t1\n");
        }),
        way("trigger, COPY in the extended protocol", |stage| {
            let data = stage.fill("copy 8\t@\t1\n");
            let batch = Batch::default().parse("", "COPY public.listed_signup (login, password, number) FROM STDIN");
            let batch = batch.bind("", "", &[]).execute("", 0).copy(data.as_bytes()).sync();
            stage.sent("00000", &batch);
        }),
        way("trigger, a broken UNIQUE", |stage| {
            let code = stage.digits(18);
            stage.simple(
                "23505",
                &format!(
                    "INSERT INTO public.listed_signup VALUES ('twice', '{code}', 1, {code}), ('thrice', '{code}', 1, {code})"
                ),
            );
        }),
        way("psql", |stage| {
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@'); SELECT 1; CALL public.listed_procedure('42', '@')");
            let site = &stage.room.site;
            let mut psql = site.cluster.command("psql");
            psql.args(["-X", "-q", "-U", &stage.room.caller, "-d", &site.database, "-c", &sql]);
            crate::cluster::run(&mut psql);
        }),
    ]);
    ways
}

fn copy(stage: &mut super::stage::Stage<'_>, state: &str, table: &str, data: &str) {
    let data = stage.fill(data);
    let sql = format!("COPY public.{table} (login, password, number) FROM STDIN");
    let reply = stage.session().copy_in(&sql, &data);
    stage.expect(state, &reply, &sql);
}

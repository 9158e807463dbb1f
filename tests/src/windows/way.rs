//! Ways to put a password into a statement.

use super::stage::Stage;

type Act = Box<dyn Fn(&mut Stage<'_>) + Send + Sync>;

/// A way has a name, by which it is found again wherever its passwords are seen.
pub struct Way {
    pub name: String,
    pub act: Act,
}

/// What is done by code.
pub fn way(name: &str, act: impl Fn(&mut Stage<'_>) + Send + Sync + 'static) -> Way {
    Way { name: name.into(), act: Box::new(act) }
}

/// A simple query that succeeds. Each `@` in it becomes a password of its own.
pub fn says(name: &str, sql: &'static str) -> Way {
    fails(name, "00000", sql)
}

/// A simple query that fails with this SQLSTATE.
pub fn fails(name: &str, state: &'static str, sql: &'static str) -> Way {
    way(name, move |stage| {
        let sql = stage.fill(sql);
        stage.simple(state, &sql);
    })
}

/// A statement of the extended protocol that ends with this SQLSTATE, with passwords for all its parameters.
pub fn binds(name: &str, state: &'static str, sql: &'static str, parameters: usize) -> Way {
    way(name, move |stage| {
        let sql = stage.fill(sql);
        let values: Vec<String> = (0..parameters).map(|_| stage.secret()).collect();
        stage.bound(state, &sql, &values);
    })
}

//! Writes a JSON object in one pass and in one line: ASCII, and no braces in strings.

use core::fmt::{Display, Write};

use super::log_line::put_json;

/// Members of an object, without the braces around them.
pub struct Members(String);

impl Members {
    pub fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// `name` is a constant that needs no escape.
    fn name(&mut self, name: &'static str) {
        let comma = if self.0.is_empty() || self.0.ends_with('{') { "" } else { "," };
        // Writing to a String does not fail.
        let _ = write!(self.0, "{comma}\"{name}\":");
    }

    pub fn text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.name(name);
            put_json(&mut self.0, value);
        }
    }

    pub fn number(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.name(name);
            let _ = write!(self.0, "{value}");
        }
    }

    /// An array, unless it would be empty.
    pub fn texts<'a>(&mut self, name: &'static str, values: impl Iterator<Item = &'a str>) {
        for (i, value) in values.enumerate() {
            if i == 0 {
                self.name(name);
            } else {
                // In place of the end of the array.
                self.0.pop();
            }
            self.0.push(if i == 0 { '[' } else { ',' });
            put_json(&mut self.0, value);
            self.0.push(']');
        }
    }

    /// An object, unless it would be empty.
    pub fn object(&mut self, name: &'static str, fill: impl FnOnce(&mut Self)) {
        let before = self.0.len();
        self.open(name);
        fill(self);
        if self.0.ends_with('{') {
            self.0.truncate(before);
        } else {
            self.0.push('}');
        }
    }

    /// An object that stays open: all that follows is in it.
    pub fn open(&mut self, name: &'static str) {
        self.name(name);
        self.0.push('{');
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_not_there() {
        let mut it = Members::with_capacity(0);
        it.object("a", |a| a.object("b", |b| b.text("c", None)));
        it.texts("d", [].into_iter());
        it.object("e", |e| e.texts("f", ["x", "}", "z"].into_iter()));
        it.object("g", |g| {
            g.object("h", |h| h.number("i", None::<i64>));
            g.number("j", Some(-7));
        });
        it.open("k");
        it.text("l", Some("{\n"));
        it.text("m", Some(""));
        let expected =
            r#""e":{"f":["x","\u007d","z"]},"g":{"j":-7},"k":{"l":"\u007b\u000a","m":"""#;
        assert_eq!(it.into_text(), expected);
    }
}

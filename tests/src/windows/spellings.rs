//! Random statements with literals in every spelling that PostgreSQL knows, to be read by two scanners.

use crate::cluster::major;

/// Numbers that follow from a seed (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn several(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.one_of(pieces)).collect()
    }
}

/// Between two tokens.
const SPACES: &[&str] = &[
    " ",
    " ",
    " ",
    "\n",
    "\t ",
    "\r\n",
    " \u{c}",
    " /* it's */ ",
    " -- it's\n",
    "/* /* '$$ */ \" -- */",
    "/**/",
    "/***/",
    "/* $x$ */\n--\n",
    "--/*\n",
];

/// What a literal goes on after.
const BREAKS: &[&str] = &["\n", " \n\t", "\r\n ", " -- it's\n", "--\n  -- more\n\n", "\n--'\n"];

const LETTERS: &[&str] = &[
    "a", "Z", "0", " ", "ä", "€", "😀", "''", "\"", "$$", "$t$", "--", "/*", "*/", ";", ",", "(",
    "\n",
];
const ESCAPES: &[&str] =
    &["\\n", "\\\\", "\\'", "\\x41", "\\101", "\\u0061", "\\U00000061", "\\\\\\'", "\\q", "\\\""];

/// A literal between quotation marks, perhaps on several lines.
fn quoted(random: &mut Random, pieces: &[&str]) -> String {
    let mut literal = format!("'{}'", random.several(pieces, 4));
    while random.below(5) == 0 {
        let next = random.several(pieces, 3);
        literal += &format!("{}'{next}'", random.one_of(BREAKS));
    }
    literal
}

/// A string. `escapes`: a backslash is the beginning of one.
fn string(random: &mut Random, escapes: bool) -> String {
    let with = |more: &[&'static str]| [LETTERS, more].concat();
    let plain = if escapes { with(ESCAPES) } else { with(&["\\"]) };
    match random.below(9) {
        0..=2 => quoted(random, &plain),
        3 => random.one_of(&["E", "e"]).to_owned() + &quoted(random, &with(ESCAPES)),
        4 => {
            "$$".to_owned() + &random.several(&["a", "'", "$ ", "\\", "--", "/*", "\n"], 4) + "x$$"
        }
        5 => {
            let tag = random.one_of(&["$tag$", "$_1$", "$ä$", "$T$"]);
            let near = ["$ta", "$tag", "$", "$$", "'", "tag$", "$t$", "\\", "$_1", "x"];
            format!("{tag}{}x{tag}", random.several(&near, 5))
        }
        6 => random.one_of(&["N", "n"]).to_owned() + &quoted(random, &plain),
        7 => {
            let spelled = ["a", "\\0061", "\\+000061", "\\\\", "''", "ä"];
            random.one_of(&["U&", "u&"]).to_owned() + &quoted(random, &spelled)
        }
        _ => {
            let literal = quoted(random, &["a", "!0061", "!+000061", "!!", "''", "\\"]);
            let (one, other) = (random.one_of(SPACES), random.one_of(SPACES));
            format!("U&{literal}{one}UESCAPE{other}'!'")
        }
    }
}

fn number(random: &mut Random) -> &'static str {
    const ANY: &[&str] =
        &["0", "7", "42", "12345678901", "1.5", ".5", "5.", "1e5", "1.5E-3", "2E+1"];
    const NEW: &[&str] = &["0x1F", "0o17", "0b101", "1_000", "1_0.5_0", "0X_1f", "1e1_0"];
    if major() >= 16 && random.below(3) == 0 { random.one_of(NEW) } else { random.one_of(ANY) }
}

fn bits(random: &mut Random) -> String {
    let (letter, digits) = random.one_of(&[("B", "0"), ("b", "1"), ("X", "F"), ("x", "9")]);
    letter.to_owned() + &quoted(random, &[digits])
}

/// A number, or what is computed from some.
fn sum(random: &mut Random) -> String {
    let (one, other) = (number(random), number(random));
    let (before, after) = (random.one_of(SPACES), random.one_of(SPACES));
    match random.below(6) {
        0 => format!("-{one}"),
        1 => format!("-{before}{one}"),
        2 => format!("({one}{before}-{after}{other})"),
        3 => format!("{one}+{before}-{after}{other}"),
        4 => format!("{one}*{before}+{other}"),
        _ => one.to_owned(),
    }
}

/// What stands in a list of a SELECT.
fn item(random: &mut Random, escapes: bool) -> String {
    let (space, text) = (random.one_of(SPACES), string(random, escapes));
    match random.below(18) {
        0..=3 => text,
        4..=5 => sum(random),
        6 => bits(random),
        7 => format!("{text}::{space}varchar(20)"),
        8 => format!("CAST({text}{space}AS{space}character varying(9))"),
        9 => format!("{}::numeric(20,{space}3)", number(random)),
        10 => random
            .one_of(&[
                "date'2026-01-01'",
                "timestamp(3) '2026-01-01'",
                "interval '1' day",
                "interval(3) '1 s'",
                "float8 '1.5'",
                "'{1}'::integer[3]",
                "bit(3) '101'",
                "'5'::integer",
                "time '1:00' AT TIME ZONE 'UTC'",
            ])
            .to_owned(),
        11 => format!("text{text}"),
        12 => format!("text{space}{text}"),
        13 => format!("{text}{space}||{}{}", random.one_of(SPACES), string(random, escapes)),
        14 => format!("CASE{space}WHEN {text}='a' THEN {} ELSE 2 END", number(random)),
        15 => format!("substring({text}{space}FROM 1 FOR{space}2)"),
        16 => format!("{text} LIKE{space}'a%' ESCAPE '!'"),
        // From 18 on pg_stat_statements shows but the first of a list.
        _ if major() >= 18 => format!("ROW({text},{space}{})::text", number(random)),
        _ => format!("(ARRAY[{text},{space}'x'])[1]"),
    }
}

fn name(random: &mut Random) -> String {
    let space = random.one_of(SPACES);
    match random.below(8) {
        0 => format!("AS{space}\"it's\""),
        1 => "AS \"a\"\"'b\"".into(),
        2 => "AS U&\"d\\0061'\"".into(),
        3 => format!("AS U&\"d!0061t'\"{space}UESCAPE{space}'!'"),
        4 => "AS \"$$--/*\"".into(),
        5 => "AS e$tag$".into(),
        6 => "ü".into(),
        _ => "AS b".into(),
    }
}

/// A statement that calls a function with a secret. Its first column has this name.
pub fn statement(random: &mut Random, first: &str, escapes: bool) -> String {
    let mut sql = format!("SELECT 1 AS {first}");
    for _ in 0..=random.below(4) {
        let (before, after) = (random.one_of(SPACES), random.one_of(SPACES));
        sql += &format!("{before},{after}{}", item(random, escapes));
        if random.below(3) == 0 {
            sql += &format!(" {}", name(random));
        }
    }
    format!("{sql} FROM auth.pv_check_password('x'::text, 'y')")
}

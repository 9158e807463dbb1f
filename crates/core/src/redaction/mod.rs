//! What is taken out of texts that the server logs, shows or keeps: the literals of statements that
//! call a function that takes or gives a secret, and values of their parameters.
//!
//! | module | subject |
//! | --- | --- |
//! | [`lexer`], [`identifier`], [`quotes`] | SQL as PostgreSQL's scanner reads it |
//! | [`names`] | which names are looked for |
//! | [`statement`] | which statements of a text call one |
//! | [`mask`], [`type_name`] | what is put in place of literals, and which numbers are none |
//! | [`report`] | a message on its way to the log, with all its fields |
//! | [`plan`], [`audit`] | what auto_explain and pgaudit print |
//! | [`values`], [`lines`] | values in PostgreSQL's own errors, and where they have come about |

pub mod audit;
pub mod identifier;
pub mod lexer;
pub mod lines;
pub mod mask;
pub mod names;
pub mod plan;
pub mod quotes;
pub mod report;
pub mod statement;
pub mod type_name;
pub mod values;

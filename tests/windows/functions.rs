//! No function that takes a secret is forgotten by those who look for secrets in PostgreSQL's windows.
#![allow(clippy::unwrap_used)]

use password_verify_tests::Site;
use password_verify_tests::windows::functions::not_called;

#[test]
fn every_function_that_takes_a_secret_is_called() {
    assert_eq!(not_called(&mut Site::new().admin()), [""; 0]);
}

//! JSON objects from the exports of systems. Keys that are not needed are ignored.

use serde_json::Value;

use super::{Found, firebase, keycloak};
use crate::{Refusal, Site};

/// Tells Keycloak's and Firebase's objects apart by their keys.
pub fn parse(text: &str, site: &Site) -> Result<Found, Refusal> {
    // The length of the text bounds the memory, and the crate bounds the depth.
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return Err(Refusal::Malformed);
    };
    if object.contains_key("credentialData") {
        keycloak::parse(&object)
    } else if object.contains_key("passwordHash") {
        firebase::export(&object, site)
    } else {
        Err(Refusal::UnsupportedFormat)
    }
}

//! The operator's list: to which hosts and ports the keeper connects at all.

use serde::Deserialize;

/// A name and all below it (`*.example.org`), one name (`mail.example.org`), or all names (`*`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Domain {
    Any,
    One(String),
    Below(String),
}

impl TryFrom<String> for Domain {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        match text.as_str() {
            "*" => Ok(Self::Any),
            _ if !name.split('.').all(is_label) => {
                Err("a domain is a name, such as mail.example.org or *.example.org, or *")
            }
            _ if name.len() < text.len() => {
                Ok(Self::Below(format!(".{}", name.to_ascii_lowercase())))
            }
            _ => Ok(Self::One(name.to_ascii_lowercase())),
        }
    }
}

impl Domain {
    /// `host`: in lower case, as in every destination.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(name) => host == name,
            Self::Below(end) => host.len() > end.len() && host.ends_with(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(domain: &str, host: &str) -> bool {
        Domain::try_from(domain.to_owned()).unwrap().covers(host)
    }

    #[test]
    fn a_name_covers_itself_or_what_is_below() {
        assert!(covers("*", "a.example"));
        assert!(covers("Mail.example.org", "mail.example.org"));
        assert!(!covers("example.org", "mail.example.org"));
        assert!(covers("*.example.org", "mail.example.org"));
        assert!(covers("*.example.org", "a.b.example.org"));
        for host in ["example.org", "evilexample.org", "example.org.evil", ".example.org"] {
            assert!(!covers("*.example.org", host), "{host}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "*.", "a..b", "*.*.org", "a*.org", "**", "a b", "10.0.0.1/8", "a_b", "."] {
            assert!(Domain::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}

//! nginx's locations as paths of this door.
//!
//! nginx compares decoded text; this door compares canonical, percent-encoded paths.

/// A set of paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pattern {
    /// This path.
    Exact(String),
    /// What is below this path, which ends with a slash; not the path without it.
    Below(String),
    /// What begins with these letters, the last of which is no slash.
    Start(String),
    /// This path and what is below it.
    Segments(String),
    /// A template of this door.
    Template(String),
    /// What an expression of this door matches.
    Regex(String),
}

impl Pattern {
    /// The text all its paths begin with, as far as it is known.
    pub(super) fn base(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Below(path) | Self::Start(path) | Self::Segments(path) => {
                path
            }
            Self::Template(path) => path.split('{').next().unwrap_or(path),
            Self::Regex(text) => {
                let text = text.strip_prefix("(?i)").unwrap_or(text);
                let text = text.strip_prefix('^').unwrap_or(text);
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_~".contains(c);
                text.split(|c| !is_plain(c)).next().unwrap_or(text)
            }
        }
    }
}

/// A decoded path as a canonical request has it; `None` when no canonical request has it.
pub(super) fn encoded(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains("//") {
        return None;
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return None;
    }
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(encoded)
}

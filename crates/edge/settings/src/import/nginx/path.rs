//! nginx's locations as paths of this door.
//!
//! nginx compares decoded text and ends a prefix anywhere; this door compares canonical,
//! percent-encoded paths, and its prefixes end with a segment.

/// Said where nginx's prefix also takes longer names.
pub(super) const SEGMENT_NOTE: &str = "nginx also sends paths here that only begin with these letters; a prefix of the door ends \
     with a segment";

/// Said where nginx takes letters of either case.
pub(super) const CASE_NOTE: &str = "nginx also sends paths here whose letters are in the other case, or that only begin with these; \
     the door compares whole segments, and the case of their letters";

/// A set of paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pattern {
    /// This path.
    Exact(String),
    /// What is below this path, which ends with a slash; not the path without it.
    Below(String),
    /// This path and what is below it.
    Segments(String),
    /// A template of this door.
    Template(String),
}

impl Pattern {
    /// The text all its paths begin with.
    pub(super) fn base(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Below(path) | Self::Segments(path) => path,
            Self::Template(path) => path.split('{').next().unwrap_or(path),
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

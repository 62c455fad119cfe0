//! Whose configuration a file is: this door's, nginx's or HAProxy's.
//!
//! The name `*.toml` settles it. Otherwise the first line that can only be one of the three does,
//! and where no line tells, the name again: `*.conf` is nginx's, `*.cfg` HAProxy's.

use std::path::Path;

use clap::ValueEnum;
use settings::import::Dialect;

/// Lines that are looked at.
const LINES_MAX: usize = 1_000;

/// What begins a section of HAProxy's.
const SECTIONS: [&str; 12] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "cache",
    "program",
    "ring",
];

/// The same as [`Dialect`], on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    /// TOML, as this door reads it.
    Native,
    /// nginx.conf and what it includes.
    Nginx,
    /// haproxy.cfg.
    Haproxy,
}

impl From {
    /// The language itself.
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Native => Dialect::Native,
            Self::Nginx => Dialect::Nginx,
            Self::Haproxy => Dialect::Haproxy,
        }
    }
}

/// The language of a file, by its name and its text.
pub(crate) fn of(path: &Path, text: &str) -> Dialect {
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    if suffix == "toml" {
        return Dialect::Native;
    }
    let by_name = match suffix {
        "conf" => Dialect::Nginx,
        "cfg" => Dialect::Haproxy,
        _ => Dialect::Native,
    };
    text.lines().take(LINES_MAX).find_map(of_line).unwrap_or(by_name)
}

/// The language that this line can only be in.
fn of_line(line: &str) -> Option<Dialect> {
    let line = line.split('#').next().unwrap_or_default().trim_end();
    let mut words = line.split_whitespace();
    let first = words.next()?;
    if is_toml(line.trim_start()) {
        return Some(Dialect::Native);
    }
    if line.ends_with([';', '{', '}']) {
        return Some(Dialect::Nginx);
    }
    // HAProxy has a section's name after its keyword, in the first column, and nothing like `=`.
    let is_section = line.starts_with(first) && SECTIONS.contains(&first);
    // These may be indented as well: nginx has nothing of the name.
    let is_its_own = ["global", "defaults", "frontend", "backend"].contains(&first);
    (is_section || is_its_own).then_some(Dialect::Haproxy)
}

/// `[table]`, or `key = value`.
fn is_toml(line: &str) -> bool {
    if line.starts_with('[') {
        return true;
    }
    let Some((key, _)) = line.split_once('=') else { return false };
    let is_bare =
        |character: char| character.is_ascii_alphanumeric() || "_-.\"'".contains(character);
    !key.trim_end().is_empty() && key.trim_end().chars().all(is_bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart() {
        for (name, text, expected) in [
            ("a.toml", "user nginx;\n", Dialect::Native),
            ("a", "# comment\n\n[listen.web]\n", Dialect::Native),
            ("a.conf", "version = 1\n", Dialect::Native),
            ("nginx.conf", "", Dialect::Nginx),
            ("site", "\n# a; b\nuser  nginx; # it\n", Dialect::Nginx),
            ("site", "map $a $b {\n", Dialect::Nginx),
            ("site", "log_format main '$a'\n  '$b = c';\n", Dialect::Nginx),
            ("site", "listen\n  80;\n", Dialect::Haproxy),
            ("haproxy.cfg", "", Dialect::Haproxy),
            ("a.conf", "global\n  maxconn 10\n", Dialect::Haproxy),
            ("a", "frontend web # one\n  bind :80\n", Dialect::Haproxy),
            ("a", "\tdefaults\n\t\thttp-request deny if { src 10.0.0.1 }\n", Dialect::Haproxy),
            ("a", "what is this\n", Dialect::Native),
        ] {
            assert_eq!(of(Path::new(name), text), expected, "{name}: {text:?}");
        }
    }
}

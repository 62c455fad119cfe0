//! What the endpoints of changes take and give: the JSON of both the console and its client.
//!
//! Invariant: what people say (reasons, authors) is short and printable when it is passed on;
//! what the door says to a client is bounded.

use std::pin::Pin;

use model::forecast::Forecast;
use model::generation::{ChangeStatus, Generation};
use serde::{Deserialize, Serialize};

/// Characters of a reason.
pub const REASON_CHARACTERS_MAX: usize = 500;
/// Characters of what an author calls itself.
pub const AUTHOR_CHARACTERS_MAX: usize = 40;
/// Bytes of a refusal's text; a text with ten thousand mistakes has more to say than anybody reads.
const REFUSAL_BYTES_MAX: usize = 64 * 1_024;

/// `POST /v1/apply`: a text that is to go live.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The whole configuration, at most 4 MiB; relative paths in it are relative to the folder of
    /// the door's own file.
    pub text: String,
    /// Why; 1 to [`REASON_CHARACTERS_MAX`] printable characters.
    pub reason: String,
    /// What the caller calls itself, at most [`AUTHOR_CHARACTERS_MAX`] printable characters;
    /// recorded beside the user that the door knows: `ci-bot (root)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The generation the text was made from; refused if another one is live by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Overrides errors of rules and broken invariants, for this generation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// The share of the requests that tries it first, above 0 and below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<f64>,
    /// How long a canary is tried at most, 0.1 to 86,400 seconds. Default 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<f64>,
    /// It is rolled back unless a person confirms it within so many seconds after it went live
    /// whole, 0.1 to 86,400. Absent: nobody needs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_seconds: Option<f64>,
    /// Only says what would happen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry: bool,
}

/// `POST /v1/rollback`: back to the text of an earlier generation, as a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// Whose text; absent: the newest before the live one that was confirmed. While a canary is
    /// tried or awaits its confirmation, absent ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Why; as [`Apply::reason`].
    pub reason: String,
    /// As [`Apply::author`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// `POST /v1/confirm`: a person's word that a generation may stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// Which one; it must be the open one.
    pub generation: u64,
    /// As [`Apply::author`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// What came of a change, with status 200.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The generation that was made or decided; absent when nothing changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// In words, one line.
    pub result: String,
    /// Findings that did not stand in the way, and those that were overridden, rendered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub findings: String,
    /// What the text would do: the answer to `dry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// How changes stand after it.
    #[serde(flatten)]
    pub status: ChangeStatus,
}

/// `GET /v1/changes/wait`: what became of a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// The generation as it is recorded; its state says whether it is decided. Absent when there
    /// is none of this number, or none was asked for and none was open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// How changes stand now.
    #[serde(flatten)]
    pub status: ChangeStatus,
}

/// `GET /v1/generations/N` and `/v1/configuration`: a generation with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The entry of the history.
    pub generation: Generation,
    /// Its text.
    pub text: String,
}

/// A change as the door is asked for it: checked for its form, and with its author's full name.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeOrder {
    /// Who: `root`, `ci-bot (root)`, `ci-bot (token)`.
    pub author: String,
    /// What.
    pub what: What,
}

/// What may be changed.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Read the configuration file again.
    Reload,
    /// Make a text live.
    Apply(Box<Apply>),
    /// Go back.
    RollBack(RollBack),
    /// Let the open generation stay.
    Confirm(Confirm),
}

/// Why a change, or a look at the history, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// Whose fault it is.
    pub kind: RefusalKind,
    /// What is wrong, where, and what to do; may hold several lines.
    pub detail: String,
}

/// Whose fault a refusal is, and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The text: it has mistakes, breaks an invariant or cannot go live. 422 `refused`.
    Invalid,
    /// The base: another generation is live, or the text was replaced. 409 `stale`.
    Stale,
    /// The moment: another change is open and must be decided first. 409 `open`.
    Open,
    /// There is no such generation. 404 `no_generation`.
    Unknown,
    /// There is no such client. 404 `no_client`.
    NoClient,
    /// The journal: it cannot be written or read. 503 `not_recorded`.
    NotRecorded,
    /// The door is shutting down, or too many changes wait. 503 `busy`.
    Busy,
}

impl Refusal {
    /// A refusal; `detail` is cut to a bounded length.
    #[must_use]
    pub fn new(kind: RefusalKind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > REFUSAL_BYTES_MAX {
            let rest = detail.split_off(detail.floor_char_boundary(REFUSAL_BYTES_MAX));
            detail.push_str(&format!("\n... and {} more bytes", rest.len()));
        }
        Self { kind, detail }
    }
}

/// The end of a change, or of a look at the history.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>;

impl What {
    /// Says what is wrong with the form of the request; `Ok` otherwise.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Reload => Ok(()),
            Self::Apply(apply) => check_apply(apply),
            Self::RollBack(back) => check_words(&back.reason, back.author.as_deref()),
            Self::Confirm(confirm) => check_author(confirm.author.as_deref()),
        }
    }

    /// What the caller calls itself.
    pub(crate) fn author(&self) -> Option<&str> {
        match self {
            Self::Reload => None,
            Self::Apply(apply) => apply.author.as_deref(),
            Self::RollBack(back) => back.author.as_deref(),
            Self::Confirm(confirm) => confirm.author.as_deref(),
        }
    }

    /// Why, in the caller's words.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Reload | Self::Confirm(_) => "",
            Self::Apply(apply) => &apply.reason,
            Self::RollBack(back) => &back.reason,
        }
    }
}

/// For the audit line: what was asked, without the text itself.
impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reload => f.write_str("reload"),
            Self::Apply(apply) => {
                write!(f, "apply of {} bytes", apply.text.len())?;
                for (said, word) in [(apply.force, ", forced"), (apply.dry, ", dry")] {
                    f.write_str(if said { word } else { "" })?;
                }
                if let Some(base) = apply.base {
                    write!(f, ", based on {base}")?;
                }
                if let Some(share) = apply.canary {
                    write!(f, ", canary of {} %", share * 100.0)?;
                }
                Ok(())
            }
            Self::RollBack(RollBack { to: Some(to), .. }) => write!(f, "rollback to {to}"),
            Self::RollBack(_) => f.write_str("rollback"),
            Self::Confirm(confirm) => write!(f, "confirm {}", confirm.generation),
        }
    }
}

fn check_apply(apply: &Apply) -> Result<(), String> {
    check_words(&apply.reason, apply.author.as_deref())?;
    if apply.canary.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
        return Err("canary: a share above 0 and below 1, such as 0.05".to_owned());
    }
    if apply.for_seconds.is_some() && apply.canary.is_none() {
        return Err("for_seconds: says how long a canary is tried; give `canary` too".to_owned());
    }
    for (name, seconds) in [
        ("for_seconds", apply.for_seconds),
        ("confirm_within_seconds", apply.confirm_within_seconds),
    ] {
        if seconds.is_some_and(|seconds| !(0.1..=86_400.0).contains(&seconds)) {
            return Err(format!("{name}: 0.1 to 86400"));
        }
    }
    Ok(())
}

pub(crate) fn check_words(reason: &str, author: Option<&str>) -> Result<(), String> {
    let length = reason.chars().count();
    if reason.trim().is_empty() || length > REASON_CHARACTERS_MAX || !is_printable(reason) {
        return Err(format!(
            "reason: say why on one line of 1 to {REASON_CHARACTERS_MAX} printable characters"
        ));
    }
    check_author(author)
}

fn check_author(author: Option<&str>) -> Result<(), String> {
    let fits = |author: &str| {
        !author.trim().is_empty()
            && author.chars().count() <= AUTHOR_CHARACTERS_MAX
            && is_printable(author)
    };
    if author.is_none_or(fits) {
        return Ok(());
    }
    Err(format!("author: 1 to {AUTHOR_CHARACTERS_MAX} printable characters"))
}

/// False when a character could steer a terminal, or reorder or hide what is shown.
fn is_printable(text: &str) -> bool {
    text.chars().all(|character| {
        let hides = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        !character.is_control() && !hides
    })
}

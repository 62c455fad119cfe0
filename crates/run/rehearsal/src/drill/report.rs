//! What is known after a drill: everything a page about it shows, and nothing that has to be worked out again.
//!
//! Plain data, in words where a person reads them. Invariant: the streams and servers of every
//! row are those of [`RunReport::streams`] and [`RunReport::servers`], in the same order.

use std::collections::BTreeMap;

use serde::Serialize;

/// One drill as it was played once, with one front door.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunReport {
    /// The drill's name.
    pub drill: String,
    /// One line.
    pub title: String,
    /// What happened to whom, and when: paragraphs of plain text.
    pub description: String,
    /// `tidegate`, `nginx` or `haproxy`.
    pub front: String,
    /// What the front door says its version is.
    pub front_version: String,
    /// Whether the front door's own protections were on.
    pub guard: bool,
    /// Of the load and of the sample applications.
    pub seed: u64,
    /// How long the drill was to run, seconds.
    pub duration_seconds: f64,
    /// How long the run took, with its raising and ending, seconds.
    pub wall_seconds: f64,
    /// The streams of the load.
    pub streams: Vec<StreamText>,
    /// The servers behind the door.
    pub servers: Vec<ServerText>,
    /// What happened when: faults, their ends, changes, what the door noticed.
    pub timeline: Vec<TimelineEntry>,
    /// One row a second, from second 0.
    pub seconds: Vec<SecondRow>,
    /// What shows that the outage truly happened.
    pub symptoms: Vec<Judged>,
    /// What the door should have achieved all the same.
    pub expectations: Vec<Judged>,
    /// What the load generator says about itself.
    pub generator: Generator,
    /// What a reader has to know about this run, in sentences; empty when nothing was odd.
    pub findings: Vec<String>,
    /// All of it in numbers and one sentence.
    pub summary: Summary,
}

/// One stream of the load, in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamText {
    /// Its name.
    pub name: String,
    /// Its rate, clients and manners in one line.
    pub words: String,
}

/// One server, in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServerText {
    /// Its name.
    pub name: String,
    /// Requests it serves at once, as it was started.
    pub places: u64,
    /// Its work and limits in one line.
    pub words: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// When it began, seconds from the begin of the drill.
    pub at_seconds: f64,
    /// Of which sort.
    pub kind: EntryKind,
    /// What, in one line.
    pub words: String,
    /// What came of it.
    pub outcome: EntryOutcome,
    /// The server it is about, if it is about one.
    pub server: Option<String>,
}

/// Sorts of timeline entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// The load began to be another: a stream began, or its rate changed.
    Load,
    /// Something was broken.
    Fault,
    /// Somebody changed something: a configuration, a version, a restart.
    Change,
    /// A fault or change was undone.
    Undo,
    /// The front door itself began or ceased to show that something is wrong with a server.
    DoorNoticed,
}

/// What came of a timeline entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "why")]
pub enum EntryOutcome {
    /// It took place.
    Ok,
    /// The front door refused it before it went live, and said why.
    Refused(String),
    /// It could not be done, and why.
    Failed(String),
}

/// One second of the whole drill.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SecondRow {
    /// Which, from 0.
    pub second: u64,
    /// Per stream.
    pub streams: Vec<StreamRow>,
    /// Per server.
    pub servers: Vec<ServerRow>,
    /// The drill's own database, where there is one.
    pub database: Option<DatabaseRow>,
}

/// What the clients of one stream saw in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamRow {
    /// Requests that were due.
    pub due: u64,
    /// Tries that were sent, retries included.
    pub tries: u64,
    /// Requests that ended well.
    pub ok: u64,
    /// Requests that ended badly.
    pub failed: u64,
    /// Requests that were due and could not be sent because too many were under way.
    pub dropped: u64,
    /// Complete answers, whatever the status.
    pub answered: u64,
    /// Connections opened.
    pub connects: u64,
    /// Requests under way at the end.
    pub in_flight: u64,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Failures without a complete answer, by kind.
    pub by_failure: BTreeMap<String, u64>,
    /// Of the successful answers, from when they were due, milliseconds; absent without any.
    pub p50_ms: Option<f64>,
    /// As above.
    pub p99_ms: Option<f64>,
}

/// One server in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServerRow {
    /// Answers that clients got from it.
    pub answers: u64,
    /// Its share of all the servers' answers, 0 to 1; absent without any.
    pub share: Option<f64>,
    /// Its places taken at the last look; absent when it did not say.
    pub busy: Option<u64>,
    /// Its requests that wait for a place at the last look; absent when it did not say.
    pub waiting: Option<u64>,
    /// The share of the looks of this second that found all places taken; absent without a look.
    pub saturated: Option<f64>,
    /// Its state as the front door shows it, in the door's own word; absent when the door shows none.
    pub door_state: Option<String>,
    /// Whether that state means that something is wrong with it.
    pub door_wrong: bool,
}

/// The database in one second, as the servers saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DatabaseRow {
    /// Queries and connections tried.
    pub attempts: u64,
    /// Those that the database refused or failed.
    pub failures: u64,
}

/// One symptom or expectation with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// What is measured, such as `success of shoppers`.
    pub measure: String,
    /// The key of the measure as drill files write it, such as `success`.
    pub key: String,
    /// Begin of the time it was measured over, seconds from the begin of the drill.
    pub from_seconds: f64,
    /// End of that time.
    pub to_seconds: f64,
    /// Holds when the number is at least this.
    pub at_least: Option<f64>,
    /// Holds when the number is at most this.
    pub at_most: Option<f64>,
    /// What `value` and the bounds count.
    pub unit: Unit,
    /// What was measured; absent when it is not available, or never happened.
    pub value: Option<f64>,
    /// The value in words, such as `99.2 %`, `never` or `not available`.
    pub value_words: String,
    /// The bounds in words, such as `at least 99 %`.
    pub bound_words: String,
    /// Why it cannot be met yet, if it is marked so.
    pub pending: Option<String>,
    /// What follows.
    pub verdict: Verdict,
    /// All of it in one sentence.
    pub words: String,
}

/// What a measured number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// 0 to 1, said in per cent.
    Share,
    /// Things per second.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// A plain number.
    Number,
    /// 1 or 0.
    YesNo,
}

/// What follows from a measured number and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Inside its bounds.
    Held,
    /// Outside its bounds.
    Missed,
    /// Outside its bounds, and marked as not to be met yet.
    Pending,
    /// Marked as not to be met yet, and met: the mark must go, and the run fails until then.
    PendingHolds,
    /// There is no such number with this front door, or not yet. Never counts as passed.
    NotAvailable,
    /// The load was not what it claims to be, so that nothing follows. The run fails.
    GeneratorBound,
}

/// What the load generator says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Generator {
    /// The share of requests that it sent more than 100 ms after they were due, 0 to 1.
    pub late_share: f64,
    /// The share of requests that were due and not sent, 0 to 1.
    pub dropped_share: f64,
    /// The 99th percentile of how late it sent, milliseconds; absent when it sent nothing.
    pub lateness_p99_ms: Option<f64>,
    /// Whether that is too much for a verdict.
    pub generator_bound: bool,
    /// CPU time of its threads, seconds.
    pub cpu_seconds: f64,
}

/// A run in numbers and one sentence.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Whether no expectation was missed, none that is marked pending holds, and the load was honest.
    pub passed: bool,
    /// Whether every fault, change and undo could be done; otherwise the drill was not the one that is written.
    pub carried_out: bool,
    /// Whether the exit code of `drill run` counts this run: tidegate with its guard on.
    pub decides: bool,
    /// Expectations that held.
    pub held: usize,
    /// Expectations that were missed.
    pub missed: usize,
    /// Expectations that are marked pending and were missed.
    pub pending: usize,
    /// Expectations that are marked pending and held.
    pub pending_holds: usize,
    /// Expectations that cannot be measured.
    pub not_available: usize,
    /// Symptoms that showed.
    pub symptoms_shown: usize,
    /// Symptoms that were looked for, without those that cannot be measured.
    pub symptoms: usize,
    /// All requests that were due.
    pub due: u64,
    /// The share of all requests that ended well, 0 to 1; absent without any.
    pub success: Option<f64>,
    /// One sentence.
    pub words: String,
}

/// What is told while a drill runs. Lost, not waited for, when nobody listens fast enough.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// What the drill is busy with before its load begins and after it ended.
    Phase(String),
    /// The load began; it is to run this long, seconds.
    Begun {
        /// How long, seconds.
        duration_seconds: f64,
        /// The names of the streams, in the order of the rows.
        streams: Vec<String>,
        /// The names of the servers, in the order of the rows.
        servers: Vec<String>,
    },
    /// Something happened.
    Entry(TimelineEntry),
    /// One more second is over.
    Second(SecondRow),
}

impl EntryKind {
    /// As it is written in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Fault => "fault",
            Self::Change => "change",
            Self::Undo => "undo",
            Self::DoorNoticed => "door-noticed",
        }
    }
}

impl Verdict {
    /// As it is written in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Missed => "missed",
            Self::Pending => "pending",
            Self::PendingHolds => "pending-holds",
            Self::NotAvailable => "not available",
            Self::GeneratorBound => "generator-bound",
        }
    }

    /// Whether an expectation with this verdict makes its run fail.
    #[must_use]
    pub fn fails(self) -> bool {
        match self {
            Self::Held | Self::Pending | Self::NotAvailable => false,
            Self::Missed | Self::PendingHolds | Self::GeneratorBound => true,
        }
    }
}

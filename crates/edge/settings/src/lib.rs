//! TOML text to checked types; every mistake at once, with its place.
//!
//! The only room that knows TOML. [`read`] fetches the text, [`check`] turns it into
//! [`model::Configuration`] or says what is wrong, `render_*` show it; [`schema`] and
//! [`reference`] describe what may be written. [`check_drill`] and [`load_plan`] do the same for
//! drills and loads.
//! Invariant: `check` never panics, whatever the text, and makes a configuration only when no
//! finding is an error.

mod admin;
mod admission;
mod allow;
mod capacity;
mod changes;
mod client;
mod drill;
mod environment;
mod finding;
mod identity;
pub mod import;
mod limit;
mod listen;
mod order;
mod path;
mod pool;
mod raw;
mod reader;
mod reference;
mod render;
mod route;
pub mod rules;
mod schema;
mod server;
mod syntax;
mod tcp;
mod tls;
mod units;

use std::cell::RefCell;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use model::Name;
use model::configuration::Configuration;
use toml::de::{DeTable, DeValue};

pub use drill::{
    CheckedDrill, CheckedLoadPlan, check_drill, drill_reference, drill_schema, load_plan,
    message_bytes,
};
pub use environment::Environment;
pub use finding::{Finding, Related, Severity};
pub use reference::reference;
pub use render::{
    render_github, render_json, render_junit, render_sarif, render_text, without_secrets,
};
pub use schema::schema;

use finding::Findings;
use limit::Scope;
use reader::{Context, Value};
use rules::Subject;

/// Bytes of a configuration, at most: 4 MiB.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// The text of a configuration and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What the text is called in findings; the path as it was given.
    pub name: String,
    /// The text.
    pub text: String,
    /// What relative paths in the text are relative to.
    pub folder: PathBuf,
}

/// Why a configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is absent or may not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The file is not text.
    #[error("{} is not UTF-8 text: byte {position} is wrong", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
        /// The offset of the first wrong byte.
        position: usize,
    },
    /// The file is larger than [`TEXT_BYTES_MAX`].
    #[error("{} is larger than 4 MiB", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// The file is a named pipe.
    #[error("{} is a named pipe, which may never be written to: name a file, or /dev/stdin", path.display())]
    Pipe {
        /// Which file.
        path: PathBuf,
    },
}

/// What [`check`] found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The configuration; `None` when any finding is an error.
    pub configuration: Option<Configuration>,
    /// All findings, sorted by place.
    pub findings: Vec<Finding>,
    /// The configuration when it is refused by rules alone: it can be served, and is only unwise.
    /// For `--force`.
    pub overridable: Option<Configuration>,
}

/// Reads the configuration in the file at `path`.
///
/// # Errors
/// When the file cannot be read, is a named pipe, is no UTF-8 text or is larger than
/// [`TEXT_BYTES_MAX`].
pub fn read(path: &Path) -> Result<Source, ReadError> {
    let failed = |error| ReadError::File { path: path.to_owned(), error };
    // Opening a named pipe waits for its writer, maybe for ever. One that the caller holds open,
    // such as /dev/stdin, has one.
    let is_held = path.starts_with("/dev") || path.starts_with("/proc");
    if !is_held && std::fs::metadata(path).map_err(failed)?.file_type().is_fifo() {
        return Err(ReadError::Pipe { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know that there are too many.
    let limit = u64::try_from(TEXT_BYTES_MAX + 1).unwrap_or(u64::MAX);
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| ReadError::NotText {
        path: path.to_owned(),
        position: error.utf8_error().valid_up_to(),
    })?;
    let absolute = std::path::absolute(path).map_err(failed)?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(Source { name: path.display().to_string(), text, folder })
}

/// Checks a text: all its mistakes at once, or the configuration it stands for.
///
/// Looks at the files it names (certificates, keys, tokens), and at nothing else outside.
#[must_use]
pub fn check(source: &Source, environment: &Environment) -> Checked {
    let text = source.text.as_str();
    let findings = Findings::default();
    if text.len() > TEXT_BYTES_MAX {
        let message = "the configuration is larger than 4 MiB".to_owned();
        findings.add(Finding::error("too-large", 0..0, message));
        return Checked { configuration: None, findings: findings.finish(""), overridable: None };
    }

    let (document, errors) = DeTable::parse_recoverable(text);
    let (folder, files) = (&*source.folder, &RefCell::default());
    let context = Context { findings: &findings, folder, environment, files };
    let root = DeValue::Table(document.into_inner());
    let read = configuration(&root, context, text);

    // Rules judge what a text stands for, so it must stand for something first.
    let is_whole = errors.is_empty() && !findings.has_errors();
    let read = read.filter(|_| is_whole);
    if let Some((configuration, allowances)) = &read {
        let subject = Subject::new(configuration, environment, &root);
        for finding in allow::apply(rules::run(&subject), allowances) {
            findings.add(finding);
        }
    }
    let findings = syntax::join(&errors, findings.finish(text), text);
    let configuration = read.map(|(configuration, _)| configuration);
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    let (configuration, overridable) =
        if refused { (None, configuration) } else { (configuration, None) };
    Checked { configuration, findings, overridable }
}

/// The whole document, as far as it can be read, and what it sets aside; only worth something
/// without errors.
fn configuration(
    root: &DeValue<'_>,
    context: Context<'_>,
    text: &str,
) -> Option<(Configuration, Vec<allow::Placed>)> {
    let mut root = Value::root("the configuration", root, context).table("a table")?;
    let door = admin::door(&mut root);
    let listeners = listen::listeners(&mut root, &door);
    let mut pools = pool::pools(&mut root);
    let routes = route::routes(&mut root, &listeners, &pools);
    tcp::settle(&mut root, &listeners, &routes, &mut pools);
    let admission = admission::admission(&mut root);
    let scope =
        Scope { routes: root.names("routes").collect(), shares: admission.shared.is_some() };
    let clients = client::clients(&mut root, &scope);
    let limits = limit::limits(&mut root, &scope);
    let admin = admin::admin(&mut root, &listeners);
    let telemetry = admin::telemetry(&mut root);
    let invariants = changes::invariants(&mut root);
    let changes = changes::changes(&mut root);
    let allowances = allow::allowances(&mut root);
    root.finish();
    let configuration = Configuration {
        version: version(text),
        door,
        listeners: listeners.into_iter().map(|listener| listener.listener).collect(),
        pools: pools.into_iter().map(|pool| pool.pool).collect::<Option<_>>()?,
        routes,
        admission,
        clients,
        limits,
        admin,
        telemetry,
        invariants,
        changes,
        allowances: allowances.iter().map(|placed| placed.allowance.clone()).collect(),
        files: context.files.take().into_iter().collect(),
    };
    Some((configuration, allowances))
}

/// Where the door of this text keeps its generations; also of a text with mistakes elsewhere, so
/// that a broken file still leads to what was live. Without a text, the default.
#[must_use]
pub fn state(
    source: Option<&Source>,
    environment: &Environment,
) -> Option<model::configuration::State> {
    let text = source.map_or("", |source| source.text.as_str());
    if text.len() > TEXT_BYTES_MAX {
        return state(None, environment);
    }
    let findings = Findings::default();
    let folder = source.map_or(Path::new("/"), |source| &source.folder);
    let (document, _errors) = DeTable::parse_recoverable(text);
    let root = DeValue::Table(document.into_inner());
    let context = Context { findings: &findings, folder, environment, files: &RefCell::default() };
    let mut root = Value::root("the configuration", &root, context).table("a table")?;
    admin::door(&mut root).state
}

/// Twelve hex digits that tell texts apart: FNV-1a, for people who compare two numbers, not
/// against anyone who forges one.
#[must_use]
pub fn version(text: &str) -> Name {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The upper bits of the hash depend on more of the text than its lowest.
    Name::from(format!("{:012x}", hash >> 16))
}

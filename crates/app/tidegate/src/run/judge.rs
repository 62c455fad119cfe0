//! Whether a text may go live: its findings, what it would do to the traffic, and what of that
//! breaks an invariant.
//!
//! Runs on a thread that may take its time; the texts and the trials have limits of their own.
//! Invariant: what is refused changed nothing, and the refusal says every reason at once.

use std::sync::Arc;

use console::{Refusal, RefusalKind};
use model::Configuration;
use model::forecast::Forecast;
use model::recording::Recording;
use settings::{Checked, Environment, Finding, Source};

/// What is judged, and what it is compared with.
pub(super) struct Subject {
    pub(super) source: Source,
    /// Errors of rules and broken invariants do not stand in the way.
    pub(super) force: bool,
    /// A share of the requests tries it first: it may move as many as it likes.
    pub(super) canary: bool,
    pub(super) live: Arc<Configuration>,
    pub(super) recording: Recording,
}

/// A text that may go live.
pub(super) struct Judged {
    pub(super) configuration: Arc<Configuration>,
    /// Findings that do not stand in the way, rendered; empty without any.
    pub(super) findings: String,
    pub(super) forecast: Forecast,
    /// Whether anything had to be overridden.
    pub(super) forced: bool,
}

/// Judges a text against what is live.
///
/// # Errors
/// [`RefusalKind::Invalid`], with all reasons.
pub(super) fn judge(subject: &Subject, environment: &Environment) -> Result<Judged, Refusal> {
    let Subject { source, force, canary, live, recording } = subject;
    let checked = check(source, environment, *force);
    let checked = checked.map_err(|why| Refusal::new(RefusalKind::Invalid, why))?;
    let Accepted { configuration, findings, overridden } = checked;
    let mut forecast = changes::forecast(live, &configuration, Some(recording));
    if *canary {
        let mut relaxed = configuration.clone();
        relaxed.changes.move_max = 1.0;
        forecast.broken = changes::broken(Some(live), &relaxed, &forecast.pools);
    }
    if !forecast.broken.is_empty() && !force {
        let detail = format!(
            "{} would break what must hold:\n  {}\nchange it, try it on a share of the requests (`tidegate apply --canary 5% --for 2m`), or override it (`--force`)",
            source.name,
            forecast.broken.join("\n  ")
        );
        return Err(Refusal::new(RefusalKind::Invalid, detail));
    }
    Ok(Judged {
        findings: settings::render_text(&findings, std::slice::from_ref(source), false),
        forced: overridden || !forecast.broken.is_empty(),
        configuration: Arc::new(configuration),
        forecast,
    })
}

/// A text that its checks let through.
pub(super) struct Accepted {
    pub(super) configuration: Configuration,
    pub(super) findings: Vec<Finding>,
    /// Whether errors of rules were overridden.
    pub(super) overridden: bool,
}

/// Checks a text; `force` overrides errors of rules.
///
/// # Errors
/// The findings, rendered.
pub(super) fn check(
    source: &Source,
    environment: &Environment,
    force: bool,
) -> Result<Accepted, String> {
    let Checked { configuration, findings, overridable } = settings::check(source, environment);
    if let Some(configuration) = configuration {
        return Ok(Accepted { configuration, findings, overridden: false });
    }
    match overridable {
        Some(configuration) if force => Ok(Accepted { configuration, findings, overridden: true }),
        Some(_) | None => {
            let rendered = settings::render_text(&findings, std::slice::from_ref(source), false);
            Err(format!("{} is not a valid configuration\n{rendered}", source.name))
        }
    }
}

/// Logs findings that did not stand in the way.
pub(super) fn log(findings: &[Finding], source: &Source) {
    for finding in findings {
        tracing::warn!(
            rule = finding.rule,
            file = %source.name,
            line = finding.line,
            "{}", finding.message
        );
    }
}

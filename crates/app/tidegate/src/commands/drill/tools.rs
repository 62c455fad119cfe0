//! What only the command line can connect for a stage: checking configurations, asking doors.

use std::path::{Path, PathBuf};

use console::Apply;
use console::client::{self, ClientError};
use model::fact::Snapshot;
use model::generation::{Generation, Origin};
use rehearsal::stage::{Answer, TidegateTools};
use settings::{Environment, Finding, Severity, Source};

use crate::commands::{chain, status};

/// The tools of this binary.
#[derive(Debug)]
pub(super) struct Tools {
    environment: Environment,
}

impl Tools {
    pub(super) fn detect() -> Self {
        Self { environment: Environment::detect() }
    }
}

impl TidegateTools for Tools {
    fn check(&self, text: &str) -> Result<(), String> {
        let source = Source {
            name: "tidegate.toml".to_owned(),
            text: text.to_owned(),
            folder: PathBuf::from("/"),
        };
        let checked = settings::check(&source, &self.environment);
        match checked.configuration {
            Some(_) => Ok(()),
            None => {
                // What stood in the way is what a drill tells.
                let is_error = |finding: &Finding| finding.severity == Severity::Error;
                let errors: Vec<_> = checked.findings.into_iter().filter(is_error).collect();
                Err(settings::render_text(&errors, std::slice::from_ref(&source), false))
            }
        }
    }

    fn snapshot<'a>(&'a self, socket: &'a Path) -> Answer<'a, Option<Snapshot>> {
        Box::pin(async move { status::fetch(socket).await.ok() })
    }

    fn reload<'a>(&'a self, socket: &'a Path) -> Answer<'a, Result<String, String>> {
        Box::pin(ordered(socket, "/v1/reload", serde_json::json!({})))
    }

    fn rollbacks<'a>(&'a self, socket: &'a Path) -> Answer<'a, Option<u64>> {
        Box::pin(async move {
            let body = client::get(socket, "/v1/generations?limit=20").await.ok()?;
            let generations: Vec<Generation> = serde_json::from_slice(&body).ok()?;
            let back = generations
                .iter()
                .filter(|generation| matches!(generation.origin, Origin::AutomaticRollback { .. }));
            u64::try_from(back.count()).ok()
        })
    }

    fn force<'a>(&'a self, socket: &'a Path, text: &'a str) -> Answer<'a, Result<String, String>> {
        let reason = "a drill with the guard off".to_owned();
        let order = Apply { text: text.to_owned(), reason, force: true, ..Apply::default() };
        Box::pin(ordered(socket, "/v1/apply", serde_json::json!(order)))
    }
}

/// What the door says came of a change.
async fn ordered(socket: &Path, path: &str, order: serde_json::Value) -> Result<String, String> {
    match client::post(socket, path, &order).await {
        Ok(body) => {
            let answer: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let result = answer.as_ref().and_then(|answer| answer.get("result")?.as_str());
            Ok(result.unwrap_or("live").to_owned())
        }
        Err(ClientError::Refused { detail, .. }) => Err(detail),
        Err(error) => Err(chain(&error)),
    }
}

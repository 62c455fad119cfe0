//! What only the command line can connect for a stage: checking configurations, asking doors.

use std::path::{Path, PathBuf};

use console::client::{self, ClientError};
use model::fact::Snapshot;
use rehearsal::stage::{Answer, TidegateTools};
use settings::{Environment, Source};

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
            None => Err(settings::render_text(&checked.findings, &source, false)),
        }
    }

    fn snapshot<'a>(&'a self, socket: &'a Path) -> Answer<'a, Option<Snapshot>> {
        Box::pin(async move { status::fetch(socket).await.ok() })
    }

    fn reload<'a>(&'a self, socket: &'a Path) -> Answer<'a, Result<String, String>> {
        Box::pin(async move {
            match client::post(socket, "/v1/reload", &serde_json::json!({})).await {
                Ok(body) => {
                    let answer: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
                    let result = answer.as_ref().and_then(|answer| answer.get("result")?.as_str());
                    Ok(result.unwrap_or("reloaded").to_owned())
                }
                Err(ClientError::Refused { detail, .. }) => Err(detail),
                Err(error) => Err(chain(&error)),
            }
        })
    }
}

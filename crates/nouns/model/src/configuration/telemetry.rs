//! Logs and metrics, as configured.

use std::path::PathBuf;

/// Logs and metrics (`[telemetry]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// The access log; `None` is off.
    pub access_log: Option<AccessLog>,
}

/// The access log.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub target: AccessLogTarget,
    /// How they look.
    pub format: AccessLogFormat,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; reopened on SIGHUP.
    File(PathBuf),
}

/// How access log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line (the default).
    Json,
    /// Common Log Format with referer and user agent.
    Clf,
    /// Elastic Common Schema, one JSON object a line.
    Ecs,
}

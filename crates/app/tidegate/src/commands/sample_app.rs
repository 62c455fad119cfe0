//! `tidegate sample-app`: a test server, run until SIGTERM or Ctrl-C, or until it is out of memory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rehearsal::sample::{self, Distribution, Ended, SampleSettings};
use tokio::net::TcpListener;

use crate::cli::parse_duration;
use crate::commands::{block_on, complain, interrupted};
use crate::{exit, output};

/// What a shell shows for a process that the system killed for want of memory: 128 + SIGKILL.
const OUT_OF_MEMORY: u8 = 137;
/// The largest file of settings.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;

#[derive(Debug, Args)]
pub(crate) struct SampleAppArguments {
    /// Where to listen; port 0 lets the system choose. The address is the first line of output
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3001")]
    listen: SocketAddr,

    /// Settings as one JSON object, with the keys that GET /_control shows; those left out have their defaults
    #[arg(long, value_name = "JSON", conflicts_with_all = ["settings_file", "SimpleArguments"])]
    settings: Option<String>,

    /// The same from a file
    #[arg(long, value_name = "FILE", conflicts_with = "SimpleArguments")]
    settings_file: Option<PathBuf>,

    #[command(flatten)]
    simple: SimpleArguments,
}

/// The settings that are handy on a command line.
#[derive(Debug, Args)]
struct SimpleArguments {
    /// In each answer, as text and as the header x-server
    #[arg(long, default_value = "sample")]
    name: String,

    /// In each answer as the header x-version
    #[arg(long, value_name = "VERSION", default_value = "v1")]
    app_version: String,

    /// Mean time of work per request (20ms, 1.5s)
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = parse_duration)]
    service_time: Duration,

    /// How the time of one request varies around the mean
    #[arg(long, value_name = "NAME", default_value = "fixed")]
    distribution: DistributionName,

    /// CPU time each request burns besides, up to 10s
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = parse_duration)]
    cpu: Duration,

    /// Requests served at once, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 5)]
    concurrency: usize,

    /// Requests that may wait, 0 to 10000; further ones are answered 503
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    queue_max: usize,

    /// The share of requests that fail, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    error_rate: f64,

    /// The status of a failing request, 400 to 599
    #[arg(long, value_name = "STATUS", default_value_t = 500)]
    error_status: u16,

    /// Answer failing requests at once instead of after their service time
    #[arg(long)]
    fast_errors: bool,

    /// The path of the health check
    #[arg(long, value_name = "PATH", default_value = "/health")]
    health_path: String,

    /// Start with a failing health check
    #[arg(long)]
    unhealthy: bool,

    /// Bytes of an ordinary answer's body, up to 16777216
    #[arg(long, value_name = "N", default_value_t = 100)]
    body_bytes: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DistributionName {
    Fixed,
    Exponential,
    Lognormal,
}

impl SampleAppArguments {
    /// The settings these arguments stand for.
    ///
    /// # Errors
    /// In words, when the file cannot be read, or one is out of range.
    fn settings(&self) -> Result<SampleSettings, String> {
        if let Some(text) = &self.settings {
            return SampleSettings::default()
                .changed(text.as_bytes())
                .map_err(|why| format!("--settings: {why}"));
        }
        let Some(file) = &self.settings_file else { return self.simple.settings() };
        let read = || {
            let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
            if length > FILE_BYTES_MAX {
                return Err(format!("more than {FILE_BYTES_MAX} bytes"));
            }
            let text = std::fs::read(file).map_err(|error| error.to_string())?;
            SampleSettings::default().changed(&text)
        };
        read().map_err(|why| format!("{}: {why}", file.display()))
    }
}

impl SimpleArguments {
    fn settings(&self) -> Result<SampleSettings, String> {
        let settings = SampleSettings {
            name: self.name.clone(),
            version: self.app_version.clone(),
            service_time_ms: self.service_time.as_secs_f64() * 1_000.0,
            distribution: match self.distribution {
                DistributionName::Fixed => Distribution::Fixed,
                DistributionName::Exponential => Distribution::Exponential,
                DistributionName::Lognormal => Distribution::Lognormal,
            },
            cpu_ms: self.cpu.as_secs_f64() * 1_000.0,
            concurrency: self.concurrency,
            queue_max: self.queue_max,
            error_rate: self.error_rate,
            error_status: self.error_status,
            fast_errors: self.fast_errors,
            health_path: self.health_path.clone(),
            healthy: !self.unhealthy,
            body_bytes: self.body_bytes,
            ..SampleSettings::default()
        };
        settings.checked()
    }
}

pub(crate) fn run(arguments: &SampleAppArguments) -> ExitCode {
    let settings = match arguments.settings() {
        Ok(settings) => settings,
        Err(why) => {
            complain(&why);
            return exit::usage();
        }
    };
    block_on(async {
        match serve(arguments, settings).await {
            Ok(Ended::Shutdown) => exit::clean(),
            Ok(Ended::OutOfMemory) => ExitCode::from(OUT_OF_MEMORY),
            Err(error) => {
                complain(&format!("{} cannot be served: {error}", arguments.listen));
                exit::failed()
            }
        }
    })
}

async fn serve(arguments: &SampleAppArguments, settings: SampleSettings) -> std::io::Result<Ended> {
    let interrupted = interrupted()?;
    let listener = TcpListener::bind(arguments.listen).await?;
    // Tests that listen on port 0 read the address from this first line.
    output::print(&format!("listening on {} name={}\n", listener.local_addr()?, settings.name))?;
    sample::serve(listener, settings, interrupted).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings(arguments: &[&str]) -> Result<SampleSettings, String> {
        let cli = Cli::try_parse_from(["tidegate", "sample-app"].iter().chain(arguments))
            .map_err(|error| error.kind().to_string())?;
        let Command::SampleApp(arguments) = cli.command else { panic!("another command") };
        arguments.settings()
    }

    #[test]
    fn simple_arguments_are_checked() {
        assert_eq!(settings(&[]), Ok(SampleSettings::default()));
        assert_eq!(
            settings(&["--service-time", "1s", "--cpu", "2ms"])
                .map(|settings| (settings.service_time_ms, settings.cpu_ms)),
            Ok((1_000.0, 2.0))
        );
        assert_eq!(settings(&["--error-rate", "2"]), Err("error_rate must be 0 to 1".to_owned()));
    }

    #[test]
    fn whole_settings_come_as_json() {
        let whole = SampleSettings { cpu_ms: 3.0, version: "v2".into(), ..Default::default() };
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(settings(&["--settings", &text]), Ok(whole.clone()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.json");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(settings(&["--settings-file", file]), Ok(whole));

        assert_eq!(
            settings(&["--settings", r#"{"cpu_ms": -1}"#]),
            Err("--settings: cpu_ms must be 0 to 10000".to_owned())
        );
        for both in
            [&["--settings", "{}", "--name", "a"], &["--settings-file", file, "--cpu", "1ms"]]
        {
            let refused = settings(both).unwrap_err();
            assert!(refused.contains("cannot be used with"), "{refused}");
        }
    }
}

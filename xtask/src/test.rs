//! Runs every test, after making sure that the peers the tests talk to are there.
//!
//! On Debian as root what is missing is installed; elsewhere it is named and the run ends
//! with exit code 2, since a test that silently skips its peer shows nothing. At the end what
//! failed is told once more, since often only the end of a log is kept. The last line is the
//! sum over all test programs, `N passed, N failed`, alone on its line.

mod failures;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use failures::Failures;

use crate::{Outcome, say, shell};

/// A program the tests use, how to see that it is there, and the Debian package it comes in.
struct Need {
    name: &'static str,
    package: &'static str,
    present: fn() -> bool,
}

const NEEDS: [Need; 14] = [
    Need { name: "nginx", package: "nginx-light", present: || shell::find("nginx").is_some() },
    Need { name: "pebble", package: "pebble", present: || shell::find("pebble").is_some() },
    Need { name: "haproxy", package: "haproxy", present: || shell::find("haproxy").is_some() },
    Need { name: "wrk", package: "wrk", present: || shell::find("wrk").is_some() },
    Need { name: "nghttp", package: "nghttp2-client", present: || shell::find("nghttp").is_some() },
    Need { name: "chromium", package: "chromium", present: || shell::find("chromium").is_some() },
    Need { name: "node", package: "nodejs", present: || shell::find("node").is_some() },
    Need { name: "curl", package: "curl", present: || shell::find("curl").is_some() },
    Need { name: "openssl", package: "openssl", present: || shell::find("openssl").is_some() },
    Need { name: "python3", package: "python3", present: || shell::find("python3").is_some() },
    Need {
        name: "requests for Python",
        package: "python3-requests",
        // The system's Python first: a version manager may put another one on the path.
        present: || {
            ["/usr/bin/python3", "python3"]
                .iter()
                .any(|python| shell::succeeds(python, &["-c", "import requests"]))
        },
    },
    Need {
        name: "grpcio for Python",
        package: "python3-grpcio",
        present: || {
            ["/usr/bin/python3", "python3"]
                .iter()
                .any(|python| shell::succeeds(python, &["-c", "import grpc"]))
        },
    },
    Need {
        name: "PostgreSQL's server",
        // Debian also starts a cluster of the system's: the tests use their own and leave it alone.
        package: "postgresql",
        present: postgresql,
    },
    Need {
        name: "redis-server",
        // Debian also starts one of the system's: the tests start their own on free ports.
        package: "redis-server",
        present: || shell::find("redis-server").is_some(),
    },
];

/// Debian keeps the server's programs off the search path, one folder per version.
fn postgresql() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut servers = versions.map(|version| version.path().join("bin/initdb"));
    servers.any(|server| server.is_file()) || shell::find("initdb").is_some()
}

/// Installs, builds, tests, sums up.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    if !provide()? {
        return Ok(Outcome::Missing);
    }
    // The black-box tests start the binary a person would build.
    let built = shell::show("cargo", &["build", "--release", "--package", "tidegate"])?;
    let (mut sum, mut failures) = (Sum::default(), Failures::default());
    let mut code = exit_code(built);
    if code == 0 {
        code = run_tests(&mut sum, &mut failures)?;
    }
    failures.report().iter().for_each(|line| say::data(line));
    say::data(&sum.line());
    Ok(if code == 0 { Outcome::Clean } else { Outcome::Passed(code) })
}

/// Makes sure of every need; false when something is missing and cannot be installed.
fn provide() -> anyhow::Result<bool> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(true);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if Path::new("/etc/debian_version").exists() && rustix::process::geteuid().is_root() {
        install(&packages)?;
    }
    let still: Vec<&Need> = missing.into_iter().filter(|need| !(need.present)()).collect();
    for need in &still {
        say::note(&format!("missing: {} (Debian package {})", need.name, need.package));
    }
    if !still.is_empty() {
        say::note(&format!(
            "The tests run the door beside these. Install them, on Debian by:\n    \
             apt-get install {}",
            still.iter().map(|need| need.package).collect::<Vec<_>>().join(" ")
        ));
    }
    Ok(still.is_empty())
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    let quiet = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"];
    // A stale index may still do: what counts is whether the packages are there afterwards.
    shell::show("env", &[&quiet[..], &["update"]].concat())?;
    let install = ["install", "--no-install-recommends"];
    shell::show("env", &[&quiet[..], &install[..], packages].concat())?;
    Ok(())
}

/// Runs `cargo test`, passes its output through, adds up its summaries and collects what failed.
fn run_tests(sum: &mut Sum, failures: &mut Failures) -> anyhow::Result<u8> {
    let arguments = ["test", "--workspace", "--no-fail-fast"];
    say::note(&format!("+ cargo {}", arguments.join(" ")));
    let mut child = Command::new("cargo")
        .args(arguments)
        .current_dir(shell::root())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let output = child.stdout.take().expect("stdout was piped above");
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read the output of cargo test")?;
        let line = String::from_utf8_lossy(&line);
        say::data(&line);
        sum.add(&line);
        failures.add(&line);
    }
    Ok(exit_code(child.wait().context("cannot wait for cargo test")?))
}

/// A program's exit code; one ended by a signal counts as 1.
fn exit_code(status: std::process::ExitStatus) -> u8 {
    status.code().map_or(1, |code| u8::try_from(code).unwrap_or(1))
}

/// Passed and failed tests over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
}

impl Sum {
    /// Adds a line such as `test result: ok. 12 passed; 0 failed; ...`; ignores any other.
    fn add(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else {
            return;
        };
        let counts = summary.split_once(". ").map_or(summary, |(_, counts)| counts);
        for part in counts.split("; ") {
            match part.split_once(' ') {
                Some((count, "passed")) => self.passed += count.parse().unwrap_or(0),
                Some((count, "failed")) => self.failed += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    fn line(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    fn check(lines: &[&str], expected: &str) {
        let mut sum = Sum::default();
        lines.iter().for_each(|line| sum.add(line));
        assert_eq!(sum.line(), expected);
    }

    #[test]
    fn sums_over_all_test_programs() {
        check(&[], "0 passed, 0 failed");
        check(
            &[
                "running 3 tests",
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
                 finished in 0.00s",
                "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
                "the text `test result: ok. 9 passed` inside a line is not a summary",
            ],
            "7 passed, 2 failed",
        );
    }
}

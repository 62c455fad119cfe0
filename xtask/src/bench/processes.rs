//! Starts other programs on one core, reads what they used, and ends them.
//!
//! A program started here ends with this one: its guard ends it by its process id, and the
//! kernel does so when this process dies without running the guard.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::CpuSet;

use crate::clock;

/// How long a program may take to end when it is asked to.
const END: Duration = Duration::from_secs(5);

/// How long a program may take to accept connections.
const START: Duration = Duration::from_secs(20);

/// Which core, which program.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfineOptions {
    #[arg(long)]
    core: usize,
    /// The process this one must not outlive.
    #[arg(long)]
    parent: i32,
    #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Becomes the program, on its core, with as many descriptors as are allowed.
pub(super) fn confine(options: &ConfineOptions) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // The parent may have died before the line above.
    let parent = rustix::process::getppid().map(Pid::as_raw_nonzero);
    ensure!(parent.is_some_and(|pid| pid.get() == options.parent), "the bench has ended");
    let mut cores = CpuSet::new();
    cores.set(options.core);
    rustix::thread::sched_setaffinity(None, &cores)?;
    raise_descriptors()?;
    let (program, arguments) = options.command.split_first().context("no program")?;
    Err(Command::new(program).args(arguments).exec())
        .with_context(|| format!("cannot run {program}"))
}

/// Raises the soft limit of open files to the hard one.
pub(super) fn raise_descriptors() -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    Ok(rustix::process::setrlimit(Resource::Nofile, raised)?)
}

/// Where programs run and where they may write.
#[derive(Clone, Debug)]
pub(super) struct Workshop {
    /// Logs, configurations, certificates; removed in the end.
    pub(super) folder: PathBuf,
    /// This program, built with the profile `dist`.
    pub(super) xtask: PathBuf,
    /// The core of the doors.
    pub(super) door_core: usize,
    /// The core of load and backend.
    pub(super) load_core: usize,
}

/// A running program, ended when dropped.
#[derive(Debug)]
pub(super) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a program said, and what it cost.
pub(super) struct Measured {
    pub(super) output: String,
    pub(super) errors: String,
    pub(super) cpu_seconds: f64,
    pub(super) status: std::process::ExitStatus,
}

impl Workshop {
    /// Starts a program on a core; its output goes to a log in the folder.
    pub(super) fn start(
        &self,
        name: &str,
        core: usize,
        command: &[String],
    ) -> anyhow::Result<Running> {
        let log = self.folder.join(format!("{name}.log"));
        let output =
            File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let errors = output.try_clone()?;
        let child = self
            .command(core, command)
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Running { name: name.to_owned(), child, log })
    }

    /// Runs a program on the core of the load until it ends; gives its output.
    pub(super) fn run(&self, command: &[String]) -> anyhow::Result<String> {
        let child = self
            .command(self.load_core, command)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", command.join(" ")))?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {text}{errors}", command.join(" "));
        Ok(text)
    }

    /// As [`Self::run`]; gives its CPU time, user and system of all its threads, in seconds too.
    pub(super) fn run_measured(&self, command: &[String]) -> anyhow::Result<(String, f64)> {
        let measured = self.measure(command)?;
        let Measured { output, errors, cpu_seconds, status } = measured;
        ensure!(status.success(), "{} failed: {output}{errors}", command.join(" "));
        Ok((output, cpu_seconds))
    }

    /// Runs a program on the load generator's core to its end, whatever it says.
    pub(super) fn measure(&self, command: &[String]) -> anyhow::Result<Measured> {
        let log = self.folder.join("measured.log");
        let output = File::create(&log).context("cannot make a log")?;
        let errors = self.folder.join("measured.errors");
        let mut child = self
            .command(self.load_core, command)
            .stdout(output)
            .stderr(File::create(&errors).context("cannot make a log")?)
            .spawn()
            .with_context(|| format!("cannot run {}", command.join(" ")))?;
        // A process that ended and was not waited for still has its account.
        rustix::process::waitid(
            rustix::process::WaitId::Pid(Pid::from_child(&child)),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )?;
        let used = ticked_seconds(child.id());
        let status = child.wait()?;
        let (output, errors) = (std::fs::read_to_string(&log)?, std::fs::read_to_string(&errors)?);
        Ok(Measured { output, errors, cpu_seconds: used?, status })
    }

    fn command(&self, core: usize, command: &[String]) -> Command {
        let mut confined = Command::new(&self.xtask);
        confined
            .args(["part", "confine", "--core", &core.to_string()])
            .args(["--parent", &std::process::id().to_string(), "--"])
            .args(command)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        confined
    }
}

impl Running {
    /// Waits until the program accepts connections on a port.
    pub(super) fn await_port(&mut self, port: u16) -> anyhow::Result<()> {
        let start = clock::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{} ended with {status}: {}", self.name, self.log_text());
            }
            ensure!(start.elapsed() < START, "{} does not listen: {}", self.name, self.log_text());
            clock::pause(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What the program wrote so far.
    pub(super) fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// CPU time of the program and its children, user and system, in seconds.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.family().iter().map(|&process| cpu_seconds(process)).sum()
    }

    /// Resident memory of the program and its children, in bytes.
    pub(super) fn resident_bytes(&self) -> anyhow::Result<f64> {
        self.family().iter().map(|&process| resident_bytes(process)).sum()
    }

    /// The process and all below it: a master's workers count as well.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let parents = parents();
        let mut index = 0;
        while let Some(&process) = family.get(index) {
            family.extend(parents.iter().filter(|(_, parent)| *parent == process).map(|p| p.0));
            index += 1;
        }
        family
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let process = Pid::from_child(&self.child);
        if rustix::process::kill_process(process, Signal::TERM).is_err() {
            return; // It has ended, and was waited for.
        }
        let start = clock::now();
        while start.elapsed() < END {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            clock::pause(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Every process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, stat(process)?.get(1)?.parse().ok()?)))
        .collect()
}

/// The fields of `/proc/PID/stat` after the program's name: state, parent, ...
fn stat(process: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// CPU time of all threads of a process, in seconds.
fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    // The scheduler's own account has nanoseconds; utime and stime have ticks of 10 ms.
    if let Some(seconds) = scheduled_seconds(Path::new("/proc").join(process.to_string())) {
        return Ok(seconds);
    }
    ticked_seconds(process)
}

/// CPU time of a process and its threads that ended, from ticks of 10 ms.
fn ticked_seconds(process: u32) -> anyhow::Result<f64> {
    let fields = stat(process).context("the process has ended")?;
    let field = |index: usize| -> anyhow::Result<f64> {
        Ok(fields.get(index).context("short /proc/PID/stat")?.parse()?)
    };
    let ticks_per_second = u32::try_from(rustix::param::clock_ticks_per_second())?;
    Ok((field(11)? + field(12)?) / f64::from(ticks_per_second))
}

/// The sum over threads of the first field of `schedstat`; `None` where the kernel has none.
fn scheduled_seconds(process: PathBuf) -> Option<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir(process.join("task")).ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split(' ').next()?.parse::<f64>().ok()?;
    }
    Some(nanoseconds / 1e9)
}

fn resident_bytes(process: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("no VmRSS")?
        .trim()
        .parse()?;
    Ok(kibibytes * 1024.0)
}

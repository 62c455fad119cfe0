//! The queue between the workers and the thread that writes.
//!
//! The thread looks at the queue by itself, every few milliseconds: a worker that records never
//! has to wake it, which would be a system call on the request path. Invariant: a record is
//! written once or counted as lost once, and recording never waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use model::configuration::{self, AccessLogFormat, AccessLogTarget};

use super::format::format_line;
use super::record::AccessRecord;
use super::sink::Sink;

/// Records that wait for the writer at most; further ones are lost and counted.
pub const QUEUE_RECORDS: usize = 8_192;
/// How long [`AccessLogWriter::finish`] waits for a writer that may be stalled.
pub const FINISH_WAIT: Duration = Duration::from_secs(5);
/// A batch is written when it holds this many bytes, or when the queue is empty.
const BATCH_BYTES: usize = 64 * 1_024;
/// The writer looks at the queue this often while records come...
const BUSY_WAIT: Duration = Duration::from_millis(10);
/// ...and this often while none do.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// Losses are told to the diagnostics at most this often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Why the access log could not start.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The target cannot be opened: the operator's to mend.
    #[error("cannot open the access log {target}")]
    Open {
        /// The file's path, or `stdout`.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the access log's thread")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

/// What handles and writer share.
#[derive(Debug, Default)]
struct Shared {
    lost: AtomicU64,
    reopen: AtomicBool,
    stop: AtomicBool,
}

/// The workers' end: clonable, cheap, never waits.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<AccessRecord>,
    shared: Arc<Shared>,
    thread: Thread,
}

impl AccessLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// When the target cannot be opened or no thread can be started.
    pub fn start(
        configuration: &configuration::AccessLog,
    ) -> Result<(Self, AccessLogWriter), AccessLogError> {
        let sink = Sink::open(&configuration.target).map_err(|source| AccessLogError::Open {
            target: match &configuration.target {
                AccessLogTarget::Stdout => "stdout".to_owned(),
                AccessLogTarget::File(path) => path.display().to_string(),
            },
            source,
        })?;
        Self::start_over(sink, configuration.format)
    }

    /// Starts the writer over an open sink.
    fn start_over(
        sink: Sink,
        format: AccessLogFormat,
    ) -> Result<(Self, AccessLogWriter), AccessLogError> {
        let (queue, records) = sync_channel(QUEUE_RECORDS);
        let (done_sender, done) = sync_channel::<()>(1);
        let shared = Arc::new(Shared::default());
        let mut lines = LineWriter::new(records, Arc::clone(&shared), sink, format);
        let handle = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                lines.run();
                // Dropping the sender is the message; a panic drops it as well.
                drop(done_sender);
            })
            .map_err(|source| AccessLogError::Thread { source })?;
        let thread = handle.thread().clone();
        Ok((
            Self { queue, shared: Arc::clone(&shared), thread },
            AccessLogWriter { handle, done, shared },
        ))
    }

    /// Hands a record over. Never waits: when the queue is full, the record is lost and counted.
    #[inline]
    pub fn record(&self, record: AccessRecord) {
        if self.queue.try_send(record).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Asks the writer to open its file again, after a rotation moved it. Returns at once; what is
    /// recorded after the return goes to the new file.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The writer's thread, for the shutdown.
#[derive(Debug)]
pub struct AccessLogWriter {
    handle: JoinHandle<()>,
    done: Receiver<()>,
    shared: Arc<Shared>,
}

impl AccessLogWriter {
    /// Writes what is queued and ends the thread; call it when the workers have ended. Waits at
    /// most [`FINISH_WAIT`]: a writer stalled by its pipe or disk must not hold up the shutdown.
    /// True when everything queued was dealt with.
    #[must_use]
    pub fn finish(self) -> bool {
        self.finish_within(FINISH_WAIT)
    }

    fn finish_within(self, wait: Duration) -> bool {
        self.shared.stop.store(true, Ordering::Release);
        self.handle.thread().unpark();
        match self.done.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => false,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => self.handle.join().is_ok(),
        }
    }
}

/// The thread's state.
#[derive(Debug)]
struct LineWriter {
    records: Receiver<AccessRecord>,
    shared: Arc<Shared>,
    sink: Sink,
    format: AccessLogFormat,
    batch: String,
    last_error: Option<io::Error>,
    lost_told: u64,
    told_at: Option<Instant>,
}

impl LineWriter {
    fn new(
        records: Receiver<AccessRecord>,
        shared: Arc<Shared>,
        sink: Sink,
        format: AccessLogFormat,
    ) -> Self {
        let batch = String::with_capacity(BATCH_BYTES);
        Self { records, shared, sink, format, batch, last_error: None, lost_told: 0, told_at: None }
    }

    /// Writes until told to stop, then what is left.
    fn run(&mut self) {
        let mut wait = BUSY_WAIT;
        loop {
            // Asked before the queue is emptied: what was recorded before the stop is written.
            let stop = self.shared.stop.load(Ordering::Acquire);
            wait = if self.turn() { BUSY_WAIT } else { (wait * 2).min(IDLE_WAIT) };
            if stop {
                return;
            }
            std::thread::park_timeout(wait);
        }
    }

    /// Reopens if asked, and writes what is queued. True when there was anything.
    fn turn(&mut self) -> bool {
        if self.shared.reopen.swap(false, Ordering::AcqRel)
            && let Err(error) = self.sink.reopen()
        {
            tracing::warn!(%error, "cannot reopen the access log; the old file stays in use");
        }
        let mut any = false;
        // One turn takes at most one queue's worth, so a reopen is never put off for long.
        for _ in 0..QUEUE_RECORDS {
            let Ok(record) = self.records.try_recv() else { break };
            any = true;
            format_line(self.format, &record, &mut self.batch);
            if self.batch.len() >= BATCH_BYTES {
                self.flush();
            }
        }
        self.flush();
        self.complain(now());
        any
    }

    fn flush(&mut self) {
        if let Err((lost, error)) = self.sink.write(&self.batch) {
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
            self.last_error = Some(error);
        }
        self.batch.clear();
        // One batch of very long lines must not pin its memory for good.
        self.batch.shrink_to(2 * BATCH_BYTES);
    }

    /// Tells of new losses, at most once in [`COMPLAINT_INTERVAL`].
    fn complain(&mut self, now: Instant) -> bool {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let told_lately =
            self.told_at.is_some_and(|at| now.saturating_duration_since(at) < COMPLAINT_INTERVAL);
        if lost == self.lost_told || told_lately {
            return false;
        }
        let error = self
            .last_error
            .take()
            .map_or_else(|| "the writer could not follow".to_owned(), |e| e.to_string());
        tracing::warn!(
            lost = lost - self.lost_told,
            lost_in_all = lost,
            error,
            "access log lines were lost"
        );
        self.lost_told = lost;
        self.told_at = Some(now);
        true
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the writer's own thread decides nothing by it but how often to warn"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::record::Phases;
    use std::io::{ErrorKind, Read, Write};
    use std::path::Path;
    use std::time::SystemTime;

    fn record(number: usize) -> AccessRecord {
        AccessRecord {
            at: SystemTime::UNIX_EPOCH,
            client: "192.0.2.1".parse().unwrap(),
            client_name: None,
            class: None,
            user: None,
            peer: "192.0.2.1:1".parse().unwrap(),
            method: "GET".to_owned(),
            host: None,
            target: format!("/{number}"),
            protocol: "HTTP/1.1",
            status: 200,
            reason: None,
            route: None,
            pool: None,
            server: None,
            attempts: 1,
            request_id: number.to_string(),
            user_agent: None,
            referer: None,
            bytes_in: 0,
            bytes_out: 0,
            phases: Phases::default(),
            tls: None,
            trace_id: None,
            configuration: "1".into(),
        }
    }

    fn configuration(path: &Path) -> configuration::AccessLog {
        configuration::AccessLog {
            target: AccessLogTarget::File(path.to_owned()),
            format: AccessLogFormat::Clf,
        }
    }

    /// The targets in a log, in order.
    fn targets(text: &str) -> Vec<&str> {
        text.lines().map(|line| line.split(' ').nth(6).unwrap()).collect()
    }

    /// The thread's state without its thread, so that a test decides when it looks.
    fn by_hand(sink: Sink) -> (SyncSender<AccessRecord>, LineWriter) {
        let (queue, records) = sync_channel(QUEUE_RECORDS);
        (queue, LineWriter::new(records, Arc::default(), sink, AccessLogFormat::Clf))
    }

    #[test]
    fn every_record_is_written_in_order_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        std::fs::write(&path, "a line of an earlier run, kept kept kept\n").unwrap();
        let (log, writer) = AccessLog::start(&configuration(&path)).unwrap();
        (0..2_000).for_each(|number| log.record(record(number)));
        assert!(writer.finish());
        assert_eq!(log.lost(), 0);
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<String> = (0..2_000).map(|number| format!("/{number}")).collect();
        assert_eq!(targets(&text)[1..], expected);
        // What comes after the end has nobody to write it: it is counted.
        log.record(record(0));
        assert_eq!(log.lost(), 1);
    }

    #[test]
    fn a_target_that_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            AccessLog::start(&configuration(&folder.path().join("no/such/folder"))).unwrap_err();
        assert!(matches!(error, AccessLogError::Open { .. }), "{error}");
    }

    #[test]
    fn a_stalled_writer_loses_lines_and_counts_them() {
        const SENT: usize = 3 * QUEUE_RECORDS;
        let (mut reader, pipe) = io::pipe().unwrap();
        let (log, writer) = AccessLog::start_over(Sink::over(pipe), AccessLogFormat::Clf).unwrap();
        // Nobody reads the pipe: it takes 64 KiB, about 800 of these lines, and then blocks. The
        // writer holds at most one batch of records beyond the queue.
        (0..SENT).for_each(|number| log.record(record(number)));
        let lost = log.lost();
        assert!(lost > 0, "nothing was lost");
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        assert!(writer.finish());
        let text = reading.join().unwrap().unwrap();
        assert_eq!(text.lines().count() + usize::try_from(log.lost()).unwrap(), SENT);
        assert_eq!(log.lost(), lost, "once the pipe is read, nothing more is lost");
    }

    #[test]
    fn a_stalled_writer_does_not_hold_up_the_end() {
        let (reader, pipe) = io::pipe().unwrap();
        let (log, writer) = AccessLog::start_over(Sink::over(pipe), AccessLogFormat::Clf).unwrap();
        (0..QUEUE_RECORDS).for_each(|number| log.record(record(number)));
        assert!(!writer.finish_within(Duration::from_millis(50)));
        drop(reader);
    }

    #[test]
    fn after_a_rotation_lines_go_to_the_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let (queue, mut writer) =
            by_hand(Sink::open(&AccessLogTarget::File(path.clone())).unwrap());
        let mut turn = |number: usize| {
            queue.send(record(number)).unwrap();
            assert!(writer.turn());
            assert!(!writer.turn());
            Arc::clone(&writer.shared)
        };
        let shared = turn(0);
        std::fs::rename(&path, &old).unwrap();
        turn(1);
        shared.reopen.store(true, Ordering::Release);
        turn(2);
        turn(3);
        assert_eq!(targets(&std::fs::read_to_string(&old).unwrap()), ["/0", "/1"]);
        assert_eq!(targets(&std::fs::read_to_string(&path).unwrap()), ["/2", "/3"]);
        // When the folder is gone, the file that is open stays in use.
        let kept = std::fs::File::open(&path).unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
        shared.reopen.store(true, Ordering::Release);
        turn(4);
        assert_eq!(targets(&io::read_to_string(kept).unwrap()), ["/2", "/3", "/4"]);
        assert_eq!(shared.lost.load(Ordering::Relaxed), 0);
    }

    /// A disk that is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_counts_and_complains_once_a_minute() {
        let (queue, mut writer) = by_hand(Sink::over(Full));
        let start = now();
        (0..3).for_each(|number| queue.send(record(number)).unwrap());
        assert!(writer.turn());
        assert_eq!(writer.shared.lost.load(Ordering::Relaxed), 3);
        let check = |writer: &mut LineWriter, after: u64, complains: bool| {
            writer.shared.lost.fetch_add(1, Ordering::Relaxed);
            assert_eq!(
                writer.complain(start + Duration::from_secs(after)),
                complains,
                "after {after} s"
            );
        };
        // The turn complained just now, by the real clock.
        writer.told_at = Some(start);
        check(&mut writer, 1, false);
        check(&mut writer, 59, false);
        check(&mut writer, 60, true);
        check(&mut writer, 61, false);
        check(&mut writer, 120, true);
        assert!(!writer.complain(start + Duration::from_secs(999)), "nothing new was lost");
    }
}

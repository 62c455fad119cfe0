//! The access log: one line per request, written off the request path.
//!
//! A worker moves a record into a bounded queue and goes on; a thread formats and writes. When
//! the thread cannot follow, or its disk is full, lines are lost and counted: the log never
//! slows or ends the door. Invariant: nothing a client sends can end a line, break out of its
//! field, or reach a terminal as a control character.

mod escape;
mod format;
mod record;
mod sink;
mod writer;

pub use escape::{TEXT_BYTES_MAX, TRUNCATION_MARK, is_unsafe_to_show};
pub use format::{format_line, rfc3339};
pub use record::{AccessRecord, Phases, TlsFacts};
pub use writer::{AccessLog, AccessLogError, AccessLogWriter, FINISH_WAIT, QUEUE_RECORDS};

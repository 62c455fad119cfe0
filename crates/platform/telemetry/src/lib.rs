//! Counters, histograms, exporters and the access log.
//!
//! The request path records into shards that have one writer, the worker, and many readers.
//! Once a second the [`Collector`] turns the shards' totals into one `Snapshot` of facts, and on
//! request [`exposition`] writes them as text. While a candidate is tried, [`Arms`] hold what each
//! of the two configurations did. A [`Recorder`] per worker keeps a fair sample of the last minutes'
//! requests. The [`AccessLog`] takes one record per request
//! and hands it to a thread of its own. Invariant: nothing that a worker calls per request takes
//! a lock, allocates, waits or makes a system call.

pub mod access;
mod admission;
mod arm;
pub mod catalogue;
mod cell;
mod collect;
mod exposition;
mod family;
mod histogram;
mod history;
mod process;
mod recorder;
mod recording;
mod registry;
mod samples;
mod shard;
mod tcp;
mod text;
mod totals;

pub use access::{
    AccessLog, AccessLogError, AccessLogWriter, AccessRecord, Phases, TlsFacts, rfc3339,
};
pub use arm::{Arm, ArmCollector, ArmShard, Arms};
pub use collect::Collector;
pub use exposition::{
    CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_PROMETHEUS, ExpositionFormat, exposition,
};
pub use histogram::{Histogram, HistogramCounts, RELATIVE_ERROR};
pub use history::{HISTORY_SNAPSHOTS, History};
pub use recorder::{ForwardedRequest, RECORDED_REQUESTS, RECORDED_SECONDS, Recorder};
pub use registry::{RETIRED_COLLECTIONS, RETIRED_ENTRIES, Registry};
pub use shard::{AttemptSample, RequestSample, RouteShard, ServerShard, WorkerShard};
pub use tcp::TcpShard;

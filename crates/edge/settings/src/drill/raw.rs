//! The shape of a drill as it is written: what its schema and reference are derived from.
//!
//! These types hold no value; a test compares their keys with those the reader knows.

#![expect(dead_code, reason = "only the shape is used: the schema is derived from it")]

mod event;
mod load;
mod stack;

use std::collections::BTreeMap;

use event::{RawEvent, RawExpectation};
use load::RawStream;
use schemars::JsonSchema;
use stack::{RawDoorSetup, RawSettings, RawStack};

use crate::raw::RawDuration;

/// The begin of the reference.
pub(super) const INTRODUCTION: &str = "\
# Drills

Generated from the schema by `cargo run -p settings --example generate`; do not edit.

A drill is one TOML file: a stack, a front door, a load, what breaks and when, and what is
expected all the same. `tidegate drill run FILE` plays it; the built-in ones are in `drills`.
Durations are written like `\"250ms\"`, `\"1s\"` or `\"1m30s\"`, sizes like `\"16KiB\"` or `\"1MB\"`, rates
like `\"200/s\"`; all times count from the begin of the drill. NAME is yours: 1 to 64 letters,
digits, `-`, `_` or `.`. An unknown key is an error. A file with `[load.NAME]` tables alone is a
load for `tidegate load run --plan FILE`.

```toml
title = \"One of three servers is killed\"
duration = \"15s\"

[stack]
servers = 3                       # named a, b and c
server = { service_time_ms = 10, concurrency = 8 }

[load.users]
rate = \"200/s\"
requests = [\"GET /\", { target = \"GET /item/{key}\", keys = 1000, weight = 3 }]

[[event]]
at = \"5s\"
do = \"kill\"
server = \"b\"

[[symptom]]
share = \"b\"
from = \"6s\"
at_most = 0

[[expect]]
success = \"users\"
at_least = 0.999
```
";

/// One drill of Tidegate.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "drill.toml")]
pub(super) struct RawDrill {
    /// One line.
    #[schemars(length(min = 1, max = 120))]
    title: String,
    /// What happened to whom, and when: paragraphs of plain text.
    #[schemars(extend("default" = ""))]
    description: Option<String>,
    /// How long it runs, from 1s to 1h.
    duration: RawDuration,
    /// What stands behind the door: sample applications, and a database if one is named.
    stack: RawStack,
    /// What one server does otherwise than the others.
    #[schemars(extend("x-described-at" = "stack.server"))]
    servers: Option<BTreeMap<String, RawSettings>>,
    /// How the front door is set up at the start, in words that Tidegate, nginx and HAProxy can
    /// be told alike.
    door: Option<RawDoorSetup>,
    /// What clients send. Each NAME is a stream of requests of its own; exactly one of `rate`,
    /// `stages`, `users` and `sessions` says how they arrive.
    load: BTreeMap<String, RawStream>,
    /// Faults and changes on the timeline. `do` says what; which further keys there are depends on it.
    event: Option<Vec<RawEvent>>,
    /// What shows that the outage truly happened; it is never `pending`.
    #[schemars(extend("x-described-at" = "expect"))]
    symptom: Option<Vec<RawExpectation>>,
    /// What the front door should achieve all the same. Exactly one key says what is measured.
    expect: Option<Vec<RawExpectation>>,
}

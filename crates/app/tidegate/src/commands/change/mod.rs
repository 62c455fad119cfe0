//! The commands that change a running door, show its history and say what a change would do.
//!
//! Each asks the door over its admin interface; what they print is the door's own record, so two
//! people who look see the same.

mod against;
mod apply;
pub(in crate::commands) mod ask;
mod confirm;
mod diff;
mod history;
mod plan;
mod rollback;
mod show;
mod wait;
mod words;

pub(crate) use against::{AgainstArguments, Comparison};
pub(crate) use apply::{ApplyArguments, run as apply};
pub(crate) use confirm::{ConfirmArguments, run as confirm};
pub(crate) use diff::{DiffArguments, run as diff};
pub(crate) use history::{HistoryArguments, run as history};
pub(crate) use plan::{PlanArguments, run as plan};
pub(crate) use rollback::{RollbackArguments, run as rollback};
pub(crate) use show::{ShowArguments, run as show};

//! What verdicts say in single cases, and how often they are wrong in many.

mod simulated;
mod study;
mod verdicts;

//! Whether a change that is live, or tried, stays.

//! The durable history of generations, in an embedded SQLite.

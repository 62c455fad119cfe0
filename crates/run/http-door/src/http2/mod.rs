//! HTTP/2 at both edges of the door: the walk between them knows HTTP/1.1 only.
//!
//! A stream of a client's connection becomes a connection of its own to the walk, over a pipe
//! ([`inbound`]), and a stream to a server looks like a connection to it ([`outbound`]).
//! [`translate`] and [`translate_out`] write heads and trailers of one version as the other's.

mod carrier;
mod download;
mod frames;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod inbound;
pub(crate) mod outbound;
mod stream;
mod streams;
mod translate;
pub(crate) mod translate_out;
mod upload;

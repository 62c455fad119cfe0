//! The bodies of answers.
//!
//! Invariant: what may be large is made in pieces, as the caller takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Bytes, Frame, SizeHint};
use model::fact::Snapshot;

/// The body of an answer.
pub(crate) enum Body {
    Whole(Full<Bytes>),
    Snapshots(Snapshots),
}

/// Many snapshots as one JSON array, made one at a time: an hour of them never is in memory as text.
pub(crate) struct Snapshots {
    left: std::vec::IntoIter<Arc<Snapshot>>,
    next: &'static str,
    ended: bool,
}

impl Snapshots {
    pub(crate) fn new(snapshots: Vec<Arc<Snapshot>>) -> Self {
        Self { left: snapshots.into_iter(), next: "[", ended: false }
    }

    fn piece(&mut self) -> Option<Result<Bytes, serde_json::Error>> {
        if self.ended {
            return None;
        }
        let mut text = std::mem::replace(&mut self.next, ",").to_owned();
        match self.left.next() {
            Some(snapshot) => match serde_json::to_string(&*snapshot) {
                Ok(snapshot) => text.push_str(&snapshot),
                Err(error) => return Some(Err(error)),
            },
            None => {
                self.ended = true;
                text = if text == "[" { "[]".to_owned() } else { "]".to_owned() };
            }
        }
        Some(Ok(text.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = serde_json::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(full) => Pin::new(full).poll_frame(context).map_err(|never| match never {}),
            Self::Snapshots(snapshots) => {
                Poll::Ready(snapshots.piece().map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Snapshots(snapshots) => snapshots.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::Snapshots(_) => SizeHint::default(),
        }
    }
}

//! A place in a head: two offsets instead of a borrow, so that a parsed head can be kept and reused.

/// A range of bytes in the head it was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of the span; empty when it is out of range.
    #[must_use]
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let (Ok(start), Ok(end)) = (usize::try_from(self.start), usize::try_from(self.end)) else {
            return &[];
        };
        bytes.get(start..end).unwrap_or_default()
    }

    /// Bytes in the span.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// True when the span holds no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// A span between two offsets. Heads are limited far below 4 GiB; an offset beyond saturates,
    /// which [`Span::of`] reads as empty.
    #[inline]
    pub(crate) fn between(start: usize, end: usize) -> Self {
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(end).unwrap_or(u32::MAX),
        }
    }

    /// Where `part`, a slice of `whole`, lies in it. A slice from elsewhere gives an empty reading.
    #[inline]
    pub(crate) fn locate(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        Self::between(start, start.wrapping_add(part.len()))
    }
}

//! What holds when several faults touch the same thing: the newest that still lasts, or what was there before all.
//!
//! Pure. Invariant: undoing a fault in any order leaves exactly what the others made of it.

/// Something with a normal state that events put others on top of.
#[derive(Clone, Debug)]
pub(crate) struct Layers<T> {
    base: T,
    /// By event, oldest first; bounded by the drill's events.
    over: Vec<(usize, T)>,
}

impl<T: Clone> Layers<T> {
    /// Only the normal state.
    pub(crate) fn new(base: T) -> Self {
        Self { base, over: Vec::new() }
    }

    /// What holds now.
    pub(crate) fn top(&self) -> &T {
        self.over.last().map_or(&self.base, |(_, value)| value)
    }

    /// What held before the newest layer; the normal state when there is none.
    pub(crate) fn below_top(&self) -> &T {
        self.over.iter().rev().nth(1).map_or(&self.base, |(_, value)| value)
    }

    /// An event puts something on top.
    pub(crate) fn put(&mut self, event: usize, value: T) {
        self.over.push((event, value));
    }

    /// An event is over. Whether it had put anything.
    pub(crate) fn remove(&mut self, event: usize) -> bool {
        let before = self.over.len();
        self.over.retain(|(by, _)| *by != event);
        self.over.len() != before
    }

    /// Whether any event still lasts.
    pub(crate) fn is_covered(&self) -> bool {
        !self.over.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1a`: event 1 puts `a`; `-1`: event 1 ends. The normal state is `.`.
    fn check(script: &str, expected: &str) {
        let mut layers = Layers::new('.');
        let tops = script.split(' ').map(|word| {
            match word.strip_prefix('-') {
                Some(event) => assert!(layers.remove(event.parse().unwrap())),
                None => {
                    let (event, value) = word.split_at(1);
                    layers.put(event.parse().unwrap(), value.chars().next().unwrap());
                }
            }
            format!("{}{}", layers.top(), layers.below_top())
        });
        assert_eq!(tops.collect::<Vec<_>>().join(" "), expected, "{script}");
    }

    #[test]
    fn the_newest_that_lasts_holds() {
        check("1a -1", "a. ..");
        check("1a 2b -2 -1", "a. ba a. ..");
        check("1a 2b -1 -2", "a. ba b. ..");
    }
}

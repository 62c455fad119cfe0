//! What is set at one level of the file, and what it inherits, as nginx inherits.
//!
//! A directive that is given at a level replaces what the levels around it say, all of it, even
//! where several of a name add up (`proxy_set_header`). What acts at once (`return`, `proxy_pass`)
//! is not inherited.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::tree::Node;

/// The directives of one level by name, and the level around it.
#[derive(Debug, Default)]
pub(super) struct Level<'t> {
    own: BTreeMap<&'t str, Vec<&'t Node>>,
    around: Option<Rc<Level<'t>>>,
}

impl<'t> Level<'t> {
    pub(super) fn within(around: Option<&Rc<Level<'t>>>) -> Self {
        Self { own: BTreeMap::new(), around: around.cloned() }
    }

    pub(super) fn add(&mut self, node: &'t Node) {
        self.own.entry(node.name.as_str()).or_default().push(node);
    }

    /// The directives of this name that stand at this very level, in order.
    pub(super) fn own(&self, name: &str) -> &[&'t Node] {
        self.own.get(name).map_or(&[], Vec::as_slice)
    }

    /// The directives of this name that hold here: of this level, or of the nearest around it.
    pub(super) fn all(&self, name: &str) -> &[&'t Node] {
        let mut level = self;
        loop {
            if let Some(nodes) = level.own.get(name) {
                return nodes;
            }
            let Some(around) = &level.around else { return &[] };
            level = around;
        }
    }

    /// The directive of this name that holds here, when it is one that stands once.
    pub(super) fn one(&self, name: &str) -> Option<&'t Node> {
        self.all(name).first().copied()
    }
}

impl<'t> Level<'t> {
    /// The directives of some names of this level and of all around it, the outermost first.
    pub(super) fn piled(&self, names: &[&str]) -> Vec<&'t Node> {
        let mut nodes: Vec<&'t Node> =
            names.iter().flat_map(|name| self.own(name)).copied().collect();
        nodes.sort_by_key(|node| (node.place.file, node.place.span.start));
        let mut piled = self.around.as_ref().map_or_else(Vec::new, |around| around.piled(names));
        piled.extend(nodes);
        piled
    }

    /// The lists of addresses that hold here, `allow` and `deny` in their order.
    pub(super) fn access(&self) -> Vec<&'t Node> {
        let mut level = self;
        loop {
            let names = ["allow", "deny"].iter().flat_map(|name| level.own(name));
            let mut nodes: Vec<&'t Node> = names.copied().collect();
            if !nodes.is_empty() {
                nodes.sort_by_key(|node| (node.place.file, node.place.span.start));
                return nodes;
            }
            let Some(around) = &level.around else { return nodes };
            level = around;
        }
    }
}

//! The tree of directives, with every `include` followed.
//!
//! An included file is read where it is named, as nginx does: its statements join those around
//! it. The first mistake in a file ends that file, since nothing behind it has a sure meaning.
//! Invariant: depth, files, bytes, directives and words are bounded; a file that includes itself
//! is found.

use std::path::{Path, PathBuf};

use super::glob::{Listing, is_pattern, matching};
use super::lexer::{End, Lexer, Mistake, Word};
use crate::finding::{Finding, quote};
use crate::import::ledger::{DIRECTIVES_MAX, Ledger, cause, shown, unreadable};
use crate::import::{Files, Place};

/// Blocks within blocks, includes counted too, at most.
const DEPTH_MAX: usize = 64;

/// Words of all files together, at most.
const WORDS_MAX: usize = 1_000_000;

/// One directive with its block, if it has one.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) args: Vec<Word>,
    /// The name and the arguments; of data such as `types`, its block too.
    pub(super) place: Place,
    pub(super) block: Option<Vec<Node>>,
    /// Whether the block holds no directives but data, or Lua.
    pub(super) is_data: bool,
}

impl Node {
    /// The text of an argument, by its number from 0; empty when there is none.
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", |word| word.text.as_str())
    }

    /// The texts of all arguments.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(|word| word.text.as_str())
    }

    /// The directives in its block.
    pub(super) fn children(&self) -> &[Node] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Blocks whose content is not made of directives.
const DATA: &[&str] = &["types", "map", "geo", "split_clients", "charset_map", "match"];

/// Reads trees.
#[derive(Debug)]
pub(super) struct Reader<'f> {
    files: &'f dyn Files,
    ledger: &'f mut Ledger,
    folder: PathBuf,
    listing: Listing,
    /// The files being read, the outermost first.
    open: Vec<PathBuf>,
    words: usize,
    nodes: usize,
    depth: usize,
}

/// Reading cannot go on in this file.
struct Stop;

/// What may stand in a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Directives,
    Data,
}

impl<'f> Reader<'f> {
    pub(super) fn new(files: &'f dyn Files, ledger: &'f mut Ledger, path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self {
            files,
            ledger,
            folder,
            listing: Listing::default(),
            open: Vec::new(),
            words: 0,
            nodes: 0,
            depth: 0,
        }
    }

    /// The tree of the main file.
    pub(super) fn read(mut self, path: &Path) -> Vec<Node> {
        let file = self.ledger.read(path, self.files);
        let mut nodes = Vec::new();
        self.file(file, path, Content::Directives, &mut nodes);
        nodes
    }

    fn file(&mut self, file: usize, path: &Path, content: Content, nodes: &mut Vec<Node>) {
        let text = self.ledger.text(file).to_owned();
        self.open.push(path.to_owned());
        let mut lexer = Lexer::new(&text);
        // A mistake was reported where it was found, and ends this file only.
        self.block(file, &mut lexer, (content, false), nodes).unwrap_or(());
        self.open.pop();
    }

    /// Reads statements up to the `}` of the block they are in, or the end of the file.
    fn block(
        &mut self,
        file: usize,
        lexer: &mut Lexer<'_>,
        (content, is_inner): (Content, bool),
        nodes: &mut Vec<Node>,
    ) -> Result<(), Stop> {
        if self.depth >= DEPTH_MAX {
            let at = lexer.position();
            let message = format!("more than {DEPTH_MAX} blocks within each other");
            return Err(self.stop(file, Mistake { message, span: at..at }));
        }
        self.depth += 1;
        let result = self.statements(file, lexer, (content, is_inner), nodes);
        self.depth -= 1;
        result
    }

    fn statements(
        &mut self,
        file: usize,
        lexer: &mut Lexer<'_>,
        (content, is_inner): (Content, bool),
        nodes: &mut Vec<Node>,
    ) -> Result<(), Stop> {
        loop {
            let (words, end) = lexer.statement().map_err(|mistake| self.stop(file, mistake))?;
            let at = lexer.position();
            match end {
                End::File if is_inner => {
                    let message = "unexpected end of file, expecting \"}\"".to_owned();
                    return Err(self.stop(file, Mistake { message, span: at..at }));
                }
                End::Close if !is_inner => {
                    let message = "unexpected `}`".to_owned();
                    return Err(self.stop(file, Mistake { message, span: at - 1..at }));
                }
                End::File | End::Close => return Ok(()),
                End::Semicolon | End::Open => {}
            }
            self.words += words.len();
            self.nodes += 1;
            if self.words > WORDS_MAX || self.nodes > DIRECTIVES_MAX {
                let message =
                    format!("more than {DIRECTIVES_MAX} directives, or {WORDS_MAX} words");
                return Err(self.stop(file, Mistake { message, span: at..at }));
            }
            let Some(mut node) = node(file, words) else { continue };
            let result = match end {
                End::Open => self.open_block(file, lexer, &mut node, content),
                End::Semicolon | End::Close | End::File => Ok(()),
            };
            let include = (node.name == "include" && node.block.is_none()).then(|| node.clone());
            nodes.push(node);
            result?;
            if let Some(include) = include {
                self.include(&include, content, nodes);
            }
        }
    }

    fn open_block(
        &mut self,
        file: usize,
        lexer: &mut Lexer<'_>,
        node: &mut Node,
        content: Content,
    ) -> Result<(), Stop> {
        if content == Content::Data {
            let at = lexer.position();
            return Err(
                self.stop(file, Mistake { message: "unexpected `{`".to_owned(), span: at - 1..at })
            );
        }
        if node.name.ends_with("_by_lua_block") {
            node.is_data = true;
            node.block = Some(Vec::new());
            lexer.lua().map_err(|mistake| self.stop(file, mistake))?;
            node.place.span.end = lexer.position();
            return Ok(());
        }
        node.is_data = DATA.contains(&node.name.as_str());
        let content = if node.is_data { Content::Data } else { Content::Directives };
        let mut children = Vec::new();
        let result = self.block(file, lexer, (content, true), &mut children);
        node.block = Some(children);
        if node.is_data {
            node.place.span.end = lexer.position();
        }
        result
    }

    fn include(&mut self, include: &Node, content: Content, nodes: &mut Vec<Node>) {
        let name = include.arg(0);
        let path = self.folder.join(name);
        if !is_pattern(name) {
            self.include_file(include, &path, content, nodes);
            return;
        }
        match matching(&mut self.listing, self.files, &path) {
            Ok(paths) => {
                for path in paths {
                    self.include_file(include, &path, content, nodes);
                }
            }
            Err(error) => {
                let message = format!("cannot list {}: {}", shown(&path), cause(&error));
                self.ledger.finding(&include.place, unreadable(message));
            }
        }
    }

    fn include_file(
        &mut self,
        include: &Node,
        path: &Path,
        content: Content,
        nodes: &mut Vec<Node>,
    ) {
        if self.open.iter().any(|open| open == path) {
            self.problem(
                include,
                "include-cycle",
                format!("{} includes itself", shown(path)),
                "a circle",
            );
            return;
        }
        if self.depth >= DEPTH_MAX || self.nodes >= DIRECTIVES_MAX || self.ledger.is_full() {
            let message = format!("{} is one file too many", shown(path));
            self.problem(include, "too-large", message, "not read");
            return;
        }
        match self.files.read(path) {
            Ok(text) => {
                let file = self.ledger.add(path, text);
                let start = nodes.len();
                self.file(file, path, content, nodes);
                if content == Content::Data {
                    // Data in a file of its own stands for itself: one place, the whole file.
                    nodes.truncate(start);
                    let span = 0..self.ledger.text(file).len();
                    let name = "include".to_owned();
                    let place = Place { file, span };
                    nodes.push(Node { name, args: Vec::new(), place, block: None, is_data: true });
                }
            }
            Err(error) => {
                let message = format!("cannot read {}: {}", shown(path), cause(&error));
                self.ledger.finding(&include.place, unreadable(message));
            }
        }
    }

    fn problem(&mut self, include: &Node, rule: &'static str, message: String, label: &str) {
        let finding = Finding::error(rule, 0..0, message).label(label);
        self.ledger.finding(&include.place, finding);
    }

    fn stop(&mut self, file: usize, mistake: Mistake) -> Stop {
        let finding = Finding::error("syntax", 0..0, mistake.message)
            .label("nginx stops reading here")
            .help("mend this first: the rest of the file was not read");
        self.ledger.finding(&Place { file, span: mistake.span }, finding);
        Stop
    }
}

fn node(file: usize, words: Vec<Word>) -> Option<Node> {
    let start = words.first()?.span.start;
    let end = words.last()?.span.end;
    let mut words = words.into_iter();
    let name = words.next()?.text;
    let place = Place { file, span: start..end };
    Some(Node { name, args: words.collect(), place, block: None, is_data: false })
}

/// What nginx says of a name it does not know.
pub(super) fn unknown(name: &str) -> String {
    format!("unknown directive {}", quote(name))
}

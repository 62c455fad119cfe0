//! The drills inside the binary: files of the folder `drills`, in the order they are listed.

use std::path::PathBuf;

use settings::Source;

/// One drill inside the binary.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    /// One of the five outages that Tidegate was founded on.
    pub(crate) founding: bool,
    /// The file, with its comments.
    pub(crate) text: &'static str,
}

impl BuiltIn {
    /// The file as it is checked; nothing in it refers to a folder.
    pub(crate) fn source(&self) -> Source {
        Source {
            name: format!("{}.toml", self.name),
            text: self.text.to_owned(),
            folder: PathBuf::from("/"),
        }
    }
}

/// Names to drills, so that each is written down once.
macro_rules! built_in {
    (founding: $($first:literal),* ; others: $($other:literal),* $(,)?) => {
        &[$(built_in!(@one $first, true),)* $(built_in!(@one $other, false),)*]
    };
    (@one $name:literal, $founding:literal) => {
        BuiltIn {
            name: $name,
            founding: $founding,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../drills/", $name, ".toml")),
        }
    };
}

/// All of them, the founding outages first.
pub(crate) const BUILT_IN: &[BuiltIn] = built_in!(
    founding:
        "integration-flood",
        "uneven-distribution",
        "update-to-one-server",
        "update-and-spike",
        "database-surge";
    others:
        "kill-one",
        "rolling-restart",
        "slow-server",
        "fast-failing-server",
        "lying-health-check",
        "stale-configuration",
        "forced-uneven-distribution",
        "forced-update-to-one-server",
        "forced-update-and-spike",
        "retry-storm",
        "reconnect-herd",
        "hot-key",
        "capacity-cut",
);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_listed_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../drills");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort_unstable();
        let mut listed: Vec<&str> = BUILT_IN.iter().map(|drill| drill.name).collect();
        listed.sort_unstable();
        assert_eq!(listed, files);
        assert_eq!(BUILT_IN.iter().filter(|drill| drill.founding).count(), 5);
        assert!(BUILT_IN.iter().take(5).all(|drill| drill.founding), "they come first");
    }
}

//! From what the command line names to checked drills.

use std::path::Path;

use model::drill::Drill;
use settings::Source;

use super::RunArguments;
use super::built_in::{BUILT_IN, BuiltIn};
use crate::commands::chain;
use crate::output;

/// What stands for the founding outages.
const FIVE: &str = "five";

/// All drills that are to be played, in order, each once.
///
/// # Errors
/// In words: a name that is not known, a file that cannot be read, or all findings of a file.
pub(super) fn drills(arguments: &RunArguments) -> Result<Vec<Drill>, String> {
    let mut sources: Vec<Source> = Vec::new();
    let mut add = |source: Source| {
        if !sources.contains(&source) {
            sources.push(source);
        }
    };
    if arguments.all {
        BUILT_IN.iter().for_each(|drill| add(drill.source()));
    }
    for name in &arguments.drills {
        if name == FIVE {
            BUILT_IN.iter().filter(|drill| drill.founding).for_each(|drill| add(drill.source()));
        } else if is_path(name) {
            add(settings::read(Path::new(name)).map_err(|error| chain(&error))?);
        } else {
            add(built_in(name)?.source());
        }
    }
    let drills: Vec<Drill> = sources.iter().map(checked).collect::<Result<_, _>>()?;
    let name_of = |index: usize| drills.get(index).map(|drill| &drill.name);
    for (index, drill) in drills.iter().enumerate() {
        if (0..index).any(|before| name_of(before) == Some(&drill.name)) {
            return Err(format!(
                "two of the drills are called {}: rename one file, so that the report can tell them apart",
                drill.name
            ));
        }
    }
    Ok(drills)
}

/// A drill inside the binary, by name.
///
/// # Errors
/// When there is none of that name.
pub(super) fn built_in(name: &str) -> Result<&'static BuiltIn, String> {
    if let Some(found) = BUILT_IN.iter().find(|drill| drill.name == name) {
        return Ok(found);
    }
    let closest = BUILT_IN
        .iter()
        .map(|drill| (strsim::jaro_winkler(drill.name, name), drill.name))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let help = match closest {
        Some((likeness, closest)) if likeness > 0.8 => format!("did you mean `{closest}`?"),
        Some(_) | None => "`tidegate drill list` has all of them".to_owned(),
    };
    Err(format!("there is no drill {name:?}: {help}"))
}

/// The drill a file stands for.
///
/// # Errors
/// All its findings, with the lines they point at.
pub(super) fn checked(source: &Source) -> Result<Drill, String> {
    let checked = settings::check_drill(source);
    checked.drill.ok_or_else(|| {
        let findings =
            settings::render_text(&checked.findings, std::slice::from_ref(source), false);
        format!("{} cannot be played:\n{findings}", output::printable(&source.name))
    })
}

/// Files are told from names by how they look, not by whether they are there.
fn is_path(name: &str) -> bool {
    name.contains('/') || Path::new(name).extension().is_some_and(|extension| extension == "toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_names_are_told_apart() {
        for (text, expected) in
            [("kill-one", false), ("kill-one.toml", true), ("./kill-one", true), ("a/b.toml", true)]
        {
            assert_eq!(is_path(text), expected, "{text}");
        }
    }
}

//! Measures the importer on a folder of HAProxy configurations, beside what HAProxy says of them.
//!
//! `HAPROXY_CORPUS=FOLDER cargo test -p settings import_haproxy_corpus -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use settings::Severity;
use settings::import::{Dialect, Disk, Disposition, Imported};

fn configurations(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            configurations(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "cfg") {
            into.push(path);
        }
    }
    into.sort();
}

/// Whether HAProxy takes the file; `None` without HAProxy.
fn is_taken(path: &Path) -> Option<bool> {
    let output = Command::new("haproxy").arg("-c").arg("-f").arg(path).output().ok()?;
    Some(output.status.success())
}

fn is_parsed(imported: &Imported) -> bool {
    let syntax = ["syntax", "unknown-directive", "unreadable-file", "too-large"];
    !imported.findings.iter().any(|f| f.severity == Severity::Error && syntax.contains(&f.rule))
}

#[test]
#[ignore = "needs a folder of configurations"]
fn import_haproxy_corpus() {
    let folder = std::env::var_os("HAPROXY_CORPUS").expect("HAPROXY_CORPUS names a folder");
    let mut paths = Vec::new();
    configurations(Path::new(&folder), &mut paths);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for path in &paths {
        let imported = settings::import::import(Dialect::Haproxy, path, &Disk);
        crate::import_haproxy::is_covered(&imported);
        let mut count = |name| *counts.entry(name).or_default() += 1;
        count("files");
        match (is_parsed(&imported), is_taken(path)) {
            (true, Some(true)) => count("read by both"),
            (false, Some(false)) => count("refused by both"),
            (true, Some(false)) => count("read here, refused by HAProxy"),
            (false, Some(true)) => {
                count("refused here, read by HAProxy");
                println!("refused here only: {} {:?}", path.display(), imported.findings);
            }
            (_, None) => count("without HAProxy"),
        }
        for finding in settings::import::check_imported(&imported, &crate::environment()) {
            let is_ours = imported.findings.iter().any(|own| own.rule == finding.rule);
            let kind = if is_ours { "finding " } else { "native finding " };
            *reasons.entry(format!("{kind}{}", finding.rule)).or_default() += 1;
        }
        for directive in &imported.directives {
            count("directives");
            match &directive.disposition {
                Disposition::Mapped => count("mapped"),
                Disposition::Refused(reason) => {
                    count("refused");
                    *reasons.entry(format!("refused {}: {reason}", directive.name)).or_default() +=
                        1;
                }
                Disposition::Ignored(_) => count("ignored"),
            }
        }
    }
    for (name, count) in &counts {
        println!("{count:7} {name}");
    }
    let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (reason, count) in reasons.iter().take(120) {
        println!("{count:7} {reason}");
    }
    assert!(!paths.is_empty(), "no configuration in the folder");
}

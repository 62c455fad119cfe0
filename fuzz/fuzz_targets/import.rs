//! Any text as a configuration of nginx or HAProxy: never a panic, places inside the text that do
//! not overlap, and TOML that parses.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use settings::import::{Dialect, Memory, check_imported, import};

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Nginx, Dialect::Haproxy] {
        // The text includes itself under every name: includes are part of the input.
        let files = Memory::new([("/main", text), ("/other", text)]);
        let imported = import(dialect, Path::new("/main"), &files);
        for directive in &imported.directives {
            let source = &imported.sources[directive.file];
            assert!(source.text.get(directive.span.clone()).is_some(), "{directive:?}");
        }
        for pair in imported.directives.windows(2) {
            let apart = pair[0].file < pair[1].file || pair[0].span.end <= pair[1].span.start;
            assert!(apart, "two directives at one place: {pair:?}");
        }
        let environment = settings::Environment {
            open_files_max: 1_024,
            processors: 2,
            user_is_root: false,
            uid: 1_000,
            runtime_dir: None,
            state_directory: None,
            state_home: None,
            now_unix_s: 0,
        };
        let own = imported.findings.iter().filter(|found| found.rule == "syntax").count();
        let all = check_imported(&imported, &environment);
        let all = all.iter().filter(|found| found.rule == "syntax").count();
        assert_eq!(own, all, "the TOML does not parse:\n{}", imported.text);
    }
});

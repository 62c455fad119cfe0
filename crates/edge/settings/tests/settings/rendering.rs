//! Findings as people and machines see them.

use std::path::Path;

use settings::{Finding, Severity, Source};

use crate::{check, source};

fn text(text: &str, color: bool) -> String {
    settings::render_text(&check(text).findings, &[source(text, Path::new("/"))], color)
}

#[test]
fn as_rustc_does() {
    let rendered = text(
        "[listen.a]\naddress = \"127.0.0.1:80\"\n\n[listen.b]\naddress = \"127.0.0.1:80\"\n\n[routes.a]\nrespnd = {}\n",
        false,
    );
    let expected = "\
error[duplicate-address]: 127.0.0.1:80 is listened on twice
 --> tidegate.toml:5:11
  |
5 | address = \"127.0.0.1:80\"
  |           ^^^^^^^^^^^^^^ the same address again
  |
 ::: tidegate.toml:2:11
  |
2 | address = \"127.0.0.1:80\"
  |           -------------- first used by `a`
  |
  = help: give each listener its own address or port

error[route-action]: route `a` does nothing
 --> tidegate.toml:7:1
  |
7 | [routes.a]
  | ^^^^^^^^^^ 0 of `pool`, `redirect` and `respond`
  |
  = help: give exactly one of `pool`, `redirect` and `respond`

error[unknown-key]: unknown key `respnd` in `a`
 --> tidegate.toml:8:1
  |
8 | respnd = {}
  | ^^^^^^ not known here
  |
  = help: did you mean `respond`?
";
    assert_eq!(rendered, expected);
}

#[test]
fn as_json() {
    let text = "[listen.a]\naddress = \"127.0.0.1:80\"\n[routes.a]\nrespond = { statsu = 1 }\n";
    let json = settings::render_json(&check(text).findings, &[source(text, Path::new("/"))]);
    let expected = serde_json::json!([{
        "rule": "unknown-key",
        "severity": "error",
        "message": "unknown key `statsu` in `respond`",
        "file": "tidegate.toml",
        "line": 4,
        "column": 13,
        "start": 59,
        "end": 65,
        "label": "not known here",
        "help": "did you mean `status`?",
        "related": null,
    }]);
    assert_eq!(json, expected);
}

/// Findings of two files, the second with a name that every format has to escape.
fn two_files() -> (Vec<Finding>, [Source; 2]) {
    let first = "[listen.a]\naddress = \"127.0.0.1:80\"\n[listen.b]\naddress = \"127.0.0.1:80\"\n";
    let second = "[listen.ü]\n  \"<&>\" = 1\n";
    let sources = [first, second].map(|text| source(text, Path::new("/")));
    let mut findings = check(first).findings;
    findings.retain(|finding| finding.rule == "duplicate-address");
    let others = check(second).findings.into_iter().filter(|finding| finding.rule == "unknown-key");
    findings.extend(others.map(|finding| Finding { file: 1, help: None, ..finding }));
    let [first, second] = sources;
    (findings, [first, Source { name: "./a b,c:d%.toml".to_owned(), ..second }])
}

#[test]
fn several_files() {
    let (findings, sources) = two_files();
    let rendered = settings::render_text(&findings, &sources, false);
    assert!(rendered.contains("--> tidegate.toml:4:11"), "{rendered}");
    assert!(rendered.contains("--> ./a b,c:d%.toml:2:3"), "{rendered}");
    let json = settings::render_json(&findings, &sources);
    assert_eq!(json[0]["file"], "tidegate.toml");
    assert_eq!(json[1]["file"], "./a b,c:d%.toml");
}

#[test]
fn as_annotations() {
    let (findings, sources) = two_files();
    let expected = "\
::error file=tidegate.toml,line=4,col=11,title=duplicate-address::127.0.0.1:80 is listened on twice%0Agive each listener its own address or port
::error file=./a b%2Cc%3Ad%25.toml,line=2,col=3,title=unknown-key::unknown key `<&>` in `ü`
";
    assert_eq!(settings::render_github(&findings, &sources), expected);
}

#[test]
fn as_junit() {
    let (findings, [first, second]) = two_files();
    let findings =
        vec![findings[0].clone(), Finding { severity: Severity::Warning, ..findings[1].clone() }];
    let empty = Source { name: "empty.toml".to_owned(), ..first.clone() };
    let expected = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"tidegate check\" tests=\"3\" failures=\"1\" errors=\"0\">
  <testsuite name=\"tidegate.toml\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\">
    <testcase name=\"duplicate-address at 4:11: 127.0.0.1:80 is listened on twice\" classname=\"tidegate.toml\" file=\"tidegate.toml\" line=\"4\">
      <failure type=\"duplicate-address\" message=\"127.0.0.1:80 is listened on twice\">tidegate.toml:4:11: error
127.0.0.1:80 is listened on twice
give each listener its own address or port</failure>
    </testcase>
  </testsuite>
  <testsuite name=\"./a b,c:d%.toml\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\">
    <testcase name=\"unknown-key at 2:3: unknown key `&lt;&amp;&gt;` in `ü`\" classname=\"./a b,c:d%.toml\" file=\"./a b,c:d%.toml\" line=\"2\">
      <system-out>./a b,c:d%.toml:2:3: warning
unknown key `&lt;&amp;&gt;` in `ü`</system-out>
    </testcase>
  </testsuite>
  <testsuite name=\"empty.toml\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\">
    <testcase name=\"no findings\" classname=\"empty.toml\" file=\"empty.toml\"/>
  </testsuite>
</testsuites>
";
    assert_eq!(settings::render_junit(&findings, &[first, second, empty]), expected);
}

#[test]
fn as_sarif() {
    let (findings, sources) = two_files();
    let document = settings::render_sarif(&findings, &sources);
    // The types are generated from the published schema; what they do not know they lose.
    let parsed: serde_sarif::sarif::Sarif = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(&parsed).unwrap(), document);

    let run = &document["runs"][0];
    let region = |location: &serde_json::Value| {
        let place = &location["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap().to_owned();
        let number = |name: &str| place["region"][name].as_u64().unwrap();
        let [line, column, end] = ["startLine", "startColumn", "endColumn"].map(number);
        assert_eq!(number("endLine"), line);
        format!("{uri}:{line}:{column}-{end}")
    };
    let results = run["results"].as_array().unwrap();
    assert_eq!(region(&results[0]["locations"][0]), "tidegate.toml:4:11-25");
    assert_eq!(region(&results[0]["relatedLocations"][0]), "tidegate.toml:2:11-25");
    assert_eq!(region(&results[1]["locations"][0]), "a%20b%2Cc%3Ad%25.toml:2:3-8");
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    }
    for (rule, described) in
        settings::rules::rules().iter().zip(run["tool"]["driver"]["rules"].as_array().unwrap())
    {
        assert_eq!(described["id"], rule.name);
        assert_eq!(described["fullDescription"]["text"], rule.rationale);
        assert_eq!(described["defaultConfiguration"]["level"], rule.severity.as_str());
    }
}

#[test]
fn nothing_of_the_text_reaches_the_terminal_raw() {
    let hostile = "\u{1b}[31m\u{9b}32m\u{202e}\u{7f}\u{8}\r";
    for text in [
        format!("[door]\nworkers = '{hostile}'\n"),
        format!("# {hostile}\n[door] x{hostile}\n"),
        format!("[\"{hostile}\"]\n"),
        format!("[routes.a]\nhost = '''{hostile}'''\npool = \"\\u001b[31m\"\n"),
        format!("{hostile}\n"),
    ] {
        let checked = check(&text);
        assert!(!checked.findings.is_empty());
        let sources = [source(&text, Path::new("/"))];
        let plain = settings::render_text(&checked.findings, &sources, false);
        for rendered in [
            plain,
            settings::render_json(&checked.findings, &sources).to_string(),
            settings::render_sarif(&checked.findings, &sources).to_string(),
            settings::render_junit(&checked.findings, &sources),
            settings::render_github(&checked.findings, &sources),
        ] {
            for character in rendered.chars() {
                let is_safe = character == '\n'
                    || !(character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character));
                assert!(is_safe, "{character:?} in {rendered:?}");
            }
        }
    }
}

#[test]
fn colors_are_asked_for() {
    assert!(!text("x = 1", false).contains('\u{1b}'));
    assert!(text("x = 1", true).contains('\u{1b}'));
}

#[test]
fn a_long_line_is_cut_around_the_finding() {
    let long = format!("# {}\nx = [{}]\n", "x".repeat(10_000), "1, ".repeat(3_000));
    let rendered = text(&format!("{}y = 1 # {}\n", long, "z".repeat(10_000)), false);
    assert!(rendered.contains("--> tidegate.toml:3:1"), "{rendered}");
    assert!(rendered.len() < 4_000, "{}", rendered.len());
    let far = format!("door = {{ {}workers = 0 }}\n", " ".repeat(5_000));
    let rendered = text(&far, false);
    assert!(rendered.contains("--> tidegate.toml:1:5020"), "{rendered}");
}

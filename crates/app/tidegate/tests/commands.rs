//! The real binary: exit codes, what goes to stdout, and the demo from start to end.

use std::process::{Command, Output};

fn tidegate(arguments: &[&str]) -> Output {
    match Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output() {
        Ok(output) => output,
        Err(error) => panic!("the binary does not start: {error}"),
    }
}

/// Runs a command; `stdout` and `stderr` are parts of what it prints there.
fn check(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = tidegate(arguments);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out} {err}");
    assert!(out.contains(stdout), "{arguments:?}: {out}");
    assert!(err.contains(stderr), "{arguments:?}: {err}");
    assert!(
        !out.contains('\u{1b}') && !err.contains('\u{1b}'),
        "no colours in a pipe: {arguments:?}"
    );
}

#[test]
fn exit_codes_and_streams() {
    check(&["--version"], 0, "tidegate ", "");
    check(&["--help"], 0, "Exit codes", "");
    check(&["no-such-command"], 2, "", "unrecognized subcommand");
    check(&["--log", "a=b=c", "schema"], 2, "", "--log");
    check(&["schema"], 0, "\"properties\"", "");
    check(&["completions", "bash"], 0, "_tidegate", "");
    check(&["man"], 0, ".TH tidegate 1", "");
    check(&["check", "/nonexistent/tidegate.toml"], 2, "", "cannot read");
    check(&["run", "--config", "/nonexistent/tidegate.toml"], 2, "", "cannot read");
    check(
        &["status", "--socket", "/nonexistent/admin.sock"],
        1,
        "",
        "no door answers on /nonexistent/admin.sock",
    );
    check(&["reload", "--socket", "/nonexistent/admin.sock"], 1, "", "no door answers");
    check(&["sample-app", "--concurrency", "0"], 2, "", "concurrency must be 1 to 10000");
    check(&["demo", "--for", "0"], 2, "", "--for");
}

#[test]
fn findings_are_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, "[listen.web]\naddres = \"127.0.0.1:0\"\n").unwrap();
    let file = file.to_str().unwrap();
    check(&["check", file], 1, "did you mean `address`", "");
    check(&["check", "--json", file], 1, "\"unknown-key\"", "");
    check(&["run", "--config", file], 2, "", "addres");
}

#[test]
fn a_demo_fails_no_request_and_ends_by_itself() {
    let output = tidegate(&["demo", "--plain", "--for", "2"]);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out} {err}");
    assert!(out.contains("tidegate demo on http://127.0.0.1:"), "{out}");
    let summary = out.lines().find(|line| line.contains(" requests, ")).unwrap_or_default();
    assert!(summary.starts_with("2 s, ") && summary.contains(", 0 failed, "), "{out}");
    for server in ["  a ", "  b ", "  c "] {
        assert!(
            out.lines().any(|line| line.starts_with(server)),
            "{server} answered nothing: {out}"
        );
    }
}

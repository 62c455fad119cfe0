//! `compress` of a route.

use model::configuration::{Coding, Compression};

use crate::{check, lines};

fn read(value: &str) -> Result<Option<Compression>, Vec<String>> {
    let text = format!(
        "[listen.a]\naddress = '127.0.0.1:1'\n[routes.a]\nrespond = {{}}\ncompress = {value}\n"
    );
    let checked = check(&text);
    match &checked.configuration {
        Some(configuration) => Ok(configuration.routes[0].treatment.compression.clone()),
        None => Err(lines(&checked)),
    }
}

#[test]
fn true_stands_for_the_defaults() {
    let defaults = read("true").unwrap().expect("it is on");
    assert_eq!(defaults.codings, [Coding::Zstd, Coding::Brotli, Coding::Gzip]);
    assert_eq!((defaults.level, defaults.bytes_min), (4, 1024));
    assert!(defaults.types.iter().any(|kind| &**kind == "application/json"));
    assert_eq!(read("{}").unwrap(), Some(defaults));
    assert_eq!(read("false").unwrap(), None);
}

#[test]
fn a_table_says_otherwise() {
    let value = "{ codings = ['gzip', 'br', 'gzip'], level = 9, min = '2KiB', types = ['Text/*', 'a/b+c'] }";
    let read = read(value).unwrap().expect("it is on");
    assert_eq!(read.codings, [Coding::Gzip, Coding::Brotli]);
    assert_eq!((read.level, read.bytes_min), (9, 2048));
    assert_eq!(read.types.iter().map(|kind| &**kind).collect::<Vec<_>>(), ["text/*", "a/b+c"]);
}

#[track_caller]
fn refused(value: &str, expected: &str) {
    let lines = read(value).expect_err(value);
    assert!(lines.len() == 1 && lines[0].contains(expected), "{value}: {lines:#?}");
}

#[test]
fn mistakes_are_told() {
    refused("3", "error[wrong-type]");
    refused("{ codings = [] }", "`compress = false`");
    refused("{ codings = ['gzip', 'deflate'] }", "deflate");
    refused("{ level = 10 }", "error[out-of-range]");
    refused("{ types = ['*/*'] }", "pictures and videos only cost time");
    refused("{ types = ['text'] }", "`text`");
    refused("{ types = ['text/html; charset=utf-8'] }", "leave out the parameters");
    refused("{ types = ['application/grpc'] }", "by gRPC itself");
    refused("{ types = ['a/x*'] }", "all that follows the slash");
}

//! A request is attempted at most twice: the call graph of `attempt` has two calls, in `serve`, one for requests that are only
//! observed, and no way round them. Within
//! an attempt it is written to a connection once, and once more on another one if Graph did not process it.

use std::collections::BTreeMap;

use super::{code_without_comments, loop_lines, source_files};

/// Each step on the way from the listener to the connection, and the functions that take it.
const CALLS: [(&str, &[&str]); 8] = [
    (".handle(", &["src/proxy.rs: service"]),
    (".serve(", &["src/proxy.rs: handle"]),
    (
        "attempt",
        &["src/proxy.rs: serve", "src/proxy.rs: serve", "src/proxy.rs: observe"],
    ),
    ("forward(authorization", &["src/proxy/attempt.rs: attempt"]),
    ("send_again(", &["src/proxy/forward.rs: forward"]),
    (
        "lease.send(",
        &["src/proxy/forward.rs: forward", "src/proxy/forward.rs: send_again"],
    ),
    (".try_send_request(", &["src/upstream/http1.rs: send"]),
    (".send_request(", &["src/upstream/http2.rs: start"]),
];
/// The files that may not repeat anything. Elsewhere it is the functions of [`CALLS`] that may not.
const PATH: [&str; 2] = ["src/proxy.rs", "src/proxy/attempt.rs"];
const FORWARD: &str = "src/proxy/forward.rs";

#[test]
fn there_is_no_third_attempt() {
    let faults = faults(&proxy_files());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_third_attempt_would_be_noticed() {
    let with = |path: &str, old: &str, new: &str| {
        let mut files = proxy_files();
        let text = files.get_mut(path).unwrap();
        assert!(text.contains(old), "{path} lacks {old}");
        *text = text.replacen(old, new, 1);
        faults(&files)
    };
    let second = "        let second = attempt(";
    let call = "attempt(&authorization, &outbound, body, record).await?;";
    for (path, old, new) in [
        // A third call, in the path and elsewhere.
        (PATH[0], second, format!("        let more = {call}\n{second}")),
        (
            PATH[0],
            "// === impl Proxy ===",
            format!("async fn more() {{\n    let more = {call}\n}}\n\n// === impl Proxy ==="),
        ),
        (
            "src/proxy/credential.rs",
            "pub(crate) enum Admission",
            format!("fn f() {{ {call} }}\npub(crate) enum Admission"),
        ),
        // Recursion, of `attempt` and of what calls it.
        (
            PATH[1],
            "    metrics.count_attempt(which);",
            format!("    let more = {call}\n    metrics.count_attempt(which);"),
        ),
        (
            PATH[0],
            second,
            format!("        self.serve(request, connection, record).await?;\n{second}"),
        ),
        // The function as a value, a second request of one attempt, a repeated call.
        (PATH[0], second, format!("        let again = attempt;\n{second}")),
        (
            PATH[1],
            "    metrics.count_attempt(which);",
            "    forward(authorization, outbound, body).await?;\n    metrics.count_attempt(which);".to_owned(),
        ),
        (PATH[0], second, format!("        let again = async || {{}};\n{second}")),
        (PATH[0], second, format!("        while true {{}}\n{second}")),
        (PATH[0], second, format!("        let again = || attempt;\n{second}")),
        // A third time on a connection, and a loop around what writes to one.
        (
            FORWARD,
            "    log_failure(&error);\n    let",
            "    log_failure(&error);\n    lease.send(request).await;\n    let".to_owned(),
        ),
        (
            FORWARD,
            "    let held = body.held_bytes();",
            "    let held = loop {};".to_owned(),
        ),
        (
            PATH[0],
            second,
            "        let second = calls.map(|_| attempt(".to_owned(),
        ),
    ] {
        assert!(!with(path, old, &new).is_empty(), "{path}: {new}");
    }
    let renamed = with(PATH[0], second, "        let again = attempt(");
    assert!(renamed.is_empty(), "{renamed:#?}");
}

/// What is wrong with these files of the proxy.
fn faults(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let functions: Vec<_> = files.iter().flat_map(|(path, text)| functions(path, text)).collect();
    for (callee, allowed) in CALLS {
        let calls = functions.iter().flat_map(|(name, lines)| {
            // A chain of calls may go over several lines.
            let code: String = lines
                .iter()
                .map(|line| line.trim())
                .collect::<Vec<_>>()
                .join(" ")
                .replace(" .", ".");
            std::iter::repeat_n(name.as_str(), mentions(&code, callee))
        });
        let calls: Vec<_> = calls.collect();
        if calls != allowed {
            faults.push(format!("{callee} is called by {calls:?} and not by {allowed:?}"));
        }
    }
    for (name, lines) in &functions {
        let calls = lines.iter().filter(|line| mentions(line, "attempt") > 0);
        for call in calls.filter(|call| !call.trim().starts_with("let ") || call.contains('|')) {
            faults.push(format!("{name}: {call} is not a statement of its own"));
        }
        if name == "src/proxy.rs: serve" && lines.iter().any(|line| mentions(line, "async") > 0) {
            faults.push(format!("{name} has an async closure or block"));
        }
    }
    faults.extend(PATH.iter().flat_map(|path| loop_lines(&files[*path])));
    let on_the_way: Vec<_> = CALLS.iter().flat_map(|(_, callers)| *callers).collect();
    let chain = functions
        .iter()
        .filter(|(name, _)| on_the_way.contains(&&name.as_str()));
    faults.extend(chain.flat_map(|(_, lines)| loop_lines(&lines.join("\n"))));
    faults
}

/// Each function, as `path: name`, with the lines from its signature on, without strings and imports.
fn functions(path: &str, text: &str) -> Vec<(String, Vec<String>)> {
    let mut functions = vec![(format!("{path}: outside"), Vec::new())];
    for line in code_without_comments(text).lines() {
        let start = line.trim_start();
        if ["use ", "pub use ", "mod ", "pub mod "]
            .iter()
            .any(|word| start.starts_with(word))
        {
            continue;
        }
        let line: String = line.split('"').step_by(2).collect();
        match line.split_once("fn ") {
            Some((before, signature)) if before.is_empty() || before.ends_with([' ', ')']) => {
                let name: String = signature.chars().take_while(|letter| is_word(*letter)).collect();
                let body = signature.get(name.len()..).unwrap_or_default().to_owned();
                functions.push((format!("{path}: {name}"), vec![body]));
            }
            _ => functions.last_mut().unwrap().1.push(line),
        }
    }
    functions
}

/// How often some code has this text, where a name is not part of a longer one.
fn mentions(code: &str, text: &str) -> usize {
    let is_name = text.chars().all(is_word);
    let found = code.match_indices(text).filter(|(at, _)| {
        let before = code.get(..*at).and_then(|before| before.chars().next_back());
        let after = code.get(at + text.len()..).and_then(|after| after.chars().next());
        !is_name || !(before.is_some_and(is_word) || after.is_some_and(is_word))
    });
    found.count()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn proxy_files() -> BTreeMap<String, String> {
    let files = source_files().into_iter();
    files
        .filter(|(path, _)| path.starts_with("src/proxy") || path.starts_with("src/upstream"))
        .collect()
}

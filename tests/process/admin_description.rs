//! The answers of the admin listener beside its description, `openapi.json`.
//!
//! # Why
//!
//! Each answer that a test gets is compared: schemathesis makes up requests, of which hardly one succeeds in changing something.
//! The crates that validate JSON Schema need other versions of what is linked in. The description uses few of its words; another
//! one fails here, so that none is passed over.

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use fake_graph::{CodeRequest, TokenChange};
use serde_json::{Value, json};

use crate::admin_changes::{LOCAL, document, send};
use crate::support::{Graph, Sidecar, replace_file, together};
use crate::tenants_from::support::{config, wait_until_started};

static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../src/admin/openapi.json")).unwrap());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_that_is_described_succeeds_with_the_answer_that_is_described() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("tokens")).unwrap();
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    let more = "[tenants.mine]\nsource = { file = \"token\" }\n[state]\ndir = \"state\"\n";
    let config = config(&graph, dir.path(), "file = \"tokens/{tenant}\"") + more;
    let sidecar = Sidecar::start(dir.path(), &config).await;
    wait_until_started(&sidecar).await;
    graph.sim.set_phone_numbers("206", &["106"]);
    let code = graph.sim.issue_code(CodeRequest {
        token: TokenChange {
            target_ids: Some(vec!["206".to_owned()]),
            ..TokenChange::default()
        },
        ..CodeRequest::default()
    });
    let token = || graph.sim.issue(None);
    let changes = [
        ("PUT /admin/token", "?tenant=mine", document(&token())),
        ("POST /admin/rollback", "?tenant=mine", String::new()),
        ("POST /admin/refresh-token", "", String::new()),
        (
            "POST /admin/signup",
            "",
            json!({ "code": code, "tenant": "acme" }).to_string(),
        ),
        (
            "PUT /admin/tenants/{tenant}",
            "",
            json!({ "accessToken": token() }).to_string(),
        ),
        ("DELETE /admin/tenants/{tenant}", "", String::new()),
    ];
    let looks = operations()
        .into_iter()
        .filter(|operation| operation.starts_with("GET "));
    let looks: Vec<_> = looks.collect();
    let looks = looks.iter().map(|look| (look.as_str(), "", String::new()));
    let mut succeeded = BTreeSet::new();
    for (operation, query, body) in changes.into_iter().chain(looks) {
        let request = operation.replace("{tenant}", "shop") + query;
        let answer = send(sidecar.admin, &request, LOCAL, &body);
        assert_eq!(answer.status, 200, "{request}: {}", answer.text);
        succeeded.insert(operation.to_owned());
    }
    assert_eq!(succeeded, operations());
}

/// The method and the path of each request that is described.
fn operations() -> BTreeSet<String> {
    let paths = DESCRIPTION["paths"].as_object().unwrap().iter();
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        methods.map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    };
    paths.flat_map(of_path).collect()
}

/// Fails unless the description has such an answer to a request. What it does not describe is not compared: the page, a path
/// that does not exist, a method that a path does not take.
#[track_caller]
pub(crate) fn assert_described(request: &str, status: u16, content_type: &str, body: &str) {
    let (method, target) = request.split_once(' ').unwrap();
    let path = target.split('?').next().unwrap_or_default();
    let path = if path.starts_with("/admin/tenants/") {
        "/admin/tenants/{tenant}"
    } else {
        path
    };
    let Some(operation) = DESCRIPTION["paths"][path].get(method.to_lowercase()) else {
        return;
    };
    let response = resolve(&operation["responses"][status.to_string()]);
    let content = content_type.split(';').next().unwrap_or_default();
    let schema = response["content"][content].get("schema");
    let schema = schema.unwrap_or_else(|| panic!("{request}: {status} {content:?} is not described: {body}"));
    let value = match content {
        "application/json" => serde_json::from_str(body).unwrap(),
        _ => Value::from(body),
    };
    if let Err(reason) = check(schema, &value, "body") {
        panic!("{request}: {status}: {reason}: {body}");
    }
}

fn resolve(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => DESCRIPTION.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Compares a value with a schema; returns where the two differ.
fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (word, argument) in schema.as_object().unwrap() {
        let is_kept = match word.as_str() {
            "$ref" => return check(resolve(schema), value, at),
            "description" => true,
            "type" => one_or_more(argument).any(|kind| has_type(value, kind)),
            "enum" => argument.as_array().unwrap().contains(value),
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= argument.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 <= argument.as_u64().unwrap()),
            "minimum" => value.as_i64().is_none_or(|number| number >= argument.as_i64().unwrap()),
            "format" => value
                .as_str()
                .is_none_or(|text| argument == "date-time" && is_time(text)),
            "required" => {
                let mut names = argument.as_array().unwrap().iter().filter_map(Value::as_str);
                value.is_null() || names.all(|name| value.get(name).is_some())
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(argument, item, &format!("{at}/{index}"))?;
                }
                true
            }
            "properties" => {
                for (name, property) in argument.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(property, value, &format!("{at}/{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let fields = value.as_object().into_iter().flatten();
                for (name, value) in fields.filter(|(name, _)| schema["properties"].get(name).is_none()) {
                    if argument == false {
                        return Err(format!("{at}/{name} is not described"));
                    }
                    check(argument, value, &format!("{at}/{name}"))?;
                }
                true
            }
            _ => panic!("{word} is a word of JSON Schema that is not compared"),
        };
        if !is_kept {
            return Err(format!("{at} is not as {word} has it"));
        }
    }
    Ok(())
}

fn one_or_more(value: &Value) -> impl Iterator<Item = &str> {
    let many = value.as_array().map_or(&[][..], Vec::as_slice);
    many.iter().chain(std::iter::once(value)).filter_map(Value::as_str)
}

fn has_type(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => panic!("{kind} is no type"),
    }
}

/// Returns whether a text is a time as RFC 3339 has it, in UTC.
fn is_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|it| if it.is_ascii_digit() { '0' } else { it })
        .collect();
    shape.split('.').next() == Some("0000-00-00T00:00:00") || shape == "0000-00-00T00:00:00Z"
}

#[test]
fn an_answer_that_differs_from_the_description_is_found() {
    let check = |schema, text: &str| {
        let value = serde_json::from_str(text).unwrap();
        check(&DESCRIPTION["components"]["schemas"][schema], &value, "body").is_ok()
    };
    for (schema, text, is_described) in [
        ("RemovedTenant", r#"{"tenant": "acme", "removed_from": "x"}"#, true),
        (
            "RemovedTenant",
            r#"{"tenant": "acme", "removed_from": "x", "token": "x"}"#,
            false,
        ),
        ("RemovedTenant", r#"{"tenant": "acme"}"#, false),
        ("RemovedTenant", r#"{"tenant": 7, "removed_from": "x"}"#, false),
        ("RemovedTenant", r#"[]"#, false),
        ("Error", r#"{"error": {"message": "x", "code": 1}}"#, false),
        (
            "ReadFailure",
            r#"{"error": "x", "since": "2026-01-02T03:04:05Z"}"#,
            true,
        ),
        ("ReadFailure", r#"{"error": "x", "since": "yesterday"}"#, false),
        ("State", r#""dead""#, true),
        ("State", r#""alive""#, false),
        ("LastHour", r#"{"requests": [], "healed": [], "refused": []}"#, false),
        ("CallCounts", r#"{"calls": 1, "would": {"heal": 0}}"#, false),
    ] {
        assert_eq!(check(schema, text), is_described, "{schema}: {text}");
    }
}

//! `POST /`: up to fifty calls in one. The outer answer is a 200, whatever became of the items.

use http::Method;
use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use super::failure::Failure;
use super::router;
use super::state::State;

/// Runs the items, one after the other.
pub(super) fn run(state: &State, call: &Call) -> Result<Reply, Failure> {
    let Some(batch) = call.value("batch") else {
        return Err(Failure::unsupported(&call.method, ""));
    };
    let Value::Array(items) = batch else {
        return Err(refused("Batch parameter must be a JSON array"));
    };
    if items.is_empty() || items.len() > MOST {
        return Err(refused(
            "Too many requests in batch message. Maximum batch size is 50",
        ));
    }
    let headers = call.text("include_headers").as_deref() != Some("false");
    let answers: Vec<_> = items
        .iter()
        .map(|item| {
            let (code, fields, body) = one(state, call, item).item(call.version);
            if headers {
                json!({"code": code, "headers": fields, "body": body})
            } else {
                json!({"code": code, "body": body})
            }
        })
        .collect();
    Ok(Reply::json(&answers))
}

/// The most items a batch may have.
const MOST: usize = 50;

fn one(state: &State, call: &Call, item: &Value) -> Reply {
    let Some(inner) = read(call, item) else {
        return Reply::failure(&refused("Each batch item needs a relative_url"));
    };
    if inner.path.is_empty() {
        return Reply::failure(&refused("A batch cannot be in a batch"));
    }
    router::dispatch(state, &inner)
}

/// The items of a call as calls, as far as they are ones.
pub(super) fn items(call: &Call) -> Vec<Call> {
    let batch = call.value("batch").unwrap_or_default();
    let items = batch.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map_while(|item| read(call, item)).collect()
}

fn read(call: &Call, item: &Value) -> Option<Call> {
    let text = |name| item.get(name).and_then(Value::as_str);
    let method = text("method").unwrap_or("GET").to_ascii_uppercase();
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
    let url = text("relative_url")?;
    let url = url
        .strip_prefix("https://graph.facebook.com")
        .unwrap_or(url);
    Some(call.item(method, url, text("body").unwrap_or_default()))
}

fn refused(message: &str) -> Failure {
    Failure::new(100, message).kind("GraphBatchException")
}

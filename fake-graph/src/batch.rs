//! `POST /`: up to fifty calls in one. The outer answer is a 200 even if items fail.

use http::Method;
use serde_json::{Value, json};

use crate::call::Call;
use crate::failure::GraphFailure;
use crate::reply::Reply;

/// Runs the items, one after the other, each by `dispatch`.
pub(crate) fn execute(call: &Call, dispatch: impl Fn(&Call) -> Reply) -> Result<Reply, GraphFailure> {
    let Some(batch) = call.value("batch") else {
        return Err(GraphFailure::unsupported_request(&call.method, ""));
    };
    let Value::Array(items) = batch else {
        return Err(batch_error("Batch parameter must be a JSON array"));
    };
    if items.is_empty() || items.len() > MAX_BATCH_ITEMS {
        return Err(batch_error(
            "Too many requests in batch message. Maximum batch size is 50",
        ));
    }
    let headers = call.text("include_headers").as_deref() != Some("false");
    let answers: Vec<_> = items
        .iter()
        .map(|item| {
            let (code, fields, body) = run_item(call, item, &dispatch).to_batch_item(call.version);
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
const MAX_BATCH_ITEMS: usize = 50;

fn run_item(call: &Call, item: &Value, dispatch: impl Fn(&Call) -> Reply) -> Reply {
    let Some(inner) = parse_item(call, item) else {
        return Reply::failure(&batch_error("Each batch item needs a relative_url"));
    };
    if inner.path.is_empty() {
        return Reply::failure(&batch_error("A batch cannot be in a batch"));
    }
    dispatch(&inner)
}

/// The items of a call as calls, up to the first that is malformed.
pub(crate) fn parse_items(call: &Call) -> Vec<Call> {
    let batch = call.value("batch").unwrap_or_default();
    let items = batch.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map_while(|item| parse_item(call, item)).collect()
}

fn parse_item(call: &Call, item: &Value) -> Option<Call> {
    let text = |name| item.get(name).and_then(Value::as_str);
    let method = text("method").unwrap_or("GET").to_ascii_uppercase();
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
    let url = text("relative_url")?;
    let url = url.strip_prefix("https://graph.facebook.com").unwrap_or(url);
    Some(call.batch_item(method, url, text("body").unwrap_or_default()))
}

fn batch_error(message: &str) -> GraphFailure {
    GraphFailure::new(100, message).with_type("GraphBatchException")
}

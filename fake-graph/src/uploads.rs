//! Resumable uploads: a session whose id is a path with a colon and a signature in its own query.
//!
//! Path and query are compared byte for byte. A client that encodes the colon or the padding, or adds a parameter,
//! breaks the signature.

use serde_json::{Value, json};

use crate::access;
use crate::call::Call;
use crate::failure::GraphFailure;
use crate::random;
use crate::reply::Reply;
use crate::state::{State, lock};
use crate::stored::UploadSession;

/// `POST /{app-id}/uploads`
pub(crate) fn create_session(state: &State, call: &Call, token: &str, id: &str) -> Result<Reply, GraphFailure> {
    if id != state.config.app_id {
        return Err(GraphFailure::unsupported_request(&call.method, id));
    }
    call.required("file_type")?;
    let length = call.required("file_length")?;
    let length = length
        .parse()
        .map_err(|_number| GraphFailure::new(100, "(#100) Param file_length must be an integer"))?;
    let name = format!("upload:{}==", random::alphanumeric(86));
    let sig = random::hash();
    let reply = Reply::json(&json!({"id": format!("{name}?sig={sig}")}));
    let session = UploadSession {
        signature: sig,
        length,
        offset: 0,
    };
    access::claim(state, token, id, &name);
    lock(&state.uploads).insert(name, session);
    Ok(reply)
}

/// `/upload:…?sig=…`: POST appends, GET returns the offset.
pub(crate) fn resume(state: &State, call: &Call) -> Result<Reply, GraphFailure> {
    let name = call.raw_path.trim_start_matches('/');
    let name = match call.version {
        Some(_) => name.split_once('/').map_or(name, |(_, name)| name),
        None => name,
    };
    let unsupported = || GraphFailure::unsupported_request(&call.method, name);
    let mut sessions = lock(&state.uploads);
    let session = sessions
        .get_mut(name)
        .filter(|session| call.raw_query == format!("sig={}", session.signature))
        .ok_or_else(unsupported)?;
    match call.method.as_str() {
        "GET" => Ok(Reply::json(&to_json(session, name))),
        "POST" => {
            let offset = call.header("file_offset");
            let offset = offset.ok_or_else(|| GraphFailure::missing_parameter("file_offset"))?;
            let size = call.file.as_ref().map_or(0, |file| file.size);
            if offset != session.offset.to_string() || session.offset + size > session.length {
                return Err(GraphFailure::new(
                    100,
                    "(#100) Invalid parameter: file_offset does not match the upload session",
                ));
            }
            session.offset += size;
            if session.offset < session.length {
                return Ok(Reply::json(&to_json(session, name)));
            }
            let handle = format!("4::{}:e:{}", random::alphanumeric(20), random::hash());
            Ok(Reply::json(&json!({"h": handle})))
        }
        _ => Err(unsupported()),
    }
}

fn to_json(session: &UploadSession, name: &str) -> Value {
    json!({"id": format!("{name}?sig={}", session.signature), "file_offset": session.offset})
}

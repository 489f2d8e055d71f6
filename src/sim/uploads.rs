//! Resumable uploads: a session whose id is a path with a colon and a signature in its own query.
//!
//! Path and query are compared as they were written. Whoever encodes the colon or the padding, or adds a parameter,
//! breaks the signature.

use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use super::failure::Failure;
use super::messages::required;
use super::random;
use super::state::{State, locked};

/// One file on its way.
pub(super) struct Session {
    sig: String,
    length: u64,
    offset: u64,
}

/// `POST /{app-id}/uploads`
pub(super) fn open(state: &State, call: &Call, id: &str) -> Result<Reply, Failure> {
    if id != state.settings.app_id {
        return Err(Failure::unsupported(&call.method, id));
    }
    call.text("file_type")
        .ok_or_else(|| required("file_type"))?;
    let length = call.text("file_length");
    let length = length.ok_or_else(|| required("file_length"))?;
    let length = length
        .parse()
        .map_err(|_number| Failure::new(100, "(#100) Param file_length must be an integer"))?;
    let name = format!("upload:{}==", random::text(86));
    let sig = random::hash();
    let reply = Reply::json(&json!({"id": format!("{name}?sig={sig}")}));
    let session = Session {
        sig,
        length,
        offset: 0,
    };
    locked(&state.uploads).insert(name, session);
    Ok(reply)
}

/// `/upload:…?sig=…`: POST appends, GET says how much is there.
pub(super) fn resume(state: &State, call: &Call) -> Result<Reply, Failure> {
    let name = call.written.trim_start_matches('/');
    let name = match call.version {
        Some(_) => name.split_once('/').map_or(name, |(_, name)| name),
        None => name,
    };
    let unsupported = || Failure::unsupported(&call.method, name);
    let mut sessions = locked(&state.uploads);
    let session = sessions
        .get_mut(name)
        .filter(|session| call.query == format!("sig={}", session.sig))
        .ok_or_else(unsupported)?;
    match call.method.as_str() {
        "GET" => Ok(Reply::json(&session.shown(name))),
        "POST" => {
            let offset = call.header("file_offset");
            let offset = offset.ok_or_else(|| required("file_offset"))?;
            let size = call.file.as_ref().map_or(0, |file| file.size);
            if offset != session.offset.to_string() || session.offset + size > session.length {
                return Err(Failure::new(
                    100,
                    "(#100) Invalid parameter: file_offset does not match the upload session",
                ));
            }
            session.offset += size;
            if session.offset < session.length {
                return Ok(Reply::json(&session.shown(name)));
            }
            let handle = format!("4::{}:e:{}", random::text(20), random::hash());
            Ok(Reply::json(&json!({"h": handle})))
        }
        _ => Err(unsupported()),
    }
}

// === impl Session ===

impl Session {
    fn shown(&self, name: &str) -> Value {
        json!({"id": format!("{name}?sig={}", self.sig), "file_offset": self.offset})
    }
}

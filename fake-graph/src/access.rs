//! Which objects a call names, and whether its token may act on them.
//!
//! # Why
//!
//! Graph does not say that an object belongs to another: it answers as if there were no such object (100/33). The
//! recordings show it for reads and posts alike. 10 and 200 are about a missing permission, not about a foreign object.
//!
//! What is uploaded belongs to the object that it was uploaded to, since a token's successors use it as well. If no token
//! lists that object, it belongs to the targets of the token.

use std::collections::HashSet;

use serde_json::Value;

use crate::call::{Call, CallCredential};
use crate::clock::unix_seconds;
use crate::digest::fingerprint;
use crate::failure::GraphFailure;
use crate::grants::Targets;
use crate::grants::is_id;
use crate::object_uses::Violation;
use crate::state::{State, lock};

/// An object that a call names.
struct NamedObject {
    id: String,
    role: ObjectRole,
}

/// How a call names an object.
enum ObjectRole {
    /// In the path or a parameter.
    Subject,
    /// As the file of a message, under this name.
    Attachment(String),
}

/// Checks that a token may act on all objects that its call names.
pub(crate) fn check(state: &State, call: &Call, token: &str) -> Result<(), GraphFailure> {
    let named = named_objects(call);
    let foreign = named
        .into_iter()
        .find(|object| !may_act_on_any(state, token, &owners(state, &object.id)));
    foreign.map_or(Ok(()), |object| Err(object.to_failure(call)))
}

/// Records which objects a call and its batch items name, whatever becomes of the call.
pub(crate) fn record(state: &State, call: &Call, items: &[Call]) {
    for call in std::iter::once(call).chain(items) {
        let (CallCredential::Header(token) | CallCredential::Parameter(token)) = &call.credential else {
            continue;
        };
        let Some(grant) = lock(&state.tokens).grant(token).cloned() else {
            continue;
        };
        let name = grant.name.unwrap_or_else(|| fingerprint(token).into());
        for object in named_objects(call) {
            let owners = owners(state, &object.id);
            let shown = owners.first().map_or(object.id.as_str(), String::as_str);
            let violation = (!may_act_on_any(state, token, &owners)).then(|| Violation {
                token: name.to_string(),
                object: shown.to_owned(),
                owner: owner_name(state, shown),
                method: call.method.to_string(),
                path: call.raw_path.clone(),
                at: unix_seconds(state.now()),
            });
            let mut uses = lock(&state.object_uses);
            uses.count(&name, shown);
            if let Some(violation) = violation {
                uses.add_violation(violation);
            }
        }
    }
}

/// Records to which objects a new one belongs: a file or an upload session that a call with this token created in `parent`.
pub(crate) fn claim(state: &State, token: &str, parent: &str, new: &str) {
    let tokens = lock(&state.tokens);
    let targets = tokens.grant(token).cloned().unwrap_or_default().targets;
    let owners = if targets.is_empty() || tokens.owners.newest_grant(parent).is_some() {
        Targets::from([parent.to_owned()])
    } else {
        targets
    };
    drop(tokens);
    lock(&state.created).insert(new.to_owned(), owners);
}

/// The objects to which an object belongs: those of its upload, or itself. A post, `{page}_{post}`, belongs to its page.
fn owners(state: &State, id: &str) -> Targets {
    let created = lock(&state.created).get(id).cloned();
    created.unwrap_or_else(|| {
        let page = id.split_once('_').map_or(id, |(page, _)| page);
        Targets::from([page.to_owned()])
    })
}

/// The name of the newest token that lists an object.
fn owner_name(state: &State, id: &str) -> Option<String> {
    let tokens = lock(&state.tokens);
    let name = tokens.owners.newest_grant(id)?.name.as_deref();
    name.map(str::to_owned)
}

fn may_act_on_any(state: &State, token: &str, owners: &Targets) -> bool {
    let tokens = lock(&state.tokens);
    owners.iter().any(|owner| tokens.may_act_on(token, owner))
}

fn named_objects(call: &Call) -> Vec<NamedObject> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let subject = match path.as_slice() {
        ["video-upload", _, id] => Some(*id),
        [id, ..] if is_id(&id.replacen('_', "", 1)) || id.starts_with("upload:") => Some(*id),
        _ => None,
    };
    let mut named: Vec<_> = subject.map(NamedObject::subject).into_iter().collect();
    for value in ID_PARAMS.iter().flat_map(|name| call.texts(name)) {
        let ids = value.split(',').map(|id| id.trim_matches(['[', ']', '"', ' ']));
        named.extend(ids.filter(|id| is_id(id)).map(NamedObject::subject));
    }
    if path.last() == Some(&"messages") {
        for name in MESSAGE_PARTS {
            if let Some(part) = call.value(name) {
                add_attachments(&mut named, name, &part);
            }
        }
    }
    let mut seen = HashSet::new();
    named.retain(|object| seen.insert(object.id.clone()));
    named
}

/// The parameters that name objects.
const ID_PARAMS: [&str; 5] = ["ids", "phone_number_id", "mid", "video_id", "upload_session_id"];
/// The parts of a message that can have files.
const MESSAGE_PARTS: [&str; 7] = [
    "image",
    "audio",
    "video",
    "document",
    "sticker",
    "template",
    "interactive",
];

/// Adds the files in a part of a message, which may be in a header or in a card.
fn add_attachments(named: &mut Vec<NamedObject>, name: &str, part: &Value) {
    match part {
        Value::Array(parts) => parts.iter().for_each(|part| add_attachments(named, name, part)),
        Value::Object(members) => {
            if let Some(id) = part["id"].as_str().filter(|id| is_id(id)) {
                named.push(NamedObject {
                    id: id.to_owned(),
                    role: ObjectRole::Attachment(name.to_owned()),
                });
            }
            members
                .iter()
                .for_each(|(name, part)| add_attachments(named, name, part));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

// === impl NamedObject ===

impl NamedObject {
    fn subject(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            role: ObjectRole::Subject,
        }
    }

    fn to_failure(&self, call: &Call) -> GraphFailure {
        match &self.role {
            ObjectRole::Subject => GraphFailure::unsupported_request(&call.method, &self.id),
            ObjectRole::Attachment(name) => GraphFailure::new(
                100,
                format!("(#100) Param {name}['id'] is not a valid whatsapp business account media attachment ID"),
            ),
        }
    }
}

//! WhatsApp media: up in one part of a form, down through a URL on another host that lives for five minutes.
//!
//! Files up to 8 MiB are kept, 256 MiB in total. Of others only size and SHA-256 are kept, and their download is a 404.

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE};
use serde_json::json;

use crate::access;
use crate::call::{Call, CallCredential};
use crate::clock::unix_seconds;
use crate::digest::sha256_hex;
use crate::failure::GraphFailure;
use crate::hosts::{TokenFamily, VirtualHost};
use crate::random;
use crate::reply::Reply;
use crate::state::{State, lock};

/// `POST /{phone-id}/media`
pub(crate) fn upload(state: &State, call: &Call, token: &str, phone: &str) -> Result<Reply, GraphFailure> {
    if call.text("messaging_product").as_deref() != Some("whatsapp") {
        return Err(GraphFailure::missing_parameter("messaging_product"));
    }
    let mut file = call
        .file
        .clone()
        .ok_or_else(|| GraphFailure::missing_parameter("file"))?;
    file.mime = call.text("type").unwrap_or(file.mime);
    if file.size > max_file_bytes(&file.mime) {
        return Err(GraphFailure::new(100, "(#100) Invalid parameter: File Too Large"));
    }
    let id = random::object_id();
    access::claim(state, token, phone, &id);
    lock(&state.media).insert(id.clone(), random::hash(), file, MAX_STORED_BYTES);
    Ok(Reply::json(&json!({"id": id})))
}

/// The maximum size of all kept files.
const MAX_STORED_BYTES: usize = 256 * 1024 * 1024;

/// The documented limits.
fn max_file_bytes(mime: &str) -> u64 {
    const MB: u64 = 1024 * 1024;
    match mime.split('/').next() {
        _ if mime == "image/webp" => MB / 2,
        Some("image") => 5 * MB,
        Some("audio" | "video") => 16 * MB,
        _ => 100 * MB,
    }
}

/// Returns whether an id is or was that of a file.
pub(crate) fn is_media_id(state: &State, id: &str) -> bool {
    lock(&state.media).get(id).is_some()
}

/// `GET /{media-id}`
pub(crate) fn media_info(state: &State, call: &Call, id: &str) -> Result<Reply, GraphFailure> {
    let media = lock(&state.media);
    let found = media
        .get(id)
        .and_then(|media| Some((&media.hash, media.file.as_ref()?)));
    let (hash, file) = found.ok_or_else(|| GraphFailure::unsupported_request(&call.method, id))?;
    let until = unix_seconds(state.now()) + URL_TTL_SECONDS;
    let origin = &state.config.media_origin;
    Ok(Reply::json(&json!({
        "url": format!("{origin}{DOWNLOAD_PATH}?{}", download_query(id, until, hash)),
        "mime_type": file.mime,
        "sha256": file.sha256,
        "file_size": file.size,
        "id": id,
        "messaging_product": "whatsapp",
    })))
}

/// The path of a download URL.
const DOWNLOAD_PATH: &str = "/whatsapp_business/attachments/";

/// The query of a download URL. Its hash covers all of it.
fn download_query(id: &str, until: i64, key: &str) -> String {
    let hash = sha256_hex(format!("{id}|{until}|{key}"));
    let hash: String = hash.chars().take(43).collect();
    format!("mid={id}&ext={until}&hash=AR{hash}")
}

/// The lifetime of a download URL, in seconds.
const URL_TTL_SECONDS: i64 = 300;

/// `DELETE /{media-id}`
pub(crate) fn delete(state: &State, call: &Call, id: &str) -> Result<Reply, GraphFailure> {
    if lock(&state.media).delete(id) {
        Ok(Reply::success())
    } else {
        Err(GraphFailure::unsupported_request(&call.method, id))
    }
}

/// `GET https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid&ext&hash`
///
/// Every failure is a 404 without an envelope, a dead token included. Only a token in the header counts, and the query
/// must be that of the URL, byte for byte. Under its own name, the host also checks path and user agent.
pub(crate) fn download(state: &State, call: &Call) -> Reply {
    find_download(state, call).unwrap_or_else(|| {
        Reply::file(
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            Bytes::from_static(b"Not Found"),
        )
    })
}

fn find_download(state: &State, call: &Call) -> Option<Reply> {
    let CallCredential::Header(token) = &call.credential else {
        return None;
    };
    if lock(&state.tokens).family(token) != TokenFamily::Facebook || !matches!(call.method.as_str(), "GET" | "HEAD") {
        return None;
    }
    if call.host == VirtualHost::Lookaside && (call.raw_path != DOWNLOAD_PATH || !is_allowed_user_agent(call)) {
        return None;
    }
    let now = state.now();
    lock(&state.tokens).check(token, state.app_credentials(), now).ok()?;
    access::check(state, call, token).ok()?;
    let id = call.text("mid")?;
    let until: i64 = call.text("ext")?.parse().ok()?;
    let media = lock(&state.media);
    let media = media.get(&id).filter(|_| unix_seconds(now) < until)?;
    let file = media
        .file
        .as_ref()
        .filter(|_| call.raw_query == download_query(&id, until, &media.hash))?;
    let bytes = file.bytes.clone()?;

    let name = file.filename.clone().unwrap_or(id).replace(['"', '\\'], "_");
    let disposition = format!("attachment; filename=\"{name}\"");
    let reply = match call
        .preferences
        .range
        .as_deref()
        .and_then(|range| parse_range(range, bytes.len()))
    {
        None => Reply::file(StatusCode::OK, &file.mime, bytes),
        Some((first, end)) => {
            let range = format!("bytes {first}-{}/{}", end - 1, bytes.len());
            Reply::file(StatusCode::PARTIAL_CONTENT, &file.mime, bytes.slice(first..end))
                .with_header(CONTENT_RANGE, &range)
        }
    };
    Some(
        reply
            .with_header(CONTENT_DISPOSITION, &disposition)
            .with_header(ACCEPT_RANGES, "bytes"),
    )
}

/// Returns whether the host serves this user agent. Reports say that it refuses a missing one and those of Node's fetch
/// libraries, and serves `node`, curl, Python, Ruby and Java.
fn is_allowed_user_agent(call: &Call) -> bool {
    let agent = call.header("user-agent").unwrap_or_default().trim();
    !agent.is_empty() && agent != "undici" && !agent.starts_with("node-fetch")
}

/// Parses `bytes=first-last` or `bytes=first-` into a half-open range. Other ranges are ignored, which is allowed.
fn parse_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let end = if last.is_empty() {
        length
    } else {
        last.parse::<usize>().ok()?.checked_add(1)?.min(length)
    };
    (first < end).then_some((first, end))
}

//! Videos, in pieces to graph-video, and reels, whose bytes go to rupload.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::access;
use crate::call::{Call, CallCredential};
use crate::failure::GraphFailure;
use crate::hosts::TokenFamily;
use crate::random;
use crate::reply::{Reply, served_version};
use crate::state::{State, lock};
use crate::stored::VideoUpload;

/// `POST https://graph-video.facebook.com/{id}/videos`
pub(crate) fn publish(state: &State, call: &Call, token: &str, parent: &str) -> Result<Reply, GraphFailure> {
    match call.text("upload_phase").as_deref() {
        Some("start") => {
            let length = integer_parameter(call, "file_size")?;
            let (id, session) = (random::object_id(), random::object_id());
            access::claim(state, token, parent, &id);
            access::claim(state, token, parent, &session);
            let video = VideoUpload {
                session: session.clone(),
                length: Some(length),
                offset: 0,
            };
            let mut answer = next_chunk(&video, length);
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("upload_session_id".to_owned(), session.into());
                answer.insert("video_id".to_owned(), id.as_str().into());
            }
            lock(&state.videos).insert(id, video);
            Ok(Reply::json(&answer))
        }
        Some("transfer") => {
            let start = integer_parameter(call, "start_offset")?;
            let size = call.file.as_ref().map(|file| file.size);
            let size = size.ok_or_else(|| GraphFailure::missing_parameter("video_file_chunk"))?;
            with_session(state, call, |video, length| {
                if start != video.offset || start + size > length {
                    return Err(offset_mismatch(&next_chunk(video, length)));
                }
                video.offset += size;
                Ok(Reply::json(&next_chunk(video, length)))
            })
        }
        Some("finish") => with_session(state, call, |video, length| {
            if video.offset == length {
                Ok(Reply::success())
            } else {
                Err(offset_mismatch(&next_chunk(video, length)))
            }
        }),
        Some(_) => Err(GraphFailure::new(
            100,
            "(#100) Param upload_phase must be one of {start, transfer, cancel, finish}",
        )),
        None if call.file.is_some() || call.text("file_url").is_some() => {
            Ok(Reply::json(&json!({"id": random::object_id()})))
        }
        None => Err(GraphFailure::missing_parameter("source")),
    }
}

/// `POST /{page-id}/video_reels`
pub(crate) fn reel(state: &State, call: &Call, token: &str, page: &str) -> Result<Reply, GraphFailure> {
    let mut videos = lock(&state.videos);
    match call.text("upload_phase").as_deref() {
        Some("start") => {
            let id = random::object_id();
            let video = VideoUpload {
                session: String::new(),
                length: None,
                offset: 0,
            };
            access::claim(state, token, page, &id);
            videos.insert(id.clone(), video);
            let origin = &state.config.upload_origin;
            let version = served_version(call.version);
            Ok(Reply::json(&json!({
                "video_id": id,
                "upload_url": format!("{origin}/video-upload/{version}/{id}"),
            })))
        }
        Some("finish") => {
            let id = call.required("video_id")?;
            let video = videos.get(&id);
            let video = video.ok_or_else(|| GraphFailure::unsupported_request(&call.method, &id))?;
            if video.length == Some(video.offset) {
                Ok(Reply::success())
            } else {
                Err(GraphFailure::new(
                    6000,
                    "There was a problem uploading your video file.",
                ))
            }
        }
        _ => Err(GraphFailure::missing_parameter("upload_phase")),
    }
}

/// `POST https://rupload.facebook.com/video-upload/{version}/{video-id}`. Its errors have no envelope.
pub(crate) fn transfer(state: &State, call: &Call, path: &[&str]) -> Reply {
    let now = state.now();
    let scheme = call.header("authorization").unwrap_or_default();
    let scheme = scheme.split(' ').next().unwrap_or_default();
    let token = match &call.credential {
        // The only documented scheme for it.
        CallCredential::Header(token) if scheme.eq_ignore_ascii_case("oauth") => {
            let tokens = lock(&state.tokens);
            let is_facebook = tokens.family(token) == TokenFamily::Facebook;
            Some(token).filter(|_| is_facebook && tokens.check(token, state.app_credentials(), now).is_ok())
        }
        CallCredential::Header(_) | CallCredential::Parameter(_) | CallCredential::Missing => None,
    };
    let Some(token) = token else {
        return debug_info_reply(
            StatusCode::UNAUTHORIZED,
            "NotAuthorizedError",
            "Error validating the access token of the upload",
        );
    };
    let (["video-upload", _, id], "POST") = (path, call.method.as_str()) else {
        return debug_info_reply(StatusCode::NOT_FOUND, "NotFoundError", "There is no such upload");
    };
    let may_act = access::check(state, call, token).is_ok();
    let mut videos = lock(&state.videos);
    let video = videos.get_mut(*id);
    let Some(video) = video.filter(|video| may_act && video.session.is_empty()) else {
        return debug_info_reply(StatusCode::NOT_FOUND, "NotFoundError", "There is no such upload");
    };
    if call.header("file_url").is_some() {
        video.length = Some(video.offset);
        return success_reply();
    }
    let number = |name| call.header(name)?.parse::<u64>().ok();
    let size = call.file.as_ref().map_or(0, |file| file.size);
    match (number("offset"), number("file_size")) {
        (Some(offset), Some(length)) if offset == video.offset && offset + size <= length => {
            video.length = Some(length);
            video.offset += size;
            success_reply()
        }
        _ => debug_info_reply(
            StatusCode::BAD_REQUEST,
            "OffsetInvalidError",
            "The offset and the file size do not match the upload",
        ),
    }
}

/// The range of the next piece. Its numbers are texts, as Graph writes them.
fn next_chunk(video: &VideoUpload, length: u64) -> Value {
    let end = length.min(video.offset + CHUNK_BYTES);
    json!({"start_offset": video.offset.to_string(), "end_offset": end.to_string()})
}

/// The size of a piece. Graph's pieces are megabytes; with smaller ones, tests need no large file.
const CHUNK_BYTES: u64 = 64 * 1024;

fn with_session(
    state: &State,
    call: &Call,
    act: impl FnOnce(&mut VideoUpload, u64) -> Result<Reply, GraphFailure>,
) -> Result<Reply, GraphFailure> {
    let session = call
        .text("upload_session_id")
        .filter(|session| !session.is_empty())
        .ok_or_else(|| GraphFailure::missing_parameter("upload_session_id"))?;
    let mut videos = lock(&state.videos);
    let video = videos.values_mut().find(|video| video.session == session);
    let (video, length) = video
        .and_then(|video| {
            let length = video.length?;
            Some((video, length))
        })
        .ok_or_else(|| GraphFailure::unsupported_request(&call.method, &session))?;
    act(video, length)
}

fn offset_mismatch(window: &Value) -> GraphFailure {
    GraphFailure::new(6001, "There was a problem uploading your video. Please try again.")
        .with_subcode(1_363_037)
        .with_data(window.clone())
}

fn integer_parameter(call: &Call, name: &str) -> Result<u64, GraphFailure> {
    let text = call.required(name)?;
    text.parse()
        .map_err(|_number| GraphFailure::new(100, format!("(#100) Param {name} must be an integer")))
}

fn success_reply() -> Reply {
    json_file_reply(StatusCode::OK, &json!({"success": true}))
}

fn debug_info_reply(status: StatusCode, kind: &str, message: &str) -> Reply {
    let info = json!({"retriable": false, "type": kind, "message": message});
    json_file_reply(status, &json!({"debug_info": info}))
}

fn json_file_reply(status: StatusCode, value: &Value) -> Reply {
    Reply::file(status, "application/json", Bytes::from(value.to_string()))
}

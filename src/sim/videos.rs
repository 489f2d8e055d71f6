//! Videos, in pieces to graph-video, and reels, whose bytes go to rupload.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Reply, effective};
use super::call::{Call, Presented};
use super::failure::Failure;
use super::hosts::Family;
use super::messages::required;
use super::random;
use super::state::{State, locked};

/// A video on its way.
pub(super) struct Video {
    /// The upload session, if it goes to graph-video.
    session: String,
    /// How long it will be. rupload is told with the bytes.
    length: Option<u64>,
    offset: u64,
}

/// `POST https://graph-video.facebook.com/{id}/videos`
pub(super) fn publish(state: &State, call: &Call) -> Result<Reply, Failure> {
    match call.text("upload_phase").as_deref() {
        Some("start") => {
            let length = number(call, "file_size")?;
            let (id, session) = (random::id(), random::id());
            let video = Video {
                session: session.clone(),
                length: Some(length),
                offset: 0,
            };
            let mut answer = video.window(length);
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("upload_session_id".to_owned(), session.into());
                answer.insert("video_id".to_owned(), id.as_str().into());
            }
            locked(&state.videos).insert(id, video);
            Ok(Reply::json(&answer))
        }
        Some("transfer") => {
            let start = number(call, "start_offset")?;
            let size = call.file.as_ref().map(|file| file.size);
            let size = size.ok_or_else(|| required("video_file_chunk"))?;
            in_session(state, call, |video, length| {
                if start != video.offset || start + size > length {
                    return Err(misplaced(&video.window(length)));
                }
                video.offset += size;
                Ok(Reply::json(&video.window(length)))
            })
        }
        Some("finish") => in_session(state, call, |video, length| {
            if video.offset == length {
                Ok(Reply::success())
            } else {
                Err(misplaced(&video.window(length)))
            }
        }),
        Some(_) => Err(Failure::new(
            100,
            "(#100) Param upload_phase must be one of {start, transfer, cancel, finish}",
        )),
        None if call.file.is_some() || call.text("file_url").is_some() => {
            Ok(Reply::json(&json!({"id": random::id()})))
        }
        None => Err(required("source")),
    }
}

/// `POST /{page-id}/video_reels`
pub(super) fn reel(state: &State, call: &Call) -> Result<Reply, Failure> {
    let mut videos = locked(&state.videos);
    match call.text("upload_phase").as_deref() {
        Some("start") => {
            let id = random::id();
            let video = Video {
                session: String::new(),
                length: None,
                offset: 0,
            };
            videos.insert(id.clone(), video);
            let origin = &state.settings.upload_origin;
            let version = effective(call.version);
            Ok(Reply::json(&json!({
                "video_id": id,
                "upload_url": format!("{origin}/video-upload/{version}/{id}"),
            })))
        }
        Some("finish") => {
            let id = call.text("video_id").ok_or_else(|| required("video_id"))?;
            let video = videos.get(&id);
            let video = video.ok_or_else(|| Failure::unsupported(&call.method, &id))?;
            if video.length == Some(video.offset) {
                Ok(Reply::success())
            } else {
                Err(Failure::new(
                    6000,
                    "There was a problem uploading your video file.",
                ))
            }
        }
        _ => Err(required("upload_phase")),
    }
}

/// `POST https://rupload.facebook.com/video-upload/{version}/{video-id}`. Its errors are no envelopes.
pub(super) fn transfer(state: &State, call: &Call, path: &[&str]) -> Reply {
    let now = state.now();
    let scheme = call.header("authorization").unwrap_or_default();
    let scheme = scheme.split(' ').next().unwrap_or_default();
    let known = match &call.presented {
        // The only scheme that is documented for it.
        Presented::Header(token) if scheme.eq_ignore_ascii_case("oauth") => {
            Family::of(token) == Family::Facebook
                && locked(&state.tokens).check(token, state.app(), now).is_ok()
        }
        Presented::Header(_) | Presented::Parameter(_) | Presented::Nothing => false,
    };
    if !known {
        return debug(
            StatusCode::UNAUTHORIZED,
            "NotAuthorizedError",
            "Error validating the access token of the upload",
        );
    }
    let (["video-upload", _, id], "POST") = (path, call.method.as_str()) else {
        return debug(
            StatusCode::NOT_FOUND,
            "NotFoundError",
            "There is no such upload",
        );
    };
    let mut videos = locked(&state.videos);
    let Some(video) = videos.get_mut(*id).filter(|video| video.session.is_empty()) else {
        return debug(
            StatusCode::NOT_FOUND,
            "NotFoundError",
            "There is no such upload",
        );
    };
    if call.header("file_url").is_some() {
        video.length = Some(video.offset);
        return success();
    }
    let number = |name| call.header(name)?.parse::<u64>().ok();
    let size = call.file.as_ref().map_or(0, |file| file.size);
    match (number("offset"), number("file_size")) {
        (Some(offset), Some(length)) if offset == video.offset && offset + size <= length => {
            video.length = Some(length);
            video.offset += size;
            success()
        }
        _ => debug(
            StatusCode::BAD_REQUEST,
            "OffsetInvalidError",
            "The offset and the file size do not match the upload",
        ),
    }
}

// === impl Video ===

impl Video {
    /// The piece that is asked for next, in texts, as Graph has it.
    fn window(&self, length: u64) -> Value {
        let end = length.min(self.offset + PIECE);
        json!({"start_offset": self.offset.to_string(), "end_offset": end.to_string()})
    }
}

/// A piece's size. Graph's are of megabytes; with smaller ones a test needs no large file.
const PIECE: u64 = 64 * 1024;

fn in_session(
    state: &State,
    call: &Call,
    act: impl FnOnce(&mut Video, u64) -> Result<Reply, Failure>,
) -> Result<Reply, Failure> {
    let session = call
        .text("upload_session_id")
        .filter(|session| !session.is_empty())
        .ok_or_else(|| required("upload_session_id"))?;
    let mut videos = locked(&state.videos);
    let video = videos.values_mut().find(|video| video.session == session);
    let (video, length) = video
        .and_then(|video| {
            let length = video.length?;
            Some((video, length))
        })
        .ok_or_else(|| Failure::unsupported(&call.method, &session))?;
    act(video, length)
}

fn misplaced(window: &Value) -> Failure {
    Failure::new(
        6001,
        "There was a problem uploading your video. Please try again.",
    )
    .subcode(1_363_037)
    .data(window.clone())
}

fn number(call: &Call, name: &str) -> Result<u64, Failure> {
    let text = call.text(name).ok_or_else(|| required(name))?;
    text.parse()
        .map_err(|_number| Failure::new(100, format!("(#100) Param {name} must be an integer")))
}

fn success() -> Reply {
    file(StatusCode::OK, &json!({"success": true}))
}

fn debug(status: StatusCode, kind: &str, message: &str) -> Reply {
    let info = json!({"retriable": false, "type": kind, "message": message});
    file(status, &json!({"debug_info": info}))
}

fn file(status: StatusCode, value: &Value) -> Reply {
    Reply::file(status, "application/json", Bytes::from(value.to_string()))
}

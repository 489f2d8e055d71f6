//! What can be sent as the body of a request.

use bytes::Bytes;
use http_body::Body;

use crate::net::BoxError;

/// A request body.
pub trait RequestBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {
    /// Whether the app still has to send some of it.
    fn is_arriving(&self) -> bool;
}

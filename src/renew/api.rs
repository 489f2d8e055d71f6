//! One of Graph's hosts, which is asked for tokens.

use crate::graph::Origin;
use crate::net::HttpClient;
use crate::token::{ObtainError, Token};
use crate::types::Clock;

use super::request::{GraphRequest, TokenLifetime};
use super::response::{Remediations, send};

/// A host of Graph, the client that calls it, and the clock by which lifetimes count.
#[derive(Clone, Debug)]
pub struct GraphApi {
    /// Sends the calls.
    pub client: HttpClient,
    /// The host.
    pub origin: Origin,
    /// A lifetime in seconds counts from the moment of the request.
    pub clock: Clock,
}

impl GraphApi {
    /// Sends a request for a token; `lifetime` is what the request asked for.
    pub(super) async fn request_token(
        &self,
        request: GraphRequest<'_>,
        lifetime: TokenLifetime,
        remediations: Remediations,
    ) -> Result<Token, ObtainError> {
        let requested_at = self.clock.now();
        let response = send(&self.client, request, remediations).await?;
        response.token(requested_at, lifetime)
    }
}

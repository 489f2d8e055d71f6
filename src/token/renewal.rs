//! One call of a renewer, and the check of its result.

use std::time::Duration;

use tokio::time::timeout;

use super::credential::Token;
use super::error::ObtainError;
use super::sources::timed_out;
use super::traits::{RefreshContext, RenewalRequest, Renewer};

/// The longest renewal.
const RENEW_TIMEOUT: Duration = Duration::from_secs(20);
/// The shortest extension of the expiry that counts as a renewal, if the renewer returns the same token.
const MIN_EXTENSION: Duration = Duration::from_secs(60);

/// Obtains the successor of `outgoing`.
///
/// # Errors
///
/// The renewer's error, or the reason why its token is not a successor.
pub(super) async fn renew(
    renewer: &mut dyn Renewer,
    outgoing: &Token,
    context: RefreshContext<'_>,
) -> Result<Token, ObtainError> {
    let request = RenewalRequest {
        token: outgoing,
        is_dead: context.current_is_dead,
    };
    let Ok(renewed) = timeout(RENEW_TIMEOUT, renewer.renew(request)).await else {
        return Err(timed_out(&renewer.describe(), "respond", RENEW_TIMEOUT));
    };
    let token = renewed?;
    if token.expires_at.is_some_and(|at| at <= context.now) {
        let message = format!("{} returned an expired token", renewer.describe());
        return Err(ObtainError::transient("expired", message));
    }
    let is_same = token.secret.fingerprint() == outgoing.secret.fingerprint();
    if is_same && (context.current_is_dead || !extends(&token, outgoing)) {
        let message = format!(
            "{} returned the current token without extending its expiry",
            renewer.describe()
        );
        return Err(ObtainError::transient("token_not_extended", message));
    }
    Ok(Token {
        modified_at: Some(context.now),
        ..token
    })
}

/// Returns whether the same token now lives longer. A known expiry is better than an unknown one.
fn extends(renewed: &Token, outgoing: &Token) -> bool {
    match (renewed.expires_at, outgoing.expires_at) {
        (Some(new), Some(old)) => new.duration_since(old).is_ok_and(|longer| longer > MIN_EXTENSION),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

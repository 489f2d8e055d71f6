//! The Meta app that tokens belong to.

use crate::types::{Secret, SecretError};

use super::request;

/// The app's id and secret: what renewals are asked for with, and a token themselves.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The app's id, which is no secret.
    pub id: String,
    /// The app's secret.
    pub secret: Secret,
}

impl ClientCredentials {
    /// The app token, `<id>|<secret>`.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the id has anything but visible ASCII.
    pub fn app_token(&self) -> Result<Secret, SecretError> {
        request::app_token(&self.id, &self.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_token_is_id_bar_secret_and_debug_shows_neither_secret() {
        let app = ClientCredentials {
            id: "42".to_owned(),
            secret: Secret::new("hush0hush0hush").unwrap(),
        };
        let token = app.app_token().unwrap();
        assert_eq!(token.expose(), "42|hush0hush0hush");
        assert!(!format!("{app:?} {token:?}").contains("hush"));
        let invalid = ClientCredentials {
            id: "4 2".to_owned(),
            ..app
        };
        assert_eq!(invalid.app_token().unwrap_err(), SecretError::InvalidCharacter);
    }
}

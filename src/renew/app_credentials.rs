//! The Meta app that the tokens belong to.

use crate::types::{Secret, SecretError};

use super::request;

/// The app's id and secret, which authenticate renewals and together form the app token.
#[derive(Clone, Debug)]
pub struct AppCredentials {
    /// The app's id, which is not a secret.
    pub id: String,
    /// The app's secret.
    pub secret: Secret,
}

impl AppCredentials {
    /// Builds the app token, `<id>|<secret>`.
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
        let app = AppCredentials {
            id: "42".to_owned(),
            secret: Secret::new("hush0hush0hush").unwrap(),
        };
        let token = app.app_token().unwrap();
        assert_eq!(token.expose(), "42|hush0hush0hush");
        assert!(!format!("{app:?} {token:?}").contains("hush"));
        let invalid = AppCredentials {
            id: "4 2".to_owned(),
            ..app
        };
        assert_eq!(invalid.app_token().unwrap_err(), SecretError::InvalidCharacter);
    }
}

//! What `debug_token` says of a token.

use std::time::SystemTime;

use super::error::GraphError;

/// What is known of a token besides its text.
///
/// `GET /debug_token` answers 200 about dead tokens, too, and calls the subcode `subcode` there; `expires_at: 0` is
/// "never", not 1970. Every field may be missing.
///
/// Source: <https://developers.facebook.com/docs/graph-api/reference/debug_token>
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inspection {
    /// Why it is dead, if it is.
    pub dead: Option<GraphError>,
    /// Whose it is.
    pub kind: Option<TokenKind>,
    /// The app it was issued for.
    pub app_id: Option<String>,
    /// When it ends.
    pub expires: Ends,
    /// When its access to the user's data ends: it stays valid, but calls are refused from then on.
    pub data_access: Ends,
    /// When it was issued; told of long-lived tokens only.
    pub issued_at: Option<SystemTime>,
    /// What it may do; `None` if nothing was said about that.
    pub scopes: Option<Vec<String>>,
}

/// When something ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ends {
    /// Nobody has said.
    #[default]
    Unknown,
    /// Never.
    Never,
    /// Then.
    At(SystemTime),
}

/// Whose token it is, as `debug_token` has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenKind {
    /// A person's.
    User,
    /// A page's.
    Page,
    /// An app's.
    App,
    /// A system user's.
    SystemUser,
}

// === impl Inspection ===

impl Inspection {
    /// Which of the permissions that WhatsApp needs are missing; none if nothing was said about permissions.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let Some(scopes) = &self.scopes else {
            return Vec::new();
        };
        let granted = |name: &str| scopes.iter().any(|scope| scope == name);
        [
            "whatsapp_business_messaging",
            "whatsapp_business_management",
        ]
        .into_iter()
        .filter(|name| !granted(name))
        .collect()
    }
}

// === impl Ends ===

impl Ends {
    /// The moment, if there is one that is known.
    #[must_use]
    pub const fn at(self) -> Option<SystemTime> {
        match self {
            Self::At(at) => Some(at),
            Self::Unknown | Self::Never => None,
        }
    }
}

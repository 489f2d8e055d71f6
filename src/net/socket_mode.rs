//! The permissions of Unix sockets.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The permissions of a Unix socket, such as `0660`. A process that may write to a socket may connect to it.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq)]
#[schemars(with = "String", extend("pattern" = "^0?[0-7]{3}$", "patternErrorMessage" = "must be the permissions of a file in octal, such as \"0660\""))]
pub struct SocketMode(u32);

impl SocketMode {
    /// `0660`: the user and the group of graphward connect.
    pub const GROUP: Self = Self(0o660);

    /// The permissions for the socket's file.
    pub(super) fn permissions(self) -> Permissions {
        Permissions::from_mode(self.0)
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        u32::from_str_radix(&text, 8).map(Self).map_err(D::Error::custom)
    }
}

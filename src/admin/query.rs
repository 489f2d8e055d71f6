//! The parameters of requests.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::types::TenantId;

/// Which tenants are listed.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Listing<'a> {
    /// Only the one of this name.
    pub(super) tenant: Option<Cow<'a, str>>,
    /// Only those whose name has this text in it, in capital or small letters.
    pub(super) search: Option<String>,
    /// Only those whose token is in this state.
    pub(super) state: Option<Cow<'a, str>>,
    /// Only those whose name comes after this one.
    pub(super) after: Option<Cow<'a, str>>,
    /// The most that are listed.
    pub(super) limit: usize,
}

/// Whose token is changed, and whether it is whatever Graph says of it.
#[derive(Debug, Default)]
pub(super) struct ChangeQuery {
    pub(super) tenant: Option<String>,
    pub(super) is_forced: bool,
}

/// The reason why parameters cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum QueryError {
    #[error("unknown parameter; available: {0}")]
    Unknown(&'static str),
    #[error("the parameter `{0}` has to be a whole number from {1} to {2}")]
    NotNumber(&'static str, u64, u64),
    #[error("a parameter is not UTF-8")]
    NotUtf8,
}

/// The number that are listed unless the request says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// The most that are listed.
const MAX_LIMIT: u64 = 1_000;

impl ChangeQuery {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, QueryError> {
        let mut parsed = Self::default();
        for parameter in parameters(query) {
            match parameter? {
                ("tenant", name) => parsed.tenant = Some(name.into_owned()),
                ("force", answer) if answer == "yes" => parsed.is_forced = true,
                _ => return Err(QueryError::Unknown("tenant, force=yes")),
            }
        }
        Ok(parsed)
    }
}

// === impl Listing ===

impl<'a> Listing<'a> {
    pub(super) fn parse(query: Option<&'a str>) -> Result<Self, QueryError> {
        let mut listing = Self::default();
        for parameter in parameters(query) {
            let (name, value) = parameter?;
            match name {
                "tenant" => listing.tenant = Some(value),
                "search" => listing.search = Some(value.to_lowercase()),
                "state" => listing.state = Some(value),
                "after" => listing.after = Some(value),
                "limit" => {
                    let limit = number(&value).filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    let limit = limit.and_then(|limit| limit.try_into().ok());
                    listing.limit = limit.ok_or(QueryError::NotNumber("limit", 1, MAX_LIMIT))?;
                }
                _ => return Err(QueryError::Unknown("tenant, search, state, after, limit")),
            }
        }
        Ok(listing)
    }

    /// The parameters of a list whose tenants have no state.
    pub(super) fn parse_without_state(query: Option<&'a str>) -> Result<Self, QueryError> {
        let listing = Self::parse(query)?;
        match listing.state {
            Some(_) => Err(QueryError::Unknown("tenant, search, after, limit")),
            None => Ok(listing),
        }
    }

    /// Returns whether a tenant of this name is listed, if the state of its token is right.
    pub(super) fn has_name(&self, id: &TenantId) -> bool {
        let id = id.as_str();
        self.tenant.as_ref().is_none_or(|tenant| tenant == id)
            && self.after.as_ref().is_none_or(|after| id > after.as_ref())
            && self
                .search
                .as_ref()
                .is_none_or(|search| id.to_lowercase().contains(search))
    }
}

impl Default for Listing<'_> {
    fn default() -> Self {
        Self {
            tenant: None,
            search: None,
            state: None,
            after: None,
            limit: DEFAULT_LIMIT,
        }
    }
}

/// The parameters of a query, decoded.
pub(super) fn parameters(query: Option<&str>) -> impl Iterator<Item = Result<(&str, Cow<'_, str>), QueryError>> {
    let parameters = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|it| !it.is_empty());
    parameters.map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = percent_decode_str(value).decode_utf8();
        Ok((name, value.map_err(|_not_utf8| QueryError::NotUtf8)?))
    })
}

/// A whole number without a sign.
pub(super) fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_listed_by_their_names() {
        let parse = |query| Listing::parse(Some(query)).unwrap();
        for (query, name, is_listed) in [
            ("", "acme", true),
            ("tenant=acme", "acme", true),
            ("tenant=acme", "acme2", false),
            ("tenant=a%3Ab", "a:b", true),
            ("search=CM", "acme", true),
            ("search=x", "acme", false),
            ("after=acme", "acme", false),
            ("after=acme", "acme2", true),
            ("after=acme&search=2&&limit=7", "acme2", true),
        ] {
            let id = TenantId::new(name).unwrap();
            assert_eq!(parse(query).has_name(&id), is_listed, "{query} {name}");
        }
        assert_eq!((parse("").limit, parse("limit=1000").limit), (100, 1_000));
        assert_eq!(parse("state=ends_7d").state.unwrap(), "ends_7d");
    }

    #[test]
    fn parameters_that_would_be_ignored_are_refused() {
        for query in ["access_token=x", "limits=1", "tenant", "name=acme", "Tenant=acme"] {
            let parsed = Listing::parse(Some(query));
            match query {
                "tenant" => assert_eq!(parsed.unwrap().tenant.unwrap(), ""),
                _ => assert!(matches!(parsed, Err(QueryError::Unknown(_))), "{query}"),
            }
        }
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=+1", "limit=x", "limit="] {
            assert!(
                matches!(Listing::parse(Some(query)), Err(QueryError::NotNumber("limit", ..))),
                "{query}"
            );
        }
        assert_eq!(Listing::parse(Some("search=%ff")), Err(QueryError::NotUtf8));
        let parsed = Listing::parse_without_state(Some("state=dead"));
        assert!(matches!(parsed, Err(QueryError::Unknown(_))), "{parsed:?}");
    }
}

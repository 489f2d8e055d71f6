//! The parameters of requests.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use crate::telemetry::metrics::TokenState;
use crate::types::TenantId;

/// Which tenants are listed.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Listing<'a> {
    /// Only the one of this name.
    pub(super) tenant: Option<Cow<'a, str>>,
    /// Only those whose name has this text in it, in capital or small letters.
    pub(super) search: Option<String>,
    /// Only those whose token is in this state.
    pub(super) state: Option<TokenState>,
    /// Only those whose name comes after this one.
    pub(super) after: Option<Cow<'a, str>>,
    /// The most that are listed.
    pub(super) limit: usize,
}

/// Whose token is changed, and whether it is whatever Graph says of it.
#[derive(Debug)]
pub(super) struct ChangeQuery {
    pub(super) tenant: Option<String>,
    pub(super) is_forced: bool,
}

/// The parameters of a request: its route knows each of them, and has each once.
#[derive(Debug, Default)]
pub(super) struct Parameters<'a>(Vec<(&'static str, Cow<'a, str>)>);

/// The reason why parameters cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum QueryError {
    #[error("unknown parameter; available: {0}")]
    Unknown(String),
    #[error("the request takes no parameter")]
    NoneTaken,
    #[error("the parameter `{0}` is there twice")]
    Repeated(&'static str),
    #[error("the parameter `{0}` has to be a whole number from {1} to {2}")]
    NotNumber(&'static str, u64, u64),
    #[error("the parameter `state` has to be one of {}", TokenState::ALL.map(TokenState::label).join(", "))]
    NotState,
    #[error("the parameter `force` has to be {FORCED}")]
    NotForced,
    #[error("a parameter is not UTF-8")]
    NotUtf8,
}

/// How a change is forced.
const FORCED: &str = "force=yes";
/// The number that are listed unless the request says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// The most that are listed.
const MAX_LIMIT: u64 = 1_000;

// === impl Parameters ===

impl<'a> Parameters<'a> {
    /// Reads the parameters of a request whose route knows these.
    pub(super) fn parse(query: Option<&'a str>, known: &[&'static str]) -> Result<Self, QueryError> {
        let mut read = Self::default();
        let parameters = query.into_iter().flat_map(|query| query.split('&'));
        for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(match known {
                    [] => QueryError::NoneTaken,
                    known => {
                        let spelled = known.iter().map(|known| if *known == "force" { FORCED } else { known });
                        QueryError::Unknown(spelled.collect::<Vec<_>>().join(", "))
                    }
                });
            };
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_not_utf8| QueryError::NotUtf8)?;
            if read.text(name).is_some() {
                return Err(QueryError::Repeated(name));
            }
            read.0.push((name, value));
        }
        Ok(read)
    }

    fn text(&self, name: &str) -> Option<&Cow<'a, str>> {
        let mut parameters = self.0.iter();
        parameters.find_map(|(known, value)| (*known == name).then_some(value))
    }

    /// Returns a parameter that is a whole number without a sign.
    pub(super) fn number(&self, name: &'static str, range: RangeInclusive<u64>) -> Result<Option<u64>, QueryError> {
        let number = |text: &Cow<'_, str>| {
            let number = text.parse().ok().filter(|_| !text.starts_with('+'));
            let number = number.filter(|number| range.contains(number));
            number.ok_or_else(|| QueryError::NotNumber(name, *range.start(), *range.end()))
        };
        self.text(name).map(number).transpose()
    }

    /// Returns the parameters of a change.
    pub(super) fn of_change(&self) -> Result<ChangeQuery, QueryError> {
        let force = self.text("force");
        if force.is_some_and(|answer| answer != "yes") {
            return Err(QueryError::NotForced);
        }
        Ok(ChangeQuery {
            tenant: self.text("tenant").map(|name| name.as_ref().to_owned()),
            is_forced: force.is_some(),
        })
    }

    /// Returns the parameters of a list.
    pub(super) fn of_list(&self) -> Result<Listing<'a>, QueryError> {
        let text = |name| self.text(name).cloned();
        let state = |wanted: &Cow<'_, str>| {
            let mut all = TokenState::ALL.into_iter();
            all.find(|state| state.label() == wanted).ok_or(QueryError::NotState)
        };
        let limit = self.number("limit", 1..=MAX_LIMIT)?.map(usize::try_from);
        Ok(Listing {
            tenant: text("tenant"),
            search: text("search").map(|search| search.to_lowercase()),
            state: self.text("state").map(state).transpose()?,
            after: text("after"),
            limit: limit.and_then(Result::ok).unwrap_or(DEFAULT_LIMIT),
        })
    }
}

// === impl Listing ===

impl Listing<'_> {
    /// Returns whether a tenant of this name is listed, if the state of its token is right.
    pub(super) fn has_name(&self, id: &TenantId) -> bool {
        let id = id.as_str();
        let has_search = |search: &String| id.to_lowercase().contains(search);
        self.tenant.as_ref().is_none_or(|tenant| tenant == id)
            && self.after.as_ref().is_none_or(|after| id > after.as_ref())
            && self.search.as_ref().is_none_or(has_search)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 5] = ["tenant", "search", "state", "after", "limit"];

    #[test]
    fn tenants_are_listed_by_their_names() {
        let parse = |query| Parameters::parse(Some(query), &LIST).unwrap().of_list().unwrap();
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
        assert_eq!(parse("state=ends_7d").state, Some(TokenState::EndsInSevenDays));
    }

    #[test]
    fn parameters_that_would_be_ignored_are_refused() {
        let parse = |query| Parameters::parse(Some(query), &LIST);
        assert_eq!(parse("tenant").unwrap().of_list().unwrap().tenant.unwrap(), "");
        for query in ["access_token=x", "limits=1", "name=acme", "Tenant=acme", "force=yes"] {
            assert!(matches!(parse(query), Err(QueryError::Unknown(_))), "{query}");
        }
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=+1", "limit=x", "limit="] {
            let listing = parse(query).unwrap().of_list();
            assert_eq!(listing, Err(QueryError::NotNumber("limit", 1, 1_000)), "{query}");
        }
        for query in ["state", "state=expired", "state=Dead"] {
            let listing = parse(query).unwrap().of_list();
            assert_eq!(listing, Err(QueryError::NotState), "{query}");
        }
        assert_eq!(parse("search=%ff").unwrap_err(), QueryError::NotUtf8);
        assert_eq!(
            parse("tenant=acme&limit=1&tenant=shop").unwrap_err(),
            QueryError::Repeated("tenant")
        );
        let change = |query| {
            Parameters::parse(Some(query), &["tenant", "force"])
                .unwrap()
                .of_change()
        };
        assert_eq!(change("force=no").unwrap_err(), QueryError::NotForced);
        assert!(change("force=yes").unwrap().is_forced && !change("").unwrap().is_forced);
        assert_eq!(Parameters::parse(Some("x"), &[]).unwrap_err(), QueryError::NoneTaken);
        assert!(Parameters::parse(Some("&"), &[]).is_ok());
    }
}

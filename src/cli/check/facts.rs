//! What is found out about a tenant: its sources, its token, its app and its phone numbers.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::app::{ConfiguredTenant, ConfiguredTenants, GraphQuestions, could_be_number_id};
use crate::graph::{Expiry, Inspection, PhoneNumber};
use crate::renew::AccountReader;
use crate::token::{ErrorKind, Inspector as _, ObtainError, ProofAnswer, Source, Token};
use crate::types::{error_chain, is_graph_id};

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Depth {
    /// Nothing of Graph: only the sources are read.
    Offline,
    /// Graph is asked about the token.
    Token,
    /// Graph is asked about the app and its phone numbers, too.
    All,
}

/// What is known of a tenant.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) sources: Vec<SourceFacts>,
    /// Graph's statement about the app, if it was asked.
    pub(super) app: Option<Result<(), ObtainError>>,
    /// The token of the first source with one that Graph does not reject.
    pub(super) token: Option<TokenFacts>,
}

/// What a source returned.
#[derive(Debug)]
pub(super) struct SourceFacts {
    pub(super) source: String,
    pub(super) loaded: Result<Token, ObtainError>,
}

/// What is known of a token.
#[derive(Debug)]
pub(super) struct TokenFacts {
    pub(super) token: Token,
    /// Graph's statement about it; `None` if Graph was not asked.
    pub(super) inspection: Option<Result<Inspection, ObtainError>>,
    /// Whether Graph refuses to tell the configured app about it: it is of another app, or the app's secret is wrong.
    pub(super) is_hidden_from_app: bool,
    pub(super) proof: Option<ProofAnswer>,
    pub(super) accounts: Vec<AccountFacts>,
    pub(super) numbers: Vec<NumberFacts>,
}

/// A WhatsApp Business Account that a token names.
#[derive(Debug)]
pub(super) struct AccountFacts {
    pub(super) id: String,
    pub(super) numbers: Result<Vec<PhoneNumber>, ObtainError>,
}

/// An id that is, or should be, that of a phone number.
#[derive(Debug)]
pub(super) struct NumberFacts {
    pub(super) id: String,
    /// Whether it was named as that of a phone number. Otherwise it is an object of the tenant, which may be an account as well.
    pub(super) is_named: bool,
    pub(super) found: Result<FoundObject, ObtainError>,
}

/// The object behind an id.
#[derive(Debug)]
pub(super) enum FoundObject {
    Phone(PhoneNumber),
    /// A business account with these phone numbers.
    Account(Vec<PhoneNumber>),
}

/// The reason of an id with signs that no id has. Graph is not asked about it.
pub(super) const NO_ID: &str = "no_id";
/// The reason of a secret of the app that cannot be read.
pub(super) const UNREADABLE: &str = "unreadable";
/// The longest reading of a source.
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// The most accounts and objects that Graph is asked about.
const MAX_ASKED: usize = 20;

// === impl Facts ===

impl Facts {
    /// Finds out about a tenant.
    pub(super) async fn gather(
        tenants: &ConfiguredTenants,
        tenant: &ConfiguredTenant,
        number_id: Option<&str>,
        depth: Depth,
    ) -> Self {
        let mut facts = Self {
            sources: read_sources(tenants, tenant).await,
            ..Self::default()
        };
        let mut questions = tenants.questions(tenant);
        facts.app = match &questions.app {
            Err(error) => Some(Err(ObtainError::permanent(UNREADABLE, error.to_string()))),
            Ok(Some(app)) if depth == Depth::All => Some(questions.accounts.check_app(app).await),
            Ok(_) => None,
        };
        for token in facts.sources.iter().filter_map(|source| source.loaded.as_ref().ok()) {
            let ids = Ids { number_id, tenant };
            let found = TokenFacts::gather(&mut questions, token.clone(), ids, depth).await;
            let is_rejected = found.inspection().is_some_and(|inspection| inspection.error.is_some());
            if !is_rejected {
                facts.token = Some(found);
                break;
            }
            facts.token.get_or_insert(found);
        }
        facts
    }
}

async fn read_sources(tenants: &ConfiguredTenants, tenant: &ConfiguredTenant) -> Vec<SourceFacts> {
    let load = async |mut source: Box<dyn Source>| {
        let late = |_elapsed| Err(ObtainError::transient("timeout", "it did not answer in time"));
        let loaded = timeout(LOAD_TIMEOUT, source.load()).await;
        SourceFacts {
            loaded: loaded.unwrap_or_else(late),
            source: source.describe(),
        }
    };
    match tenants.sources(tenant) {
        Ok(sources) => join_all(sources.into_iter().map(load)).await,
        Err(error) => vec![SourceFacts {
            source: "the sources of the token".to_owned(),
            loaded: Err(ObtainError::permanent(UNREADABLE, error_chain(&error))),
        }],
    }
}

/// The ids that are asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids<'a> {
    /// The id of the phone number that the operator named.
    pub(super) number_id: Option<&'a str>,
    pub(super) tenant: &'a ConfiguredTenant,
}

// === impl TokenFacts ===

impl TokenFacts {
    /// Asks Graph about a token.
    pub(super) async fn gather(questions: &mut GraphQuestions, token: Token, ids: Ids<'_>, depth: Depth) -> Self {
        let mut facts = Self::unasked(token);
        if depth == Depth::Offline {
            return facts;
        }
        let token = &facts.token;
        let for_app = questions.inspector.inspect_as_app(token).await;
        facts.is_hidden_from_app = matches!(&for_app, Some(Err(error)) if error.reason() == "app_refused");
        let inspected = match for_app {
            Some(Ok(inspection)) => Ok(inspection),
            Some(Err(_)) | None => questions.inspector.inspect_token(token).await,
        };
        let accounts = match facts.inspection.insert(inspected) {
            Ok(inspection) if inspection.error.is_none() && depth == Depth::All => &inspection.whatsapp_accounts,
            Ok(_) | Err(_) => return facts,
        };
        facts.proof = Some(questions.inspector.check_proof(token).await);
        let reader = &questions.accounts;
        let accounts = accounts.iter().take(MAX_ASKED).map(async |id| AccountFacts {
            id: id.clone(),
            numbers: reader.phone_numbers(token, id).await,
        });
        facts.accounts = join_all(accounts).await;
        let own = ids.tenant.object_ids.iter().map(String::as_str);
        let own = own.filter(|id| could_be_number_id(id));
        let named = ids.number_id.map_or_else(|| own.collect(), |id| vec![id]);
        let numbers = named.into_iter().take(MAX_ASKED).map(async |id| NumberFacts {
            id: id.to_owned(),
            is_named: ids.number_id.is_some(),
            found: find_object(reader, token, id).await,
        });
        facts.numbers = join_all(numbers).await;
        facts
    }

    pub(super) const fn unasked(token: Token) -> Self {
        Self {
            token,
            inspection: None,
            is_hidden_from_app: false,
            proof: None,
            accounts: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Graph's statement about it, if there is one.
    pub(super) fn inspection(&self) -> Option<&Inspection> {
        self.inspection.as_ref()?.as_ref().ok()
    }

    /// When it ends: as Graph says, or else as its source does.
    pub(super) fn end(&self) -> Expiry {
        let said = self.inspection().map(|inspection| inspection.expires_at);
        match (said.unwrap_or_default(), self.token.expires_at) {
            (Expiry::Unknown, Some(at)) => Expiry::At(at),
            (known, _) => known,
        }
    }
}

async fn find_object(accounts: &AccountReader, token: &Token, id: &str) -> Result<FoundObject, ObtainError> {
    if !is_graph_id(id) {
        return Err(ObtainError::permanent(NO_ID, "it has signs that no id has"));
    }
    match accounts.phone_number(token, id).await {
        Err(error) if error.kind() != ErrorKind::Transient => {
            let numbers = accounts.phone_numbers(token, id).await;
            numbers.map(FoundObject::Account).map_err(|_not_an_account| error)
        }
        found => found.map(FoundObject::Phone),
    }
}

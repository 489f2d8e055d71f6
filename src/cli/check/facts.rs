//! What is found out about a tenant: its sources, its token, its app and its phone numbers.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use crate::app::{ConfiguredTenant, ConfiguredTenants, GraphQuestions};
use crate::graph::{Inspection, PhoneNumber};
use crate::renew::AccountReader;
use crate::token::{ErrorKind, Inspector as _, ObtainError, ProofAnswer, Source, Token};
use crate::types::error_chain;

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in super::super) enum Depth {
    /// Nothing of Graph: only the sources are read.
    Offline,
    /// Graph is asked about the token.
    Token,
    /// Graph is asked about the app and its phone numbers, too.
    All,
}

/// What is known of a tenant.
#[derive(Debug, Default)]
pub(in super::super) struct Facts {
    pub(super) sources: Vec<SourceFacts>,
    pub(super) app: AppFacts,
    pub(in super::super) token: Option<TokenFacts>,
}

/// What a source returned.
#[derive(Debug, Serialize)]
pub(super) struct SourceFacts {
    pub(super) source: String,
    /// The fingerprint of its token.
    pub(super) token: Option<String>,
    pub(super) error: Option<String>,
}

/// Graph's statement about the app.
#[derive(Debug, Default)]
pub(super) enum AppFacts {
    /// It was not asked for, or there is no id and no secret.
    #[default]
    NotAsked,
    /// The secret cannot be read.
    Unreadable(String),
    /// The id and the secret belong together.
    Right,
    /// They do not.
    Wrong(String),
    /// Graph could not be asked.
    Unknown(String),
}

/// What is known of a token.
#[derive(Debug)]
pub(in super::super) struct TokenFacts {
    pub(super) token: Token,
    /// The description of its source.
    pub(super) source: String,
    /// Graph's statement about it; `None` if Graph was not asked.
    pub(super) inspection: Option<Result<Inspection, String>>,
    /// Whether Graph refuses to tell the configured app, whose secret is right, about it.
    pub(super) is_of_other_app: bool,
    pub(super) proof: Option<ProofAnswer>,
    pub(super) accounts: Vec<AccountFacts>,
    pub(super) numbers: Vec<NumberFacts>,
}

/// A WhatsApp Business Account that a token names.
#[derive(Debug)]
pub(super) struct AccountFacts {
    pub(super) id: String,
    pub(super) numbers: Result<Vec<PhoneNumber>, Refusal>,
}

/// An id that is, or should be, that of a phone number.
#[derive(Debug)]
pub(super) struct NumberFacts {
    pub(super) id: String,
    pub(super) origin: IdOrigin,
    pub(super) answer: NumberAnswer,
}

/// Where an id comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum IdOrigin {
    /// It was named as that of a phone number.
    Named,
    /// It is one of the objects of the tenant, which may be an account as well.
    Object,
}

/// What is behind an id.
#[derive(Debug)]
pub(super) enum NumberAnswer {
    Phone(PhoneNumber),
    /// A business account with these phone numbers.
    Account(Vec<PhoneNumber>),
    /// It has signs that no id has, so Graph was not asked.
    NoId,
    Refused(Refusal),
}

/// The reason why Graph did not answer a question.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) text: String,
    /// Whether the answer may be another one later.
    pub(super) is_transient: bool,
}

/// The longest reading of a source.
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// The most accounts and objects that Graph is asked about.
const MAX_ASKED: usize = 20;

impl From<ObtainError> for Refusal {
    fn from(error: ObtainError) -> Self {
        Self {
            text: error_chain(&error),
            is_transient: error.kind() == ErrorKind::Transient,
        }
    }
}

// === impl Facts ===

impl Facts {
    /// Finds out about a tenant. Its token is that of the first source with one that Graph does not reject.
    pub(in super::super) async fn gather(
        tenants: &ConfiguredTenants,
        tenant: &ConfiguredTenant,
        number_id: Option<&str>,
        depth: Depth,
    ) -> Self {
        let mut facts = Self::default();
        let sources = match tenants.sources(tenant) {
            Ok(sources) => sources,
            Err(error) => {
                facts.sources.push(SourceFacts {
                    source: "the sources of the token".to_owned(),
                    token: None,
                    error: Some(error_chain(&error)),
                });
                return facts;
            }
        };
        let loaded = join_all(sources.into_iter().map(load)).await;
        let mut tokens = Vec::new();
        for (source, result) in loaded {
            let result = result.map_err(|error| error_chain(&error));
            facts.sources.push(SourceFacts {
                token: result.as_ref().ok().map(|token| token.secret.fingerprint().to_string()),
                error: result.as_ref().err().cloned(),
                source: source.clone(),
            });
            tokens.extend(result.ok().map(|token| (source, token)));
        }
        let mut questions = match tenants.questions(tenant) {
            Ok(questions) => questions,
            Err(error) => {
                facts.app = AppFacts::Unreadable(error_chain(&error));
                tenants.questions_without_secret(tenant)
            }
        };
        if let (Depth::All, Some(app)) = (depth, &questions.app) {
            facts.app = match questions.accounts.check_app(app).await {
                Ok(()) => AppFacts::Right,
                Err(error) if error.kind() == ErrorKind::Transient => AppFacts::Unknown(error_chain(&error)),
                Err(error) => AppFacts::Wrong(error_chain(&error)),
            };
        }
        for (source, token) in tokens {
            let ids = Ids { number_id, tenant };
            let mut found = TokenFacts::gather(&mut questions, token, ids, depth).await;
            found.is_of_other_app &= matches!(facts.app, AppFacts::Right);
            found.source = source;
            if facts.token.is_none() || !found.is_rejected() {
                let is_rejected = found.is_rejected();
                facts.token = Some(found);
                if !is_rejected {
                    break;
                }
            }
        }
        facts
    }
}

impl Facts {
    /// The reasons why the sources have no token.
    pub(super) fn source_errors(&self) -> String {
        let errors = self.sources.iter().filter_map(|source| {
            let error = source.error.as_ref()?;
            Some(format!("{}: {error}", source.source))
        });
        errors.collect::<Vec<_>>().join("; ")
    }
}

async fn load(mut source: Box<dyn Source>) -> (String, Result<Token, ObtainError>) {
    let late = |_elapsed| {
        let message = format!("no answer within {} s", LOAD_TIMEOUT.as_secs());
        Err(ObtainError::transient("timeout", message))
    };
    let loaded = timeout(LOAD_TIMEOUT, source.load()).await.unwrap_or_else(late);
    (source.describe(), loaded)
}

/// The ids that are asked about.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Ids<'a> {
    /// The id of the phone number that the operator named.
    pub(in super::super) number_id: Option<&'a str>,
    pub(in super::super) tenant: &'a ConfiguredTenant,
}

// === impl TokenFacts ===

impl TokenFacts {
    /// Asks Graph about a token.
    pub(in super::super) async fn gather(
        questions: &mut GraphQuestions,
        token: Token,
        ids: Ids<'_>,
        depth: Depth,
    ) -> Self {
        let mut facts = Self::unasked(token);
        if depth == Depth::Offline {
            return facts;
        }
        let token = &facts.token;
        let for_app = questions.inspector.inspect_as_app(token).await;
        facts.is_of_other_app = matches!(&for_app, Some(Err(error)) if error.reason() == "app_refused");
        let inspected = match for_app {
            Some(Ok(inspection)) => Ok(inspection),
            Some(Err(_)) | None => questions.inspector.inspect(token).await,
        };
        let inspection = facts.inspection.insert(inspected.map_err(|error| error_chain(&error)));
        let Ok(Inspection {
            error: None,
            whatsapp_accounts,
            ..
        }) = inspection
        else {
            return facts;
        };
        if depth == Depth::Token {
            return facts;
        }
        facts.proof = Some(questions.inspector.check_proof(token).await);
        let accounts = whatsapp_accounts.iter().take(MAX_ASKED);
        facts.accounts = join_all(accounts.map(|id| async {
            let numbers = questions.accounts.phone_numbers(token, id).await;
            AccountFacts {
                id: id.clone(),
                numbers: numbers.map_err(Refusal::from),
            }
        }))
        .await;
        let named = ids.number_id.map(|id| (id, IdOrigin::Named));
        let objects = ids.tenant.object_ids.iter().map(|id| (id.as_str(), IdOrigin::Object));
        let asked = named.into_iter().chain(objects.filter(|_| named.is_none()));
        let accounts = &questions.accounts;
        facts.numbers = join_all(asked.take(MAX_ASKED).map(|(id, origin)| async move {
            NumberFacts {
                id: id.to_owned(),
                origin,
                answer: ask(accounts, token, id).await,
            }
        }))
        .await;
        facts
    }

    pub(super) const fn unasked(token: Token) -> Self {
        Self {
            token,
            source: String::new(),
            inspection: None,
            is_of_other_app: false,
            proof: None,
            accounts: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Whether Graph says that it is not valid.
    pub(super) fn is_rejected(&self) -> bool {
        matches!(&self.inspection, Some(Ok(Inspection { error: Some(_), .. })))
    }

    /// Graph's statement about it, if there is one.
    pub(super) fn inspection(&self) -> Option<&Inspection> {
        self.inspection.as_ref()?.as_ref().ok()
    }
}

async fn ask(accounts: &AccountReader, token: &Token, id: &str) -> NumberAnswer {
    let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_id {
        return NumberAnswer::NoId;
    }
    let refused = match accounts.phone_number(token, id).await {
        Ok(number) => return NumberAnswer::Phone(number),
        Err(error) => Refusal::from(error),
    };
    if refused.is_transient {
        return NumberAnswer::Refused(refused);
    }
    let numbers = accounts.phone_numbers(token, id).await;
    numbers.map_or(NumberAnswer::Refused(refused), NumberAnswer::Account)
}

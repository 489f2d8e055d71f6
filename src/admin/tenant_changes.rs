//! Puts tenants into the place of `[tenants_from]`, and withdraws them.
//!
//! # Why
//!
//! The place keeps the tenants, and graphward reads them there: what it took only for itself would be gone after a restart, and
//! unknown to other replicas. So what the place cannot store is refused.

use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::changes::{ChangeError, Requester, read_body, token_in};
use super::query::ChangeQuery;
use super::response::AdminResponse;
use super::routes::tenant_in;
use super::state::Admin;
use super::table::{StoredAt, TenantRegistry};
use super::used_codes::CodeUse;
use crate::net::Stage;
use crate::renew::SignUpCode;
use crate::source::{NewTenant, Removal};
use crate::telemetry::AuditAction;
use crate::token::Token;
use crate::types::{Secret, TenantId, is_graph_id};

/// The body of a request that puts a tenant, besides its token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TenantFields {
    waba_id: Option<String>,
    phone_number_id: Option<String>,
    #[expect(dead_code, reason = "it is read as a token in a file is")]
    access_token: Option<serde::de::IgnoredAny>,
}

/// The shape of a body.
const EXPECTED: &str = r#"{"wabaId": "…", "phoneNumberId": "…", "accessToken": "…"}"#;

/// Checks a tenant's token, puts the tenant into its place, and uses it.
pub(super) async fn put_tenant(
    name: &str,
    query: ChangeQuery,
    body: Incoming,
    requester: Requester<'_>,
) -> AdminResponse {
    let put = async {
        let (id, table) = find_place(requester.admin, name)?;
        let body = read_body(body).await?;
        let token = token_in(&body, "accessToken")?;
        let fields = serde_json::from_slice::<TenantFields>(&body);
        let fields = fields.ok().filter(TenantFields::has_valid_ids);
        let fields = fields.ok_or(ChangeError::TenantFields(EXPECTED))?;
        let new = NewTenant {
            token: &token,
            waba_id: fields.waba_id.as_deref(),
            phone_number_id: fields.phone_number_id.as_deref(),
        };
        if let Some(open) = table.open(id.as_str()) {
            requester.compare(&open, &token, &query).await?;
        }
        let stored = table.put(&id, new).await.map_err(ChangeError::Tenant)?;
        Ok(requester.finish_put(table, &id, &token, stored).await)
    };
    let put = requester.until_stopped(put).await;
    requester.answer(put, Some(name))
}

/// The body of a request of a business that signs up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignUpFields {
    code: String,
    redirect_uri: Option<String>,
    tenant: String,
}

/// Exchanges the OAuth code of a business that signs up, once, and puts its tenant into its place.
pub(super) async fn sign_up(query: ChangeQuery, body: Incoming, requester: Requester<'_>) -> AdminResponse {
    const EXPECTED: &str = r#"{"code": "…", "redirect_uri": "…", "tenant": "NAME"}"#;
    let mut name = None;
    let signed_up = async {
        let body = read_body(body).await?;
        let fields = serde_json::from_slice::<SignUpFields>(&body).ok();
        let fields = fields.ok_or(ChangeError::SignUpFields(EXPECTED))?;
        let code = Secret::new(&fields.code).map_err(|_not_a_code| ChangeError::SignUpFields(EXPECTED))?;
        let (id, table) = find_place(requester.admin, name.insert(fields.tenant))?;
        table.check_sign_up(&id).map_err(ChangeError::Tenant)?;
        let (used, now) = (&requester.admin.used_codes, requester.admin.clock.now());
        if requester.admin.lifecycle.current() >= Stage::Draining {
            return Err(ChangeError::Stopping);
        }
        match used.add(code.fingerprint(), now).await {
            CodeUse::First => {}
            CodeUse::Again => return Err(ChangeError::UsedCode),
            CodeUse::Busy => return Err(ChangeError::Busy),
        }
        let code = SignUpCode {
            code: &code,
            redirect_uri: fields.redirect_uri.as_deref(),
        };
        // From here on no failure leaves the code as it was.
        let stored = async {
            let signed_up = table.exchange(code).await.map_err(ChangeError::Tenant)?;
            if let Some(open) = table.open(id.as_str()) {
                let compared = requester.admin.compare_signed_up(&open, &signed_up.token, &query);
                compared.await?;
            }
            let stored = table.put_signed_up(&id, &signed_up).await;
            Ok((stored.map_err(ChangeError::Tenant)?, signed_up))
        };
        let stored = requester.until_stopped(stored).await;
        let (stored, signed_up) = stored.map_err(|error| ChangeError::UsedUp(Box::new(error)))?;
        let mut answer = requester.finish_put(table, &id, &signed_up.token, stored).await;
        if let Value::Object(answer) = &mut answer {
            answer.insert("wabaId".to_owned(), signed_up.waba_id.into());
            answer.insert("phoneNumberIds".to_owned(), signed_up.phone_number_ids.into());
        }
        Ok(answer)
    };
    let signed_up = requester.until_stopped(signed_up).await;
    requester.answer(signed_up, name.as_deref())
}

/// Removes a tenant from its place, and refuses its requests.
pub(super) async fn withdraw_tenant(path: &str, requester: Requester<'_>) -> AdminResponse {
    let name = tenant_in(path);
    let withdrawn = async {
        let (id, table) = find_place(requester.admin, &name)?;
        match table.remove(&id).await.map_err(ChangeError::Tenant)? {
            Removal::Done(place) => {
                let what = format!("withdrew the tenant from {place}");
                requester.record(&id, AuditAction::TenantWithdrawn, None, &place, &what);
                Ok(json!({ "tenant": id.as_str(), "removed_from": place }))
            }
            Removal::NotFound => Err(ChangeError::NotInPlace),
        }
    };
    let withdrawn = requester.until_stopped(withdrawn).await;
    requester.answer(withdrawn, Some(&name))
}

/// Returns the tenant with the place of tenants that are not in the configuration.
fn find_place<'a>(admin: &'a Admin, name: &str) -> Result<(TenantId, &'a dyn TenantRegistry), ChangeError> {
    let id = TenantId::new(name)?;
    if admin.tenants.load().iter().any(|tenant| tenant.id == id) {
        return Err(ChangeError::ConfiguredTenant);
    }
    let table = admin.table.as_deref().ok_or(ChangeError::NoTenantsFrom)?;
    Ok((id, table))
}

// === impl TenantFields ===

impl TenantFields {
    fn has_valid_ids(&self) -> bool {
        let mut ids = [&self.waba_id, &self.phone_number_id].into_iter().flatten();
        ids.all(|id| is_graph_id(id))
    }
}

// === impl Requester ===

impl Requester<'_> {
    /// Records that a tenant was put, lets its refresher use its token and ask Graph about it, and returns the answer.
    async fn finish_put(&self, table: &dyn TenantRegistry, id: &TenantId, token: &Token, stored: StoredAt) -> Value {
        let StoredAt {
            place,
            inspected,
            unread,
        } = stored;
        let token = token.secret.fingerprint().to_string();
        let what = format!("put the tenant with the token {token} into {place}");
        self.record(id, AuditAction::TenantPut, Some(&token), &place, &what);
        if let Some(open) = table.open(id.as_str()) {
            open.operator.refresh().await;
        }
        let unread = unread.map(|error| error.to_string());
        json!({ "tenant": id.as_str(), "token": token, "stored_in": place, "inspected": inspected, "unread": unread })
    }
}

//! `heal.mode = "observe"`: a request goes to Graph as the app sent it, and its record says what graphward would have done.
//!
//! # Why
//!
//! An operator who does not trust graphward yet sends all traffic through it and loses nothing: the app keeps its own token,
//! no byte of a request or a response is changed, nothing is held or sent twice, and no `allow` rule and no tenant lookup refuses
//! a request. Refused are only requests that no proxy could forward: to another host, or malformed.

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;

use super::body::{Body, HeldBytes};
use super::buffer::{self, BufferBudgets, BufferedBody};
use super::heal_config::HealConfig;
use super::observation::Observation;
use super::outbound::OutboundRequest;
use super::record::RequestRecord;
use super::refusal::Refusal;
use super::request_signs::RequestSigns;
use super::route::Tenants;
use super::spool::Spool;
use super::tenant::Tenant;
use crate::graph::Calls;
use crate::graph::scrub::{find_calls, scrub};
use crate::net::TransportSecurity;
use crate::telemetry::metrics::RequestMetrics;
use crate::tenants::RulesOfCalls;

/// What an observation needs besides the request.
pub(crate) struct Observer<'a> {
    /// The tenants that the request began with.
    pub(crate) tenants: &'a Tenants,
    /// The tenants as they are now.
    pub(crate) current: &'a ArcSwap<Tenants>,
    pub(crate) budgets: &'a BufferBudgets,
}

/// A request as it is forwarded, and what graphward would have done with it.
pub(crate) struct Observed {
    pub(crate) outbound: OutboundRequest,
    pub(crate) body: Body,
    /// The tenant that it names, or one without a token.
    pub(crate) tenant: Tenant,
    /// Whether graphward could have sent it a second time.
    pub(crate) is_replayable: bool,
    pub(crate) observation: Observation,
    /// The rules that would allow its calls.
    pub(crate) rules: RulesOfCalls,
}

/// What can be read in the body of a request.
#[derive(Default)]
struct BodyFindings {
    /// Whether graphward would change it.
    is_changed: bool,
    calls: Calls,
}

// === impl Observer ===

impl Observer<'_> {
    /// Receives a request, and finds out what graphward would do with it. Its signs name the tenant in the head; they are `None` if
    /// there is one tenant only.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of a request that cannot be forwarded.
    pub(crate) async fn observe(
        &self,
        head: Parts,
        incoming: Incoming,
        security: TransportSecurity,
        mut signs: Option<Box<RequestSigns>>,
        record: &mut RequestRecord,
    ) -> Result<Observed, Refusal> {
        let settings = &self.tenants.settings;
        let outbound = OutboundRequest::unchanged(head.clone(), settings)?;
        record.target = Some(outbound.target.clone());
        let in_parameters = signs.as_mut().map(|signs| &mut signs.parameters);
        let cleaned = OutboundRequest::from_app(head, security, settings, in_parameters);
        // A body that does not fit in memory is streamed, and not read.
        let in_memory_only = HealConfig {
            spool: Spool::Off,
            ..settings.heal.clone()
        };
        let received = buffer::receive(incoming, &in_memory_only, settings.idle_timeout, self.budgets, None).await?;
        let BufferedBody { body, replay, .. } = received;
        outbound.check_length(&body)?;

        let mut observation = Observation::default();
        let judged = cleaned.and_then(|cleaned| {
            let findings = match body.held_bytes() {
                Some(HeldBytes::InMemory(Some(bytes))) => {
                    read_body(&cleaned, bytes, signs.as_deref_mut(), record.metrics())?
                }
                Some(HeldBytes::InMemory(None) | HeldBytes::OnDisk(_)) | None => BodyFindings::default(),
            };
            observation.replaces = cleaned.replaces_credential() || findings.is_changed;
            observation.injects = cleaned.uses_tenant_credential() && !observation.replaces;
            let mut calls = cleaned.calls_of_head();
            calls.add(findings.calls);
            Ok((cleaned, calls))
        });
        let routed = self.tenants.route_observed(signs.as_deref()).map_err(Refusal::Route);
        let looked_up = match self.tenants.look_up_unlisted(routed, signs.as_deref(), self.current) {
            Ok((_routed, looked_up)) => looked_up.await.and_then(Result::ok),
            Err(_refusal) => None,
        };
        let tenants = looked_up.as_deref().unwrap_or(self.tenants);
        let routed = tenants.route_observed(signs.as_deref());
        let tenant = routed.as_ref().map_or(&tenants.unnamed, |tenant| tenant);
        record.set_tenant(&tenant.telemetry);
        let mut of_calls = RulesOfCalls::unknown();
        let checked = judged.and_then(|(cleaned, calls)| {
            of_calls = RulesOfCalls::new(cleaned.method.as_str(), cleaned.target.path(), &calls);
            routed.clone().map_err(Refusal::Route)?;
            tenant.check_uid(record.peer_uid)?;
            cleaned.check_calls(&calls, tenant)
        });
        observation.refusal = checked.err();
        Ok(Observed {
            outbound,
            body,
            tenant: tenant.clone(),
            is_replayable: replay.is_some(),
            observation,
            rules: of_calls,
        })
    }
}

/// Reads what a body that is in memory says, as if it were cleaned.
fn read_body(
    cleaned: &OutboundRequest,
    body: Bytes,
    signs: Option<&mut RequestSigns>,
    metrics: &RequestMetrics,
) -> Result<BodyFindings, Refusal> {
    let Some(config) = cleaned.scrub_config(metrics) else {
        return Ok(BodyFindings::default());
    };
    let calls = find_calls(&config.format, &body)?;
    let (_cleaned, report) = scrub(&config.format, config.rules, body)?;
    if let (Some(signs), Some(in_body)) = (signs, report.signs) {
        signs.add_found(*in_body);
    }
    Ok(BodyFindings {
        is_changed: report.is_changed,
        calls,
    })
}

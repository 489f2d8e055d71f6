//! The links of one response that are rewritten, and the address that they get.

use bytes::Bytes;
use http::request::Parts;

use super::settings::{LinkRewriteConfig, Settings, TENANT_PREFIX};
use super::tenant::Authorization;
use crate::graph::host::MEDIA_HOST;
use crate::graph::links::{
    is_media_lookup, is_upload_step, rewrite_media_link, rewrite_paging_links, rewrite_upload_links,
};
use crate::net::TransportSecurity;
use crate::types::TenantId;

/// The links of a response that are rewritten, and what they are rewritten to.
#[derive(Debug)]
pub(crate) struct LinkRewrite {
    /// graphward as the app addressed it: `http://127.0.0.1:8080`; then the prefix of the tenant.
    base: String,
    /// The kinds of links.
    links: LinkRewriteConfig,
    /// The tenant that they name, if there are several.
    tenant: Option<TenantId>,
}

// === impl LinkRewrite ===

impl LinkRewrite {
    /// The links to rewrite in the response to a request. `None` if there are none, or if the app addressed a host of Graph's:
    /// then it uses graphward as a proxy, or under Graph's name, and Graph's links lead to graphward without a change.
    pub(crate) fn for_response_to(
        head: &Parts,
        authority: &str,
        host: &str,
        security: TransportSecurity,
        settings: &Settings,
    ) -> Option<Box<Self>> {
        let path = head.uri.path();
        let links = LinkRewriteConfig {
            media: settings.links.media && is_media_lookup(&head.method, path),
            uploads: settings.links.uploads && is_upload_step(&head.method, path),
            paging: settings.links.paging,
        };
        if !(links.media || links.uploads || links.paging) || settings.destinations.find(host).is_some() {
            return None;
        }
        let base = format!("{}://{authority}", security.scheme());
        Some(Box::new(Self {
            base,
            links,
            tenant: None,
        }))
    }

    /// Lets the links name the tenant, so that the next request needs no sign.
    pub(crate) fn name_tenant(&mut self, tenant: &TenantId) {
        self.base.push_str(TENANT_PREFIX);
        // The only character of a name that could be taken for the end of user information.
        self.base.push_str(&tenant.as_str().replace('@', "%40"));
        self.tenant = Some(tenant.clone());
    }

    /// Returns the text of a response with its links pointing at graphward; `None` if there is nothing to rewrite.
    pub(crate) fn apply(&self, text: &[u8], authorization: &Authorization<'_>) -> Option<Bytes> {
        let destinations = &authorization.tenant().settings.destinations;
        let credential = authorization.credential();
        let is_graph_host = |host: &str| destinations.find(host).is_some();
        // If the media host is not a destination, as with a fake Graph, the origin serves its downloads.
        let is_media_host = |host: &str| is_graph_host(host) || host.eq_ignore_ascii_case(MEDIA_HOST);
        let is_own_token = |decoded: &mut dyn Iterator<Item = u8>| {
            credential.is_some_and(|credential| credential.matches_token(decoded))
        };
        let base = &*self.base;
        // An app with a token of its own goes on with that one, and Graph's id stays as it is.
        let tenant = self.tenant.as_ref().filter(|_| credential.is_some());
        let LinkRewriteConfig { media, uploads, paging } = self.links;
        // No response is of both kinds.
        let single = match (media, uploads) {
            (true, _) => rewrite_media_link(text, base, &is_media_host),
            (false, true) => rewrite_upload_links(text, base, tenant.map(TenantId::as_str), &is_graph_host),
            (false, false) => None,
        };
        let text = single.as_deref().unwrap_or(text);
        let paging = paging.then(|| rewrite_paging_links(text, base, &is_graph_host, &is_own_token));
        paging.flatten().or(single)
    }
}

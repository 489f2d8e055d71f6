//! The labels of metrics: a tenant's name and values of closed lists.

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};

use crate::types::TenantId;

/// A tenant's name, absent from the metrics of the whole process, and label pairs with values of closed lists.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Labels<const N: usize> {
    tenant: Option<TenantId>,
    pairs: [(&'static str, &'static str); N],
}

// === impl Labels ===

impl Labels<0> {
    /// The labels of a tenant that has one such series.
    pub(super) fn only(tenant: &TenantId) -> Self {
        Self::new(tenant, [])
    }
}

impl<const N: usize> Labels<N> {
    pub(super) fn new(tenant: &TenantId, pairs: [(&'static str, &'static str); N]) -> Self {
        Self {
            tenant: Some(tenant.clone()),
            pairs,
        }
    }

    /// The labels of a series of the whole process.
    pub(super) const fn without_tenant(pairs: [(&'static str, &'static str); N]) -> Self {
        Self { tenant: None, pairs }
    }
}

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        let tenant = self.tenant.as_ref().map(|tenant| ("tenant", tenant.as_str()));
        for pair in tenant.iter().chain(&self.pairs) {
            pair.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

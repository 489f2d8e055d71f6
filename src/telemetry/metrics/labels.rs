//! Labels: a tenant's name and words of closed lists.

use std::fmt::Write as _;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};

use crate::types::TenantId;

/// A tenant's name, or none for what is the process's, and words of closed lists.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Labels<const N: usize> {
    tenant: Option<TenantId>,
    values: [&'static str; N],
    keys: [&'static str; N],
}

// === impl Labels ===

impl<const N: usize> Labels<N> {
    pub(super) fn new(tenant: &TenantId, keys: [&'static str; N], values: [&'static str; N]) -> Self {
        Self {
            tenant: Some(tenant.clone()),
            values,
            keys,
        }
    }

    /// Labels of what is the process's own.
    pub(super) const fn without_tenant(keys: [&'static str; N], values: [&'static str; N]) -> Self {
        Self {
            tenant: None,
            values,
            keys,
        }
    }
}

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        let pairs = self.keys.iter().copied().zip(self.values.iter().copied());
        let tenant = self.tenant.as_ref().map(|tenant| ("tenant", tenant.as_str()));
        for (name, value_text) in tenant.into_iter().chain(pairs) {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            key.write_str(name)?;
            let mut value = key.encode_label_value()?;
            value.write_str(value_text)?;
            value.finish()?;
        }
        Ok(())
    }
}

//! Labels: a tenant's name and words of closed lists.

use std::fmt::Write as _;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};

use crate::types::TenantId;

/// A tenant's name, or none for what is the process's, and words of closed lists.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Labels<const NAME: usize> {
    tenant: Option<TenantId>,
    words: [&'static str; NAME],
    names: [&'static str; NAME],
}

// === impl Labels ===

impl<const NAME: usize> Labels<NAME> {
    pub(super) fn new(
        tenant: &TenantId,
        names: [&'static str; NAME],
        words: [&'static str; NAME],
    ) -> Self {
        Self {
            tenant: Some(tenant.clone()),
            words,
            names,
        }
    }

    /// Labels of what is the process's own.
    pub(super) const fn of_process(
        names: [&'static str; NAME],
        words: [&'static str; NAME],
    ) -> Self {
        Self {
            tenant: None,
            words,
            names,
        }
    }
}

impl<const NAME: usize> EncodeLabelSet for Labels<NAME> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        let words = self.names.iter().copied().zip(self.words.iter().copied());
        let tenant = self
            .tenant
            .as_ref()
            .map(|tenant| ("tenant", tenant.as_str()));
        for (name, word) in tenant.into_iter().chain(words) {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            key.write_str(name)?;
            let mut value = key.encode_label_value()?;
            value.write_str(word)?;
            value.finish()?;
        }
        Ok(())
    }
}

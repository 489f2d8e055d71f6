//! The labels of metrics: a tenant's name and values of closed lists.

use std::fmt;

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};

/// The name of a label, and one of its values.
pub(super) type LabelPair = (&'static str, &'static str);

/// The labels of a series of the whole process: values of closed lists.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Labels<const N: usize>(pub(super) [LabelPair; N]);

/// The labels of a series of a tenant: its name, and values of closed lists.
#[derive(Debug)]
pub(super) struct TenantLabels<'a, const N: usize> {
    pub(super) tenant: &'a str,
    pub(super) pairs: [LabelPair; N],
}

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|pair| pair.encode(encoder.encode_label()))
    }
}

impl<const N: usize> EncodeLabelSet for TenantLabels<'_, N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("tenant", self.tenant).encode(encoder.encode_label())?;
        self.pairs
            .iter()
            .try_for_each(|pair| pair.encode(encoder.encode_label()))
    }
}

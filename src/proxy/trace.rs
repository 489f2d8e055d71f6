//! The trace that a request belongs to (W3C Trace Context), for its record. graphward forwards the headers unchanged.

use http::HeaderMap;

/// The id of a trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq, derive_more::Display)]
#[display("{_0:032x}")]
pub(crate) struct TraceId(u128);

// === impl TraceId ===

impl TraceId {
    /// Reads `traceparent`: a version, the id of the trace, that of the caller's span, and flags. `None` unless there is
    /// exactly one, which is valid.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("traceparent").iter();
        let (Some(only), None) = (values.next(), values.next()) else {
            return None;
        };
        let mut fields = only.to_str().ok()?.split('-');
        let mut field = |length: usize| {
            let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            fields
                .next()
                .filter(|field| field.len() == length && field.bytes().all(is_lower_hex))
        };
        let version = field(2)?;
        let trace = u128::from_str_radix(field(32)?, 16).ok()?;
        let (span, _flags) = (field(16)?, field(2)?);
        // A later version may have more fields.
        let is_valid =
            version != "ff" && trace != 0 && span != "0000000000000000" && (version != "00" || fields.next().is_none());
        is_valid.then_some(Self(trace))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn trace_of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("traceparent", HeaderValue::from_str(value).unwrap());
        }
        TraceId::of(&headers).map(|id| id.to_string())
    }

    #[test]
    fn the_trace_of_a_valid_header_is_read() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        for valid in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-of-a-later-version",
        ] {
            assert_eq!(trace_of(&[valid]).as_deref(), Some(id), "{valid}");
        }
        let small = "00-00000000000000000000000000000001-b7ad6b7169203331-01";
        assert_eq!(trace_of(&[small]).unwrap(), "00000000000000000000000000000001");
    }

    #[test]
    fn an_invalid_or_repeated_header_is_ignored() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_of(&[valid, valid]), None);
        for invalid in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "EAAG0af7651916cd43dd8448eb211c80319c",
        ] {
            assert_eq!(trace_of(&[invalid]), None, "{invalid}");
        }
    }
}

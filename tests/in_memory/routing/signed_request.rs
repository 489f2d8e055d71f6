//! Requests with signs of tenants in every place that has them.

use fastrand::Rng;
use graphward::tenants::SignKind;
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{IDS, NAMES};
use crate::support::{TestBody, request, sized, with};

/// Where a sign stands that is known before the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeadPlace {
    Listener,
    Prefix,
    Header,
    Authorization,
    Slot,
    PhoneNumberId,
    Id,
    Ids,
}

/// Where a sign of the body stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BodyPlace {
    Slot,
    PhoneNumberId,
    Id,
    Ids,
    /// In the URL of a batch item.
    ItemSlot,
    /// In the body of a batch item.
    ItemBodySlot,
    ItemPath,
    ItemIds,
    ItemBodyId,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BodyFormat {
    Empty,
    Json,
    Form,
    Multipart,
}

/// A request by its signs: the order of each list says nothing.
#[derive(Clone, Debug)]
pub(super) struct SignedRequest {
    /// The first segment of the path after the version.
    pub(super) subject: &'static str,
    pub(super) head: Vec<(HeadPlace, &'static str)>,
    format: BodyFormat,
    pub(super) body: Vec<(BodyPlace, &'static str)>,
}

// === impl SignedRequest ===

impl SignedRequest {
    pub(super) fn random(format: BodyFormat, rng: &mut Rng) -> Self {
        let mut head = Vec::new();
        for place in [
            HeadPlace::Listener,
            HeadPlace::Prefix,
            HeadPlace::Header,
            HeadPlace::Header,
            HeadPlace::Authorization,
            HeadPlace::Slot,
            HeadPlace::Slot,
            HeadPlace::PhoneNumberId,
            HeadPlace::Id,
            HeadPlace::Ids,
            HeadPlace::Ids,
        ] {
            if rng.u8(..6) == 0 {
                let values = values_of(place.kind());
                head.push((place, likely(&values, rng)));
            }
        }
        let mut body = Vec::new();
        for place in [
            BodyPlace::Slot,
            BodyPlace::Slot,
            BodyPlace::PhoneNumberId,
            BodyPlace::Id,
            BodyPlace::Ids,
            BodyPlace::ItemSlot,
            BodyPlace::ItemBodySlot,
            BodyPlace::ItemPath,
            BodyPlace::ItemIds,
            BodyPlace::ItemBodyId,
        ] {
            if format != BodyFormat::Empty && rng.u8(..6) == 0 {
                let values = values_of(place.kind());
                body.push((place, likely(&values, rng)));
            }
        }
        let subjects = ["", "me", likely(&IDS, rng)];
        Self {
            subject: subjects[rng.usize(..3)],
            head,
            format,
            body,
        }
    }

    /// The same request in another order.
    pub(super) fn shuffled(&self, rng: &mut Rng) -> Self {
        let mut other = self.clone();
        rng.shuffle(&mut other.head);
        rng.shuffle(&mut other.body);
        other
    }

    pub(super) fn to_request(&self) -> Request<TestBody> {
        let (mut path, mut query, mut headers) = (format!("/v25.0/{}", self.subject), Vec::new(), Vec::new());
        for (place, value) in &self.head {
            match place {
                HeadPlace::Listener => {}
                HeadPlace::Prefix => path.insert_str(0, &format!("/-/{value}")),
                HeadPlace::Header => headers.push(("X-Tenant-Id", (*value).to_owned())),
                HeadPlace::Authorization => headers.push(("authorization", format!("OAuth tenant:{value}"))),
                HeadPlace::Slot => query.push(format!("access_token=tenant%3A{value}")),
                HeadPlace::PhoneNumberId => query.push(format!("phone_number_id={value}")),
                HeadPlace::Id => query.push(format!("id={value}")),
                HeadPlace::Ids => query.push(format!("ids[]=7777,{value}")),
            }
        }
        query.push("fields=id".to_owned());
        headers.push(("x-app", "1".to_owned()));
        let (content_type, body) = self.encoded_body();
        let sent = request("POST", &format!("{path}?{}", query.join("&")), sized(body));
        headers.extend((self.format != BodyFormat::Empty).then(|| ("content-type", content_type.to_owned())));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        with(sent, &headers)
    }

    /// The tenant whose own the listener is that it is sent to.
    pub(super) fn listener(&self) -> Option<&'static str> {
        let listener = self.head.iter().find(|(place, _)| *place == HeadPlace::Listener)?;
        Some(listener.1)
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = SignKind> {
        let in_body = self.body.iter().map(|(place, _)| place.kind());
        self.head.iter().map(|(place, _)| place.kind()).chain(in_body)
    }

    /// The type of its body, and the body.
    fn encoded_body(&self) -> (&'static str, String) {
        let mut fields = vec![("a", "1".to_owned())];
        let mut items = vec![r#"{"method":"GET","relative_url":"me"}"#.to_owned()];
        for (place, value) in &self.body {
            match place {
                BodyPlace::Slot => fields.push(("access_token", format!("tenant:{value}"))),
                BodyPlace::PhoneNumberId => fields.push(("phone_number_id", (*value).to_owned())),
                BodyPlace::Id => fields.push(("id", (*value).to_owned())),
                BodyPlace::Ids => fields.push(("ids", format!("7777,{value}"))),
                BodyPlace::ItemSlot => items.push(item(&format!("me?access_token=tenant:{value}"))),
                BodyPlace::ItemBodySlot => items.push(format!(
                    r#"{{"body":"b=1&access_token=tenant%3A{value}","relative_url":"me/x","method":"POST"}}"#
                )),
                BodyPlace::ItemPath => items.push(item(&format!("v25.0/{value}/messages"))),
                BodyPlace::ItemIds => items.push(item(&format!("?a=b&ids={value}"))),
                BodyPlace::ItemBodyId => items.push(format!(
                    r#"{{"body":"b=1&phone_number_id={value}","relative_url":"me/x","method":"POST"}}"#
                )),
            }
        }
        let batch = format!("[{}]", items.join(","));
        // Before some fields, and after the others.
        fields.insert(fields.len() / 2, ("batch", batch));
        match self.format {
            BodyFormat::Empty => ("", String::new()),
            BodyFormat::Json => {
                let members = fields.iter().map(|(name, value)| match *name {
                    "batch" => format!("\"batch\":{value}"),
                    name => format!("\"{name}\":\"{value}\""),
                });
                let members = members.collect::<Vec<_>>().join(", ");
                ("application/json", format!("{{{members}}}"))
            }
            BodyFormat::Form => {
                let pairs = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
                let form = pairs.collect::<Vec<_>>().join("&");
                ("application/x-www-form-urlencoded", form)
            }
            BodyFormat::Multipart => {
                let parts = fields.iter().map(|(name, value)| {
                    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                });
                let form = parts.collect::<String>() + "--b--\r\n";
                ("multipart/form-data; boundary=b", form)
            }
        }
    }
}

/// One of these values, more often one of the first two: else nearly all signs would disagree.
fn likely(values: &[&'static str], rng: &mut Rng) -> &'static str {
    let most = if rng.u8(..4) == 0 { values.len() } else { 2 };
    values[rng.usize(..most)]
}

fn item(url: &str) -> String {
    format!(r#"{{"relative_url":"{url}","method":"GET"}}"#)
}

/// What a sign of this kind may be.
const fn values_of(kind: SignKind) -> [&'static str; 6] {
    match kind {
        SignKind::Listener | SignKind::Prefix | SignKind::Header | SignKind::TokenSlot => NAMES,
        SignKind::Object => IDS,
    }
}

/// The kind that is tried after this one: a new one does not compile until it is tried.
pub(super) const fn next_kind(kind: &SignKind) -> Option<SignKind> {
    match kind {
        SignKind::Listener => Some(SignKind::Prefix),
        SignKind::Prefix => Some(SignKind::Header),
        SignKind::Header => Some(SignKind::TokenSlot),
        SignKind::TokenSlot => Some(SignKind::Object),
        SignKind::Object => None,
    }
}

// === impl HeadPlace ===

impl HeadPlace {
    const fn kind(self) -> SignKind {
        match self {
            Self::Listener => SignKind::Listener,
            Self::Prefix => SignKind::Prefix,
            Self::Header => SignKind::Header,
            Self::Authorization | Self::Slot => SignKind::TokenSlot,
            Self::PhoneNumberId | Self::Id | Self::Ids => SignKind::Object,
        }
    }
}

impl BodyPlace {
    const fn kind(self) -> SignKind {
        match self {
            Self::Slot | Self::ItemSlot | Self::ItemBodySlot => SignKind::TokenSlot,
            Self::PhoneNumberId | Self::Id | Self::Ids | Self::ItemPath | Self::ItemIds | Self::ItemBodyId => {
                SignKind::Object
            }
        }
    }
}

//! The calls of the tenants' apps, at random: what each says of its tenant, and where.

use std::fmt::Write as _;

use fastrand::Rng;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::connections::{Door, Doors};
use super::tokens::{DEAD, TENANTS, name, phone};
use crate::support::Body;

/// A call of one tenant's app.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) kind: CallKind,
    /// The tenant whose phone number it names, unless it names none.
    pub(super) target: usize,
    /// What else names a tenant.
    pub(super) signs: Vec<(SignKind, usize)>,
    pub(super) door: Door,
    format: BodyFormat,
    /// What it sends, unlike every other one.
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CallKind {
    /// The only one that names no phone number.
    Me,
    Number,
    Ids,
    PhoneNumberId,
    Message,
    Batch,
    /// The upload of a file, whose URL is then looked up and followed.
    Media,
    /// A list, whose link to the next page is then followed.
    Templates,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BodyFormat {
    Json,
    Form,
    Multipart,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SignKind {
    Header,
    Bearer,
    Query,
    Prefix,
    Listener,
    /// `phone_number_id` in the query.
    PhoneNumberId,
    /// `ids` in the query.
    Ids,
    /// A token slot in the body.
    Body,
    /// A token slot in an item of a batch.
    ItemSlot,
    /// A phone number in a further item of a batch.
    ItemId,
    /// The header, beside a link that is followed. Without it, the link is followed with nothing.
    Link,
}

/// The fields of a body, and its file.
struct Content {
    fields: Vec<(&'static str, Value)>,
    file: Option<String>,
}

// === impl Call ===

impl Call {
    /// A random call for a tenant. A quarter has a sign of one more tenant.
    pub(super) fn random(target: usize, doors: &Doors, rng: &mut Rng) -> Self {
        let kind = CallKind::ALL[rng.usize(..CallKind::ALL.len())];
        let mut possible = kind.signs();
        possible.retain(|sign| *sign != SignKind::Listener || doors.sockets.is_some());
        let mut signs: Vec<_> = possible.iter().map(|kind| (*kind, target)).collect();
        signs.retain(|_| rng.u8(..4) == 0);
        if kind == CallKind::Me && signs.is_empty() {
            signs.push((SignKind::Header, target));
        }
        if rng.u8(..4) == 0 {
            let other = (target + rng.usize(1..TENANTS)) % TENANTS;
            let sign = possible[rng.usize(..possible.len())];
            signs.retain(|(kind, _)| *kind != sign);
            let is_only_sign = kind == CallKind::Me && signs.is_empty();
            signs.push((sign, if is_only_sign { target } else { other }));
        }
        let own = signs.iter().find(|(sign, _)| *sign == SignKind::Listener);
        let door = match own {
            Some((_, tenant)) => Door::Own(*tenant),
            // What comes through a tunnel is as Graph's own answer, with Graph's links.
            None if !kind.has_link() && rng.u8(..8) == 0 => Door::Tunnel,
            None => Door::Direct,
        };
        Self {
            signs,
            door,
            ..Self::plain(kind, target, rng)
        }
    }

    /// A call that names a tenant by its phone number, and by nothing else.
    pub(super) fn by_id(target: usize, rng: &mut Rng) -> Self {
        let kinds = [CallKind::Number, CallKind::Ids, CallKind::Message, CallKind::Batch];
        Self::plain(kinds[rng.usize(..kinds.len())], target, rng)
    }

    fn plain(kind: CallKind, target: usize, rng: &mut Rng) -> Self {
        let formats = [BodyFormat::Json, BodyFormat::Form, BodyFormat::Multipart];
        let format = if kind == CallKind::Media {
            BodyFormat::Multipart
        } else {
            formats[rng.usize(..formats.len())]
        };
        Self {
            kind,
            target,
            signs: Vec::new(),
            door: Door::Direct,
            format,
            text: format!("{:016x}", rng.u64(..)),
        }
    }

    /// The one tenant that its request is for; `None` if it names two.
    pub(super) fn tenant(&self) -> Option<usize> {
        let target = (self.kind != CallKind::Me).then_some(self.target);
        let in_request = self.signs.iter().filter(|(kind, _)| *kind != SignKind::Link);
        let mut named = in_request.map(|(_, tenant)| *tenant).chain(target);
        let first = named.next()?;
        named.all(|other| other == first).then_some(first)
    }

    /// The tenant that the header beside its link names, if there is one.
    pub(super) fn link_sign(&self) -> Option<usize> {
        let sign = self.signs.iter().find(|(kind, _)| *kind == SignKind::Link);
        sign.map(|(_, tenant)| *tenant)
    }

    /// The text that Graph accepts from it.
    pub(super) fn message(&self) -> Option<&str> {
        let is_sent = self.tenant().is_some_and(|tenant| tenant >= DEAD);
        (self.kind == CallKind::Message && is_sent).then_some(&*self.text)
    }

    /// The place of a sign, for the statistics.
    pub(super) fn place(&self, sign: SignKind) -> String {
        match (sign, self.door) {
            (SignKind::Body, _) => format!("{sign:?} {:?}", self.format),
            (SignKind::Bearer, Door::Tunnel) => format!("{sign:?} {:?}", self.door),
            _ => format!("{sign:?}"),
        }
    }

    pub(super) fn request(&self) -> Request<Body> {
        let id = phone(self.target);
        let (method, mut path) = match self.kind {
            CallKind::Me => ("GET", "/v26.0/me?fields=id,name".to_owned()),
            CallKind::Number => ("GET", format!("/v26.0/{id}?fields=id")),
            CallKind::Ids => ("GET", format!("/v26.0/?ids={id}")),
            CallKind::PhoneNumberId => ("GET", format!("/v26.0/me?fields=id,name&phone_number_id={id}")),
            CallKind::Message => ("POST", format!("/v26.0/{id}/messages?x=1")),
            CallKind::Batch => ("POST", "/v26.0/?x=1".to_owned()),
            CallKind::Media => ("POST", format!("/v26.0/{id}/media?x=1")),
            CallKind::Templates => ("GET", format!("/v26.0/{id}/message_templates?limit=20")),
        };
        let mut content = self.content();
        let mut request = Request::builder().method(method);
        for (kind, tenant) in &self.signs {
            let slot = format!("tenant:{}", name(*tenant));
            match kind {
                SignKind::Header => request = request.header("x-tenant-id", name(*tenant)),
                SignKind::Bearer => request = request.header("authorization", format!("Bearer {slot}")),
                SignKind::Query => write!(path, "&access_token={slot}").unwrap(),
                SignKind::Prefix => path.insert_str(0, &format!("/-/{}", name(*tenant))),
                SignKind::PhoneNumberId => write!(path, "&phone_number_id={}", phone(*tenant)).unwrap(),
                SignKind::Ids => write!(path, "&ids={}", phone(*tenant)).unwrap(),
                SignKind::Body => content.fields.push(("access_token", json!(slot))),
                SignKind::Listener | SignKind::ItemSlot | SignKind::ItemId | SignKind::Link => {}
            }
        }
        let (content_type, body) = content.encode(self.format);
        if !body.is_empty() {
            request = request.header("content-type", content_type);
        }
        request.uri(path).body(Full::from(body).boxed()).unwrap()
    }

    fn content(&self) -> Content {
        let fields = match self.kind {
            CallKind::Me | CallKind::Number | CallKind::Ids | CallKind::PhoneNumberId | CallKind::Templates => {
                Vec::new()
            }
            CallKind::Media => vec![("messaging_product", json!("whatsapp"))],
            CallKind::Message => vec![
                ("messaging_product", json!("whatsapp")),
                ("to", json!("15550100200")),
                ("type", json!("text")),
                ("text", json!({"body": self.text})),
            ],
            CallKind::Batch => vec![("batch", self.items())],
        };
        let file = (self.kind == CallKind::Media).then(|| self.text.clone());
        Content { fields, file }
    }

    /// The items of a batch, each of which reads a phone number.
    fn items(&self) -> Value {
        let read = |tenant: usize| format!("v26.0/{}?fields=id", phone(tenant));
        let mut urls = vec![read(self.target), read(self.target)];
        for (kind, tenant) in &self.signs {
            if *kind == SignKind::ItemSlot {
                write!(urls[1], "&access_token=tenant:{}", name(*tenant)).unwrap();
            } else if *kind == SignKind::ItemId {
                urls.push(read(*tenant));
            }
        }
        let items = urls
            .into_iter()
            .map(|url| json!({"method": "GET", "relative_url": url}));
        items.collect()
    }
}

// === impl CallKind ===

impl CallKind {
    const ALL: [Self; 8] = [
        Self::Me,
        Self::Number,
        Self::Ids,
        Self::PhoneNumberId,
        Self::Message,
        Self::Batch,
        Self::Media,
        Self::Templates,
    ];

    /// Whether its answer has a link that is followed.
    pub(super) const fn has_link(self) -> bool {
        matches!(self, Self::Media | Self::Templates)
    }

    /// The signs that it can have besides its phone number.
    fn signs(self) -> Vec<SignKind> {
        let mut signs = vec![
            SignKind::Header,
            SignKind::Bearer,
            SignKind::Query,
            SignKind::Prefix,
            SignKind::Listener,
            SignKind::PhoneNumberId,
            SignKind::Ids,
        ];
        match self {
            Self::Me | Self::Number | Self::Ids | Self::PhoneNumberId => {}
            Self::Message => signs.push(SignKind::Body),
            Self::Batch => signs.extend([SignKind::Body, SignKind::ItemSlot, SignKind::ItemId]),
            Self::Media => signs.extend([SignKind::Body, SignKind::Link]),
            Self::Templates => signs.push(SignKind::Link),
        }
        signs
    }
}

// === impl Content ===

impl Content {
    /// Its type, and the body.
    fn encode(self, format: BodyFormat) -> (&'static str, String) {
        let Self { fields, file } = self;
        if fields.is_empty() {
            return ("", String::new());
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match format {
            BodyFormat::Json => {
                let members = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
                let object = members.collect::<Map<_, _>>();
                ("application/json", Value::Object(object).to_string())
            }
            BodyFormat::Form => {
                let pairs = fields.iter().map(|(name, value)| {
                    let value = text(value);
                    format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC))
                });
                let form = pairs.collect::<Vec<_>>().join("&");
                ("application/x-www-form-urlencoded", form)
            }
            BodyFormat::Multipart => {
                let part = |name: &str, value: &str| {
                    format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
                };
                let parts = fields.iter().map(|(name, value)| part(name, &text(value)));
                let mut form: String = parts.collect();
                if let Some(file) = file {
                    let name = "file; filename=\"a.png\"\r\nContent-Type: image/png";
                    form.push_str(&part(name, &file));
                }
                ("multipart/form-data; boundary=b", form + "--b--\r\n")
            }
        }
    }
}

//! Which tenant a request is for, wherever its signs stand, and in whatever order.

use std::collections::BTreeSet;
use std::iter::successors;
use std::time::Duration;

use fastrand::Rng;
use graphward::config::{Config, EnvVars, Overrides};
use graphward::tenants::SignKind;
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::sleep;

use crate::support::{FIRST_TOKEN, ScriptedTable, TestBody, TestProxy, TestProxyBuilder, request, sized, with};

pub(crate) const ACME_TOKEN: &str = "EAAacme0token0of0the0tests";
pub(crate) const SHOP_TOKEN: &str = "EAAshop0token0of0the0tests";
const GONE_TOKEN: &str = "EAAgone0token0of0the0tests";
/// Names of tenants: `gone` was withdrawn, and the last two have never been there.
const NAMES: [&str; 6] = ["acme", "shop", "gone", "default", "Acme", "other"];
/// Ids: `acme` has 1001 and 1002, `shop` 2001, both claim 9001, `gone` has 4001, and no tenant the last one.
const IDS: [&str; 6] = ["1001", "1002", "2001", "9001", "4001", "7777"];
/// The requests that are tried with each body, each in several orders.
const REQUESTS: usize = 80;
const ORDERS: usize = 3;

/// Where a sign stands that is known before the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum HeadPlace {
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
enum BodyPlace {
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
enum BodyFormat {
    Empty,
    Json,
    Form,
    Multipart,
}

/// A request by its signs: the order of each list says nothing.
#[derive(Clone, Debug)]
struct SignedRequest {
    /// The first segment of the path after the version.
    subject: &'static str,
    head: Vec<(HeadPlace, &'static str)>,
    format: BodyFormat,
    body: Vec<(BodyPlace, &'static str)>,
}

/// What becomes of a request: the token that Graph sees, or the status and the code of the refusal.
type Outcome = Result<&'static str, (u16, i64)>;

fn is_id(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit())
}

// === impl SignedRequest ===

impl SignedRequest {
    fn random(format: BodyFormat, rng: &mut Rng) -> Self {
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
    fn shuffled(&self, rng: &mut Rng) -> Self {
        let mut other = self.clone();
        rng.shuffle(&mut other.head);
        rng.shuffle(&mut other.body);
        other
    }

    fn to_request(&self) -> Request<TestBody> {
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
    fn listener(&self) -> Option<&'static str> {
        let listener = self.head.iter().find(|(place, _)| *place == HeadPlace::Listener)?;
        Some(listener.1)
    }

    fn kinds(&self) -> impl Iterator<Item = SignKind> {
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
        // Before some fields, and behind the others.
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

    /// The rule, written down a second time: first of what the head says, and of everything if the head does not refuse it.
    fn expected(&self, default: Option<&'static str>) -> Outcome {
        let in_head = self.head.iter().map(|(_, value)| *value).chain([self.subject]);
        let by_head = outcome_of(in_head.clone(), default);
        if by_head.is_err_and(|refusal| refusal != UNNAMED) {
            return by_head;
        }
        outcome_of(in_head.chain(self.body.iter().map(|(_, value)| *value)), default)
    }
}

const UNNAMED: (u16, i64) = (400, 990_024);

/// What a set of signs means, in which numbers are ids.
fn outcome_of(signs: impl Iterator<Item = &'static str>, default: Option<&'static str>) -> Outcome {
    let mut tenants = BTreeSet::new();
    for sign in signs.filter(|sign| !["", "me"].contains(sign)) {
        match sign {
            "1001" | "1002" | "acme" => tenants.insert("acme"),
            "2001" | "shop" => tenants.insert("shop"),
            "4001" | "gone" => tenants.insert("gone"),
            "default" if default.is_some() => tenants.insert("default"),
            id if is_id(id) => false,
            _unknown => return Err((404, 990_025)),
        };
    }
    match *tenants.into_iter().collect::<Vec<_>>() {
        [] => default.ok_or(UNNAMED),
        ["acme"] => Ok(ACME_TOKEN),
        ["shop"] => Ok(SHOP_TOKEN),
        ["default"] => Ok(FIRST_TOKEN),
        [_gone] => Err((403, 990_026)),
        _ => Err((403, 990_027)),
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
const fn next_kind(kind: &SignKind) -> Option<SignKind> {
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

/// A proxy with the tenants of a table, of which one is withdrawn, and perhaps with one for requests without a sign.
pub(crate) async fn start(builder: TestProxyBuilder) -> TestProxy {
    let table = ScriptedTable::default();
    table.set("acme", ACME_TOKEN, &["1001", "1002", "9001"]);
    table.set("shop", SHOP_TOKEN, &["2001", "9001"]);
    table.set("gone", GONE_TOKEN, &["4001"]);
    let proxy = builder
        .with(|config| config.routing.header = Some("x-tenant-id".to_owned()))
        .with_listeners_of(&NAMES)
        .with_table(table.clone())
        .start()
        .await;
    for token in [ACME_TOKEN, SHOP_TOKEN, GONE_TOKEN] {
        proxy.graph.accept(token);
    }
    table.remove("gone");
    table.announce();
    sleep(Duration::from_secs(4)).await;
    proxy
}

/// Sends a request; returns what becomes of it.
async fn outcome(proxy: &TestProxy, signed: &SignedRequest) -> Result<String, (u16, i64)> {
    let attempts = proxy.graph.attempts();
    let app = signed
        .listener()
        .map_or(&proxy.app, |tenant| &proxy.tenant_apps[tenant]);
    let response = app.fetch(signed.to_request()).await;
    let was_sent = proxy.graph.attempts() - attempts;
    if response.status != 200 {
        assert_eq!(was_sent, 0, "{signed:?}");
        return Err((response.status, response.code()));
    }
    assert_eq!(was_sent, 1, "{signed:?}");
    let seen = proxy.graph.last_request();
    let body = String::from_utf8(seen.body.clone().unwrap().to_vec()).unwrap();
    let sent = format!("{} {body}", seen.target());
    assert!(!sent.contains("tenant") && !sent.contains("/-/"), "{signed:?}: {sent}");
    assert!(seen.all("x-tenant-id").is_empty(), "{signed:?}");
    let authorization = seen.all("authorization");
    let token = authorization[0].split_once(' ').unwrap().1;
    assert_eq!(authorization.len(), 1);
    Ok(token.to_owned())
}

/// Tries random requests; returns how many were sent with each token, and refused for each reason.
async fn try_requests(proxy: &TestProxy, default: Option<&'static str>) -> BTreeSet<Outcome> {
    let (mut outcomes, mut tried) = (BTreeSet::new(), BTreeSet::new());
    for (seed, format) in [
        BodyFormat::Empty,
        BodyFormat::Json,
        BodyFormat::Form,
        BodyFormat::Multipart,
    ]
    .into_iter()
    .enumerate()
    {
        let mut rng = Rng::with_seed(seed as u64);
        for _ in 0..REQUESTS {
            let mut signed = SignedRequest::random(format, &mut rng);
            tried.extend(signed.kinds());
            let expected = signed.expected(default);
            for _ in 0..ORDERS {
                let outcome = outcome(proxy, &signed).await;
                assert_eq!(outcome, expected.map(str::to_owned), "{signed:?}");
                signed = signed.shuffled(&mut rng);
            }
            outcomes.insert(expected);
        }
    }
    assert_eq!(tried, successors(Some(SignKind::Listener), next_kind).collect());
    outcomes
}

const REFUSALS: [Outcome; 3] = [Err((403, 990_026)), Err((403, 990_027)), Err((404, 990_025))];

#[tokio::test(start_paused = true)]
async fn signs_in_all_places_lead_to_one_tenant_or_a_refusal_in_any_order() {
    let proxy = start(TestProxyBuilder::new()).await;
    let outcomes = try_requests(&proxy, Some(FIRST_TOKEN)).await;
    let tokens = [ACME_TOKEN, FIRST_TOKEN, SHOP_TOKEN].map(Ok);
    assert_eq!(outcomes, tokens.into_iter().chain(REFUSALS).collect());
    proxy.shutdown().await;
}

/// A configuration without a tenant for requests that have no sign.
pub(crate) fn without_default() -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[tenants.further]\nsource = { env = \"FURTHER\" }\n").unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    Config::load(flags, &EnvVars::new()).unwrap().config
}

#[tokio::test(start_paused = true)]
async fn so_they_do_without_a_tenant_for_requests_that_have_no_sign() {
    let proxy = start(TestProxyBuilder::new().with(|config| *config = without_default())).await;
    let outcomes = try_requests(&proxy, None).await;
    let tokens = [ACME_TOKEN, SHOP_TOKEN].map(Ok);
    let expected = tokens.into_iter().chain(REFUSALS).chain([Err(UNNAMED)]);
    assert_eq!(outcomes, expected.collect());
    proxy.shutdown().await;
}

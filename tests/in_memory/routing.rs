//! Which tenant a request is for, wherever its signs stand, and in whatever order.

mod signed_request;

use std::collections::BTreeSet;
use std::iter::successors;
use std::time::Duration;

use fastrand::Rng;
use graphward::config::{Config, EnvVars, Overrides};
use graphward::tenants::SignKind;
use tokio::time::sleep;

use self::signed_request::{BodyFormat, SignedRequest, next_kind};
use crate::support::{FIRST_TOKEN, ScriptedTable, TestProxy, TestProxyBuilder};

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

/// What becomes of a request: the token that Graph sees, or the status and the code of the refusal.
type Outcome = Result<&'static str, (u16, i64)>;

fn is_id(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit())
}

// === impl SignedRequest ===

impl SignedRequest {
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
    let (mut tenants, mut is_claimed) = (BTreeSet::new(), false);
    for sign in signs.filter(|sign| !["", "me"].contains(sign)) {
        match sign {
            "1001" | "1002" | "acme" => tenants.insert("acme"),
            "2001" | "shop" => tenants.insert("shop"),
            "4001" | "gone" => tenants.insert("gone"),
            "default" if default.is_some() => tenants.insert("default"),
            // Both claim it: it names neither, and no other one may use it.
            "9001" => {
                is_claimed = true;
                false
            }
            id if is_id(id) => false,
            _unknown => return Err((404, 990_025)),
        };
    }
    match *tenants.into_iter().collect::<Vec<_>>() {
        [] => default.filter(|_| !is_claimed).ok_or(UNNAMED),
        ["default" | "gone"] if is_claimed => Err((403, 990_027)),
        ["acme"] => Ok(ACME_TOKEN),
        ["shop"] => Ok(SHOP_TOKEN),
        ["default"] => Ok(FIRST_TOKEN),
        [_gone] => Err((403, 990_026)),
        _ => Err((403, 990_027)),
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
    // An id that two tenants claim is not that of the default one.
    let expected = tokens.into_iter().chain(REFUSALS).chain([Err(UNNAMED)]);
    assert_eq!(outcomes, expected.collect());
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

#[tokio::test(start_paused = true)]
async fn a_request_that_names_no_tenant_is_told_the_ways_to_name_one_that_there_are() {
    let header = "in the header x-tenant-id, ";
    let others = "as tenant:NAME in the place of the token or in the path as /-/NAME/…, add an id in it to the ids of its tenant, or give";
    for with_header in [true, false] {
        let table = ScriptedTable::default();
        table.set("acme", ACME_TOKEN, &["1001"]);
        let builder = TestProxyBuilder::new().with(|config| {
            config.has_default_tenant = false;
            config.routing.header = with_header.then(|| "X-Tenant-Id".to_owned());
        });
        let proxy = builder.with_table(table).start().await;
        let unnamed = proxy.app.get("/v25.0/77/messages").await;
        assert_eq!((unnamed.status, unnamed.code()), UNNAMED);
        let told = unnamed.text();
        assert!(told.contains(others), "{told}");
        assert_eq!(told.contains(header), with_header, "{told}");
        assert_eq!(told.contains("header"), with_header, "{told}");
        proxy.shutdown().await;
    }
}

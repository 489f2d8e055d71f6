//! Routing: total, deterministic, and independent of the order of the signs.

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::super::directory::DirectoryBuilder;
use super::super::roster::CONFIRMATION_INTERVAL;
use super::*;

/// All kinds of signs. A new one does not compile until it has its place among them.
fn kinds() -> Vec<SignKind> {
    use SignKind::{Header, Listener, Object, Prefix, TokenSlot};
    let next = |kind: &SignKind| match kind {
        Listener => Some(Prefix),
        Prefix => Some(Header),
        Header => Some(TokenSlot),
        TokenSlot => Some(Object),
        Object => None,
    };
    std::iter::successors(Some(Listener), next).collect()
}

fn add(builder: &mut DirectoryBuilder<()>, name: &str, standing: Standing, object_ids: &[&str]) {
    let entry = Entry {
        id: TenantId::new(name).unwrap(),
        object_ids: object_ids.iter().copied().map(Arc::from).collect(),
        standing,
        tenant: (),
    };
    builder.add(Arc::new(entry)).unwrap();
}

/// `acme` owns 1 and 2, `shop` owns 3, both claim 9; `gone` is inactive, and had 4. `acme` had 5, and 6 a moment ago; 7 is in a row
/// that is not used yet.
fn directory(with_default: bool) -> Directory<()> {
    let mut builder = Directory::builder();
    add(&mut builder, "acme", Standing::Active, &["1", "2", "9"]);
    add(&mut builder, "shop", Standing::Active, &["3", "9"]);
    add(&mut builder, "gone", Standing::Inactive, &[]);
    if with_default {
        add(&mut builder, "default", Standing::Active, &[]);
        builder.set_default_tenant(&TenantId::default());
    }
    let mut directory = builder.build();
    let (acme, gone) = (TenantId::new("acme").unwrap(), TenantId::new("gone").unwrap());
    directory.reserve(&"4".into(), Unowned::former(vec![gone], None));
    directory.reserve(&"5".into(), Unowned::former(vec![acme.clone()], None));
    directory.reserve(&"6".into(), Unowned::former(vec![acme], Some(Instant::now())));
    directory.reserve(&"7".into(), Unowned::withheld(TenantId::new("later").unwrap()));
    directory
}

fn routed(directory: &Directory<()>, signs: &[(SignKind, &str)]) -> Result<String, RouteError> {
    let signs = signs.iter().map(|(kind, value)| Sign { kind: *kind, value });
    route(directory, signs).map(|route| route.entry.id.to_string())
}

#[test]
fn each_kind_of_sign_names_a_tenant_and_all_of_them_may_agree() {
    let directory = directory(false);
    let value = |kind| if kind == SignKind::Object { "1" } else { "acme" };
    let mut all: Vec<_> = kinds().into_iter().map(|kind| (kind, value(kind))).collect();
    for sign in &all {
        assert_eq!(routed(&directory, &[*sign]).unwrap(), "acme");
    }
    all.push((SignKind::Object, "2"));
    assert_eq!(routed(&directory, &all).unwrap(), "acme");
}

#[test]
fn signs_that_disagree_are_refused_whichever_they_are() {
    use SignKind::{Header, Object, TokenSlot};
    let directory = directory(true);
    for signs in [
        [(Header, "acme"), (TokenSlot, "shop")],
        [(Header, "shop"), (Object, "1")],
        [(Object, "1"), (Object, "3")],
        [(TokenSlot, "acme"), (TokenSlot, "shop")],
        [(Header, "default"), (Object, "1")],
        [(Header, "acme"), (Object, "4")],
    ] {
        let error = routed(&directory, &signs).unwrap_err();
        assert!(matches!(error, RouteError::Disagreement { .. }), "{signs:?}: {error}");
    }
    let error = routed(&directory, &[(Object, "3"), (Header, "acme")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the tenant header names the tenant acme, but an id in the request the tenant shop: all that a request says must agree"
    );
    for (kind, [first, second], words) in [
        (
            Header,
            ["acme", "shop"],
            "the tenant header names the tenant acme, but another one the tenant shop",
        ),
        (
            Object,
            ["1", "3"],
            "an id in the request names the tenant acme, but another one the tenant shop",
        ),
    ] {
        let error = routed(&directory, &[(kind, first), (kind, second)]).unwrap_err();
        assert!(error.to_string().starts_with(words), "{error}");
    }
}

#[test]
fn an_id_of_no_tenant_and_one_of_two_are_no_signs() {
    let directory = directory(false);
    assert_eq!(
        routed(&directory, &[(SignKind::Object, "9"), (SignKind::Header, "shop")]).unwrap(),
        "shop"
    );
    for id in ["9", "77", "", "acme"] {
        assert_eq!(
            routed(&directory, &[(SignKind::Object, id)]),
            Err(RouteError::Unnamed),
            "{id}"
        );
    }
}

#[test]
fn requests_without_a_sign_have_a_tenant_only_if_default_is_configured() {
    assert_eq!(routed(&directory(false), &[]), Err(RouteError::Unnamed));
    assert_eq!(routed(&directory(true), &[]).unwrap(), "default");
    assert_eq!(
        routed(&directory(true), &[(SignKind::Object, "77")]).unwrap(),
        "default"
    );
}

#[test]
fn an_unknown_name_is_refused_even_beside_a_known_one_and_an_inactive_tenant_is_named() {
    let directory = directory(true);
    let error = routed(&directory, &[(SignKind::Object, "1"), (SignKind::Header, "acmee")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the tenant header names the tenant \"acmee\", which does not exist: correct the name, or configure it"
    );
    let error = routed(&directory, &[(SignKind::Object, "4")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the tenant gone was deactivated, withdrawn, or removed from the configuration"
    );
}

#[test]
fn an_id_that_a_tenant_had_is_refused_for_now_or_for_good_and_no_obstacle_for_one_that_may_have_it() {
    use SignKind::{Header, Object};
    let directory = directory(true);
    let error = |signs: &[(SignKind, &str)]| routed(&directory, signs).unwrap_err();
    let acme = TenantId::new("acme").unwrap();
    assert_eq!(error(&[(Object, "5")]), RouteError::Former(acme));
    assert_eq!(error(&[(Object, "6")]), RouteError::Undecided);
    assert_eq!(error(&[(Object, "7")]), RouteError::Undecided);
    assert_eq!(error(&[(Object, "5"), (Object, "7")]), RouteError::Undecided);
    assert_eq!(error(&[(Header, "shop"), (Object, "6")]), RouteError::Undecided);
    for (name, id) in [("acme", "5"), ("shop", "5"), ("acme", "6")] {
        assert_eq!(routed(&directory, &[(Header, name), (Object, id)]).unwrap(), name);
    }
    assert_eq!(
        RouteError::Undecided.to_string(),
        "no tenant has an id in the request at the moment, or two have it, because tenants_from has changed: it is being read again. \
         Retry the request"
    );
}

/// The tenants of a directory, with what they have. A name may be there twice: then the first counts.
#[derive(Clone, Debug)]
struct Plan(Vec<(String, Standing, Vec<String>)>);

const NAMES: [&str; 4] = ["acme", "shop", "third", "default"];
const IDS: [&str; 4] = ["1", "2", "3", "4"];
/// The id of a row of `acme` that is not used yet.
const WITHHELD: &str = "5";
const TOKEN: &str = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";

fn plans() -> impl Strategy<Value = Plan> {
    let standing = prop::sample::select(vec![
        Standing::Active,
        Standing::Active,
        Standing::Missing,
        Standing::Inactive,
    ]);
    let ids = prop::sample::subsequence(IDS.map(str::to_owned).to_vec(), 0..=3);
    let tenant = (prop::sample::select(NAMES.map(str::to_owned).to_vec()), standing, ids);
    vec(tenant, 0..5).prop_map(|tenants| {
        let mut names = std::collections::HashSet::new();
        let first = tenants.into_iter().filter(|(name, ..)| names.insert(name.clone()));
        let ids_of = |standing, ids| {
            if standing == Standing::Inactive {
                Vec::new()
            } else {
                ids
            }
        };
        Plan(
            first
                .map(|(name, standing, ids)| (name, standing, ids_of(standing, ids)))
                .collect(),
        )
    })
}

/// The signs of a request, in any order.
fn signs() -> impl Strategy<Value = Vec<Sign<'static>>> {
    let values = [&NAMES[..], &IDS, &IDS, &[WITHHELD, "", "/", TOKEN]].concat();
    let sign = (prop::sample::select(kinds()), prop::sample::select(values));
    vec(sign.prop_map(|(kind, value)| Sign { kind, value }), 0..6)
}

// === impl Plan ===

impl Plan {
    fn directory(&self) -> Directory<()> {
        let mut builder = Directory::builder();
        for (name, standing, ids) in &self.0 {
            add(
                &mut builder,
                name,
                *standing,
                &ids.iter().map(String::as_str).collect::<Vec<_>>(),
            );
        }
        builder.set_default_tenant(&TenantId::default());
        builder.build()
    }

    fn standing(&self, name: &str) -> Option<Standing> {
        self.0
            .iter()
            .find(|(other, ..)| other == name)
            .map(|(_, standing, _)| *standing)
    }

    fn has_usable(&self, name: &str) -> bool {
        self.standing(name)
            .is_some_and(|standing| standing != Standing::Inactive)
    }

    /// Those that have an id: the active ones, or else those that are missing.
    fn holders(&self, id: &str) -> Vec<&str> {
        let of = |wanted: Standing| {
            let tenants = self
                .0
                .iter()
                .filter(move |(_, standing, ids)| *standing == wanted && ids.iter().any(|it| it == id));
            tenants.map(|(name, ..)| name.as_str()).collect::<Vec<_>>()
        };
        Some(of(Standing::Active))
            .filter(|names| !names.is_empty())
            .unwrap_or_else(|| of(Standing::Missing))
    }

    /// The rule, written down a second time: the tenant of a request, or the reason why it has no tenant. A second read may have
    /// decided what has changed since the directory `before`.
    fn expected(&self, before: &Self, is_decided: bool, signs: &[Sign<'_>]) -> Result<String, &'static str> {
        let (mut named, mut undecided, mut claims) = (std::collections::BTreeSet::new(), Vec::new(), Vec::new());
        let mut former = Vec::new();
        for sign in signs {
            if sign.kind != SignKind::Object {
                self.standing(sign.value).ok_or("unknown")?;
                named.insert(sign.value);
                continue;
            }
            match (&*self.holders(sign.value), &*before.holders(sign.value)) {
                ([], []) if sign.value == WITHHELD => undecided.push(vec!["acme"]),
                ([owner], _) => {
                    named.insert(*owner);
                }
                ([], []) => {}
                ([], owners) if is_decided || !owners.iter().any(|owner| self.has_usable(owner)) => {
                    former.push(owners.to_vec());
                }
                (owners, [_, _, ..]) if !owners.is_empty() => claims.push(owners.to_vec()),
                (owners @ [_, _, ..], _) if is_decided => claims.push(owners.to_vec()),
                ([], owners) | (owners, _) => undecided.push(owners.to_vec()),
            }
        }
        let named: Vec<_> = named.into_iter().collect();
        let is_foreign = |owners: &Vec<&str>| !named.iter().any(|name| owners.contains(name));
        let is_in_the_way =
            |owners: &Vec<&str>| is_foreign(owners) && !owners.iter().all(|owner| self.has_usable(owner));
        match &*named {
            [] if !undecided.is_empty() => Err("undecided"),
            [] if !former.is_empty() => match former.iter().flatten().min() {
                Some(owner) if self.has_usable(owner) => Err("former"),
                _ => Err("inactive"),
            },
            [] if !claims.is_empty() => Err("unnamed"),
            [] => match self.standing("default") {
                None => Err("unnamed"),
                Some(Standing::Inactive) => Err("inactive"),
                Some(Standing::Active | Standing::Missing) => Ok("default".to_owned()),
            },
            [_] if undecided.iter().any(is_foreign) => Err("undecided"),
            [_] if claims.iter().any(is_foreign) || former.iter().any(is_in_the_way) => Err("disagreement"),
            [name] if self.has_usable(name) => Ok((*name).to_owned()),
            [_] => Err("inactive"),
            [_, _, ..] => Err("disagreement"),
        }
    }
}

const fn word(error: &RouteError) -> &'static str {
    match error {
        RouteError::Unnamed => "unnamed",
        RouteError::Token(_) | RouteError::Unknown { .. } => "unknown",
        RouteError::Disagreement { .. } => "disagreement",
        RouteError::Undecided => "undecided",
        RouteError::Former(_) => "former",
        RouteError::Inactive(_) => "inactive",
    }
}

proptest! {
    // Most directories have no id that several tenants have lost.
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn routing_is_total_deterministic_and_independent_of_the_order_in_every_directory(
        before in plans(),
        now in plans(),
        is_decided in any::<bool>(),
        (signs, shuffled) in signs().prop_flat_map(|signs| (Just(signs.clone()), Just(signs).prop_shuffle())),
    ) {
        let mut directory = now.directory();
        directory.carry_over(&before.directory(), Some(Instant::now()), |_| false, |_| true);
        if is_decided {
            directory.confirm(Instant::now() + CONFIRMATION_INTERVAL);
        }
        directory.reserve(&WITHHELD.into(), Unowned::withheld(TenantId::new("acme").unwrap()));
        let route_of = |signs: &[Sign<'_>]| route(&directory, signs.iter().copied()).map(|route| route.entry.id.to_string());
        let routed = route_of(&signs);
        prop_assert_eq!(routed.clone().map_err(|error| word(&error)), now.expected(&before, is_decided, &signs));
        prop_assert_eq!(&routed, &route_of(&signs));
        prop_assert_eq!(&routed, &route_of(&shuffled));
        let shown = format!("{routed:?}");
        prop_assert!(!shown.contains(TOKEN));
    }
}

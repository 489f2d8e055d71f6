//! Routing: total, deterministic, and independent of the order of the signs.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::directory::DirectoryBuilder;
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

/// `acme` owns 1 and 2, `shop` owns 3, both claim 9; `gone` owns 4 and is inactive.
fn directory(with_default: bool) -> Directory<()> {
    let mut builder = Directory::builder();
    add(&mut builder, "acme", Standing::Active, &["1", "2", "9"]);
    add(&mut builder, "shop", Standing::Active, &["3", "9"]);
    add(&mut builder, "gone", Standing::Inactive, &["4"]);
    if with_default {
        add(&mut builder, "default", Standing::Active, &[]);
        builder.serve_unnamed(&TenantId::default());
    }
    builder.build()
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

/// The rule, written down a second time: the set of the tenants that are named.
fn expected(directory: &Directory<()>, signs: &[Sign<'_>]) -> Option<String> {
    let (mut named, mut is_claimed) = (Vec::new(), false);
    for sign in signs {
        is_claimed |= sign.kind == SignKind::Object && sign.value == "9";
        match (sign.kind, directory.find(sign.value), directory.owner_of(sign.value)) {
            (SignKind::Object, _, owner) => named.extend(owner),
            (_, Some(entry), _) => named.push(entry),
            (_, None, _) => return None,
        }
    }
    let names: std::collections::BTreeSet<_> = named.iter().map(|entry| entry.id.as_str()).collect();
    let name = match names.len() {
        0 => directory.fallback().filter(|_| !is_claimed)?.id.as_str(),
        1 => names.into_iter().next()?,
        _ => return None,
    };
    if is_claimed && !["acme", "shop"].contains(&name) {
        return None;
    }
    (name != "gone").then(|| name.to_owned())
}

proptest! {
    #[test]
    fn routing_is_total_deterministic_and_independent_of_the_order(
        with_default: bool,
        signs in vec((prop::sample::select(kinds()), prop::sample::select(vec!["acme", "shop", "gone", "default", "1", "2", "3", "4", "9", "9", "", "/"])), 0..6),
        rotation in 0..6_usize,
    ) {
        let directory = directory(with_default);
        let mut signs: Vec<_> = signs.iter().map(|(kind, value)| Sign { kind: *kind, value }).collect();
        let route_of = |signs: &[Sign<'_>]| route(&directory, signs.iter().copied()).map(|route| route.entry.id.to_string());
        let routed = route_of(&signs);
        prop_assert_eq!(routed.clone().ok(), expected(&directory, &signs));
        prop_assert_eq!(&routed, &route_of(&signs));
        let middle = rotation.min(signs.len());
        signs.rotate_left(middle);
        prop_assert_eq!(&routed, &route_of(&signs));
        signs.reverse();
        prop_assert_eq!(&routed, &route_of(&signs));
    }
}

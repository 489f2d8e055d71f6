use super::world::{ADMIN, World, left, renewed, revived};
use crate::renew::Lasting;
use crate::sim::{Change, Effect, Endpoint, Fault, Grant, Kind};
use crate::token::Renewer as _;

#[tokio::test]
async fn a_token_is_minted_though_the_outgoing_one_is_dead() {
    let world = World::start().await;
    world.sim.accept(ADMIN, None);
    let old = world.sim.issue(None);
    world.sim.expire(&old);
    let new = revived(&mut world.mint(Lasting::Usual), &old)
        .await
        .unwrap();
    assert_eq!(new.expires_at, None, "for ever, or not known");
    let limited = revived(&mut world.mint(Lasting::SixtyDays), &old)
        .await
        .unwrap();
    let sixty_days = 60 * 24 * 60 * 60;
    assert!(
        left(&limited).unwrap().abs_diff(sixty_days) < 10,
        "it was asked for"
    );

    let calls = world.sim.calls();
    assert_eq!(
        (calls[0].method.as_str(), calls[0].proof),
        ("POST", "right")
    );
    assert_eq!(calls[0].target, "/122094563210074285/access_tokens");
    let asked = |call: usize| calls[call].parameters.iter().map(|(_, name)| name.as_str());
    let usual = ["business_app", "scope", "appsecret_proof", "access_token"];
    assert_eq!(asked(0).collect::<Vec<_>>(), usual);
    assert!(asked(1).any(|name| name == "set_token_expires_in_60_days"));
    assert!(
        !calls
            .iter()
            .any(|call| call.access_tokens.iter().any(|token| token.state == "dead"))
    );
}

#[tokio::test]
async fn who_may_not_mint_is_told_so() {
    let world = World::start().await;
    let mut mint = world.mint(Lasting::Usual);
    let error = renewed(&mut mint, "EAAold").await.unwrap_err();
    assert_eq!(
        (error.reason(), error.is_transient()),
        ("token_rejected", false)
    );
    assert!(error.to_string().contains("admin token"), "{error}");

    world.sim.accept(ADMIN, None);
    let page = Change {
        kind: Some(Kind::Page),
        ..Change::default()
    };
    assert!(world.sim.change(ADMIN, page));
    let error = renewed(&mut mint, "EAAold").await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("refused", false));

    world.sim.kill(ADMIN, crate::sim::Death::Checkpointed);
    let error = renewed(&mut mint, "EAAold").await.unwrap_err();
    assert!(
        error.to_string().contains("code 190, subcode 459"),
        "{error}"
    );

    let other = World::with(|settings| settings.app_secret = "f".repeat(32)).await;
    other.sim.accept(ADMIN, None);
    let error = renewed(&mut other.mint(Lasting::Usual), "EAAold")
        .await
        .unwrap_err();
    assert_eq!(
        (error.reason(), error.is_transient()),
        ("app_refused", false),
        "{error}"
    );
}

#[tokio::test]
async fn trouble_at_graphs_passes() {
    let world = World::start().await;
    world.sim.accept(ADMIN, None);
    let huge = Effect::Grant(Grant::Huge);
    let page = Effect::Page(http::StatusCode::INTERNAL_SERVER_ERROR);
    for (effect, reason) in [
        (huge, "too_long"),
        (page, "graph_error"),
        (Effect::Reset, "broken"),
    ] {
        world.sim.fault_on(Endpoint::Mint, Fault::once(effect));
        let error = renewed(&mut world.mint(Lasting::Usual), "EAAold")
            .await
            .unwrap_err();
        assert_eq!(
            (error.reason(), error.is_transient()),
            (reason, true),
            "{error}"
        );
    }
    assert_eq!(world.mint(Lasting::Usual).describe(), "mint");
    assert_eq!(world.sim.counts().mints, 3);
}

//! The comparison of a token that is put through the admin listener with the one in use.

use std::fs;

use fake_graph::{TokenChange, TokenType};

use crate::admin_changes::{Answer, LOCAL, document, send};
use crate::support::place::{APP, NUMBER, Place, targets, text};
use crate::support::{Sidecar, fingerprint, get, settings, together, wait_until};

fn put(sidecar: &Sidecar, query: &str, token: &str) -> Answer {
    send(
        sidecar.admin,
        &format!("PUT /admin/token{query}"),
        LOCAL,
        &document(token),
    )
}

/// The token in the file of the sidecar.
fn current(place: &Place) -> String {
    let text = fs::read_to_string(place.dir.path().join("token")).unwrap();
    text.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_kind_account_or_number_is_put_only_by_force() {
    let _turn = together().await;
    let place = Place::new().await;
    let issue = |change: TokenChange| {
        let token = place.graph.sim.issue(None);
        assert!(place.graph.sim.update_token(&token, change));
        token
    };
    let page = issue(TokenChange {
        kind: Some(TokenType::Page),
        ..targets("500")
    });
    let (account, like) = (issue(targets("600")), issue(targets("500")));
    let config = settings(
        &place.graph,
        "file = \"token\"",
        &format!("{APP}[check]\nphone_number_id = \"{NUMBER}\"\n"),
    );
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    sidecar.wait_until_uses(&place.graph, &place.token).await;
    let number = format!("number: none (current: {NUMBER})");
    for (candidate, words) in [
        (&page, &["kind: page (current: system user)"][..]),
        (&account, &["accounts: 600 (current: 500)", &number]),
    ] {
        for query in ["", "?tenant=default"] {
            let answer = put(&sidecar, query, candidate);
            assert_eq!(answer.status, 409, "{}", answer.text);
            let differences = answer.json()["error"]["differences"].as_str().unwrap().to_owned();
            for words in words {
                assert!(differences.contains(words), "{differences}");
            }
            assert!(answer.message().contains(&differences), "{}", answer.text);
            assert!(answer.message().contains("?force=yes"), "{}", answer.text);
            assert_eq!(current(&place), place.token);
        }
    }
    for query in ["?force=no", "?force", "?tenant=default&forced=yes"] {
        let answer = put(&sidecar, query, &account);
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
        assert!(answer.message().contains("force=yes"), "{}", answer.text);
    }
    assert_eq!(put(&sidecar, "?tenant=default", &like).status, 200);
    assert_eq!(current(&place), like);
    // The command compares and forces as the listener does.
    let running = config.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{}\"", sidecar.admin));
    place.write("running.toml", &running);
    let set = ["token", "set", "--config", "running.toml"];
    let refused = place.run(&set, &account);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--force"), "{}", text(&refused.stderr));
    assert_eq!(current(&place), like);
    let forced = place.run(&[&set[..], &["--force"]].concat(), &account);
    assert_eq!(forced.status.code(), Some(0), "{}", text(&forced.stderr));
    assert!(
        text(&forced.stdout).contains("by the sidecar"),
        "{}",
        text(&forced.stdout)
    );
    assert_eq!(current(&place), account);
    let answer = put(&sidecar, "?force=yes&tenant=default", &page);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["previous"], fingerprint(&account).as_str());
    assert_eq!(current(&place), page);
    sidecar
        .assert_reveals_none_of(&[&place.token, &page, &account, &like])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_could_not_be_compared_is_put_only_by_force() {
    let _turn = together().await;
    let place = Place::new().await;
    let like = place.graph.sim.issue(None);
    place.graph.sim.update_token(&like, targets("500"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = settings(&place.graph, "file = \"token\"", APP);
    let unreachable = config.replace(&place.graph.running.address.to_string(), &closed.to_string());
    for (verify, needs_force) in [("verify = true\n", true), ("verify = false\n", false)] {
        place.write("token", &place.token);
        let config = unreachable.replace("[app]", &format!("{verify}[app]"));
        let sidecar = Sidecar::start(place.dir.path(), &config).await;
        wait_until("the token is in use", async || {
            get(sidecar.admin, "/readyz").await.status == 200
        })
        .await;
        if needs_force {
            let answer = put(&sidecar, "", &like);
            assert_eq!(answer.status, 409, "{}", answer.text);
            assert!(answer.message().contains("they were not compared"), "{}", answer.text);
            assert_eq!(current(&place), place.token);
            assert_eq!(put(&sidecar, "?force=yes", &like).status, 200);
        } else {
            assert_eq!(put(&sidecar, "", &like).status, 200, "Graph is not asked about tokens");
        }
        assert_eq!(current(&place), like);
    }
}

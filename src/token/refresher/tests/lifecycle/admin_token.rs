//! The token that the renewer depends on.

use super::*;

/// A renewer that depends on a token.
struct MintingRenewer(Token);

impl Renewer for MintingRenewer {
    fn renew<'a>(&'a mut self, _request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(std::future::ready(Ok(token("minted"))))
    }

    fn own_token(&self) -> Option<&Token> {
        Some(&self.0)
    }

    fn describe(&self) -> String {
        "mint".to_owned()
    }
}

async fn start_minting(graph: &FakeInspector) -> RecordedAlerts {
    let file = FakeStore::writable("file");
    file.put(expiring("one", 600 * DAY));
    let provider = TokenProvider::from_source(file).with_inspector(graph.clone());
    let provider = provider.with_renewer(MintingRenewer(token("admin")));
    start(provider).await.1
}

#[tokio::test(start_paused = true)]
async fn it_is_inspected_at_the_start_and_daily_and_warned_about_before_it_expires() {
    let graph = FakeInspector::default();
    let inspection = Inspection {
        expires_at: Expiry::At(start_date() + 10 * DAY),
        ..Inspection::default()
    };
    graph.set("admin", inspection);
    let alerts = start_minting(&graph).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(alerts.causes(), [AlertCause::AdminTokenExpiry(14)]);
    tokio::time::sleep(9 * DAY + HOUR).await;
    let warned = [14, 7, 3, 1].map(AlertCause::AdminTokenExpiry);
    assert_eq!(alerts.causes(), warned);
    let text = alerts.text();
    assert!(
        text.contains("2024-10-14") && text.contains("token.renew.mint.token"),
        "{text}"
    );
    let calls = graph.calls().iter().filter(|call| *call == "admin").count();
    assert!((9..=12).contains(&calls), "{calls} in nine days");
}

#[tokio::test(start_paused = true)]
async fn that_graph_rejects_it_is_reported_once_and_before_a_renewal_fails() {
    let graph = FakeInspector::default();
    graph.set("admin", EXPIRED());
    let alerts = start_minting(&graph).await;
    tokio::time::sleep(3 * DAY).await;
    assert_eq!(alerts.causes(), [AlertCause::AdminTokenRejected]);
    assert!(!alerts.text().contains("admin0"), "the text of a token");
    graph.set("admin", Inspection::default());
    tokio::time::sleep(2 * DAY).await;
    graph.set("admin", EXPIRED());
    tokio::time::sleep(2 * DAY).await;
    assert_eq!(alerts.causes(), [AlertCause::AdminTokenRejected; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_inspection_that_fails_is_repeated_after_an_hour() {
    let graph = FakeInspector::default();
    let alerts = start_minting(&graph).await;
    graph.set("admin", EXPIRED());
    graph.0.lock().unwrap().is_unreachable = true;
    tokio::time::sleep(2 * DAY).await;
    assert_eq!(alerts.causes(), []);
    graph.0.lock().unwrap().is_unreachable = false;
    tokio::time::sleep(HOUR + MINUTE).await;
    assert_eq!(alerts.causes(), [AlertCause::AdminTokenRejected]);
}

//! The rows of the provider's decision table, in their order.

use futures_util::FutureExt as _;

use super::super::super::super::Generation;
use super::super::super::super::credential::Credential;
use super::super::super::super::sources::Reach;
use super::super::super::super::traits::RefreshContext;
use super::*;

/// A provider and the state of the current token.
struct Row {
    provider: TokenProvider,
    current: Option<Credential>,
    current_is_dead: bool,
}

impl Row {
    /// The provider after its first check, which found the current token, or none.
    async fn start(provider: TokenProvider) -> Self {
        let mut row = Self {
            provider,
            current: None,
            current_is_dead: true,
        };
        let _no_token = row.check().await;
        row
    }

    /// Graph rejects the current token.
    fn reject(mut self) -> Self {
        let rejected = self.current.as_ref().unwrap().fingerprint();
        self.provider.vetting.deny(rejected);
        self.current_is_dead = true;
        self
    }

    fn use_token(&mut self, token: Token) -> String {
        let text = token.secret.expose().to_owned();
        self.current = Some(Credential::new(Generation::FIRST, token, None, None).unwrap());
        self.current_is_dead = false;
        text
    }

    /// The token of a check, which is then the current one.
    async fn check(&mut self) -> Result<Option<String>, ObtainError> {
        while self.provider.sources.changed().now_or_never().is_some() {}
        let context = RefreshContext {
            current: self.current.as_ref(),
            current_is_dead: self.current_is_dead,
            now: start_date(),
        };
        let found = self.provider.check(Reach::Due, context).await.found?;
        Ok(found.map(|found| self.use_token(found.token)))
    }

    /// The token of a refresh, which is then the current one; or the reason of its failure.
    async fn refresh(&mut self) -> Result<String, &'static str> {
        let context = RefreshContext {
            current: self.current.as_ref(),
            current_is_dead: self.current_is_dead,
            now: start_date(),
        };
        let check = self.provider.check(Reach::All, context).await;
        let refreshed = self.provider.refresh(check, context).await;
        let obtained = refreshed.map_err(|error| error.reason())?;
        Ok(self.use_token(obtained.token))
    }
}

/// A first source without a token, and a second one that has the current token.
fn two_sources() -> (FakeStore, FakeStore) {
    let (first, second) = (FakeStore::writable("first"), FakeStore::writable("second"));
    second.put(token("current"));
    (first, second)
}

fn provider_of(sources: &[&FakeStore]) -> TokenProvider {
    TokenProvider::from_sources(sources.iter().map(|source| boxed(source)).collect())
}

fn stored(source: &FakeStore) -> Vec<String> {
    source.with_state(|state| state.stored.clone())
}

#[tokio::test(start_paused = true)]
async fn valid_and_a_new_token_in_the_active_source_or_one_before_it_uses_that() {
    let (first, second) = two_sources();
    let mut row = Row::start(provider_of(&[&first, &second])).await;
    second.put(token("new"));
    assert_eq!(row.check().await.unwrap().as_deref(), Some("new"));
    first.put(token("newer"));
    assert_eq!(row.check().await.unwrap().as_deref(), Some("newer"));
    // The first source is the active one now.
    second.put(token("late"));
    assert_eq!(row.check().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn valid_and_the_superseded_token_in_the_source_stays() {
    let file = FakeStore::named("read-only");
    file.put(token("one"));
    let renewer = ScriptedRenewer::new([Ok(token("two"))]);
    let mut row = Row::start(provider_of(&[&file]).with_renewer(renewer)).await;
    assert_eq!(row.refresh().await.unwrap(), "two");
    file.put(token("one"));
    assert_eq!(row.check().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn valid_and_a_change_of_a_later_source_stays_until_it_is_needed() {
    let (first, second) = two_sources();
    first.put(token("first"));
    let mut row = Row::start(provider_of(&[&first, &second])).await;
    second.put(token("second"));
    assert_eq!(row.check().await.unwrap(), None);
    assert_eq!(row.reject().refresh().await.unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn valid_and_a_new_token_that_may_not_be_used_stays_with_an_error() {
    let (file, graph) = (FakeStore::named("file"), FakeInspector::default());
    graph.set("invalid", EXPIRED());
    file.put(token("rejected"));
    let mut row = Row::start(provider_of(&[&file]).with_inspector(graph)).await.reject();
    file.put(token("current"));
    assert_eq!(row.check().await.unwrap().as_deref(), Some("current"));
    for (unusable, reason) in [
        (token("rejected"), "previously_rejected"),
        (token("invalid"), "rejected_by_inspection"),
    ] {
        file.put(unusable);
        let error = row.check().await.unwrap_err();
        assert_eq!(error.reason(), reason);
        assert!(error.is_about_source_token());
    }
    assert!(!row.current_is_dead);

    // Graph cannot be asked.
    file.put(token("current"));
    let mut row = Row::start(provider_of(&[&file])).await;
    file.put(expiring("expired", Duration::ZERO));
    assert_eq!(row.check().await.unwrap_err().reason(), "expired");
    assert!(!row.current_is_dead);
}

#[tokio::test(start_paused = true)]
async fn due_and_no_new_token_uses_the_renewers_once_it_is_stored() {
    let (first, second) = two_sources();
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let mut row = Row::start(provider_of(&[&first, &second]).with_renewer(renewer)).await;
    assert_eq!(row.refresh().await.unwrap(), "renewed");
    assert_eq!(stored(&second), ["renewed"]);
    assert!(
        stored(&first).is_empty(),
        "a token is stored in the source that it is from"
    );
}

#[tokio::test(start_paused = true)]
async fn due_and_a_failed_store_stays_until_the_same_renewed_token_is_stored() {
    let (first, second) = two_sources();
    second.with_state(|state| state.failures_left = 1);
    let renewer = ScriptedRenewer::new([Ok(token("renewed")), Ok(token("another"))]);
    let mut row = Row::start(provider_of(&[&first, &second]).with_renewer(renewer.clone())).await;
    assert_eq!(row.refresh().await, Err("disk"));
    assert!(row.provider.pending_store.is_some() && !row.current_is_dead);
    assert_eq!(row.refresh().await.unwrap(), "renewed");
    assert_eq!((renewer.calls(), stored(&second)), (1, vec!["renewed".to_owned()]));
    assert!(row.provider.pending_store.is_none());
}

#[tokio::test(start_paused = true)]
async fn due_and_a_token_that_another_replica_stored_meanwhile_uses_that() {
    let (first, second) = two_sources();
    second.with_state(|state| state.conflicting_token = Some(token("concurrent")));
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let mut row = Row::start(provider_of(&[&first, &second]).with_renewer(renewer)).await;
    assert_eq!(row.refresh().await.unwrap(), "concurrent");
    assert!(stored(&second).is_empty());
}

#[tokio::test(start_paused = true)]
async fn dead_uses_the_first_source_with_a_usable_token() {
    let (first, second, third) = (FakeStore::named("1"), FakeStore::named("2"), FakeStore::named("3"));
    first.put(token("current"));
    second.put(expiring("expired", Duration::ZERO));
    third.put(token("valid"));
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let provider = provider_of(&[&first, &second, &third]).with_renewer(renewer.clone());
    let mut row = Row::start(provider).await.reject();
    assert_eq!(row.refresh().await.unwrap(), "valid");
    assert_eq!(renewer.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn dead_and_no_usable_token_uses_the_renewers_even_if_it_cannot_be_stored_yet() {
    let (first, second) = two_sources();
    second.with_state(|state| state.failures_left = 1);
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let provider = provider_of(&[&first, &second]).with_renewer(renewer.clone());
    let mut row = Row::start(provider).await.reject();
    assert_eq!(row.refresh().await.unwrap(), "renewed");
    assert!(row.provider.pending_store.is_some());
    row.provider.retry_store().await.unwrap();
    assert_eq!(stored(&second), ["renewed"]);
    assert_eq!(renewer.0.lock().unwrap().were_dead, [true]);
}

#[tokio::test(start_paused = true)]
async fn dead_without_a_usable_token_and_a_renewer_is_an_error() {
    let (first, second) = two_sources();
    first.put(token("current"));
    let mut row = Row::start(provider_of(&[&first, &second])).await.reject();
    assert_eq!(row.refresh().await, Err("unchanged"));
}

#[tokio::test(start_paused = true)]
async fn not_yet_stored_and_another_token_in_the_source_uses_that_and_stores_nothing() {
    let (first, second) = two_sources();
    second.with_state(|state| state.failures_left = 1);
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let provider = provider_of(&[&first, &second]).with_renewer(renewer);
    let mut row = Row::start(provider).await.reject();
    assert_eq!(row.refresh().await.unwrap(), "renewed");
    second.put(token("concurrent"));
    assert_eq!(row.check().await.unwrap().as_deref(), Some("concurrent"));
    assert!(row.provider.pending_store.is_none());
    row.provider.retry_store().await.unwrap();
    assert!(stored(&second).is_empty());
}

#[tokio::test(start_paused = true)]
async fn none_and_only_a_dead_token_uses_the_renewers_made_from_it() {
    let file = FakeStore::writable("file");
    file.put(expiring("expired", Duration::ZERO));
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let mut row = Row::start(provider_of(&[&file]).with_renewer(renewer)).await;
    assert!(row.current.is_none());
    assert_eq!(row.refresh().await.unwrap(), "renewed");
    assert_eq!(stored(&file), ["renewed"]);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_that_is_invalid_by_inspection_is_an_error_and_the_previous_one_is_stored_again() {
    let (file, graph) = (FakeStore::writable("file"), FakeInspector::default());
    graph.set("invalid", EXPIRED());
    file.put(token("current"));
    let renewer = ScriptedRenewer::new([Ok(token("invalid"))]);
    let provider = provider_of(&[&file]).with_renewer(renewer).with_inspector(graph);
    let mut row = Row::start(provider).await;
    assert_eq!(row.refresh().await, Err("rejected_by_inspection"));
    assert_eq!(stored(&file), ["invalid", "current"]);
    assert!(!row.current_is_dead);
}

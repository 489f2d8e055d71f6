//! The cache of the last token that Graph accepted.

use super::super::super::super::{CachedToken, TokenCache};
use super::*;
use crate::graph::EndpointId;

/// A cache that outlives the refresher.
#[derive(Clone, Default)]
pub(super) struct FakeCache(Arc<Mutex<FakeCacheState>>);

#[derive(Default)]
struct FakeCacheState {
    token: Option<CachedToken>,
    /// The number of writes that fail before one succeeds.
    failures_left: u32,
}

impl FakeCache {
    pub(super) fn content(&self) -> Option<String> {
        let state = self.0.lock().unwrap();
        state
            .token
            .as_ref()
            .map(|cached| cached.token.secret.expose().to_owned())
    }

    fn holding(token: Token) -> Self {
        Self::holding_from("", token)
    }

    fn holding_from(source: &str, token: Token) -> Self {
        let (cache, source) = (Self::default(), source.to_owned());
        cache.0.lock().unwrap().token = Some(CachedToken { token, source });
        cache
    }
}

impl TokenCache for FakeCache {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<CachedToken>, ObtainError>> {
        let token = self.0.lock().unwrap().token.clone();
        Box::pin(std::future::ready(Ok(token)))
    }

    fn replace<'a>(&'a mut self, token: Option<&'a CachedToken>) -> BoxFuture<'a, Result<(), ObtainError>> {
        let mut state = self.0.lock().unwrap();
        let written = if state.failures_left > 0 {
            state.failures_left -= 1;
            Err(ObtainError::transient("disk", "the disk is full"))
        } else {
            state.token = token.cloned();
            Ok(())
        };
        Box::pin(std::future::ready(written))
    }

    fn describe(&self) -> String {
        "the cache".to_owned()
    }
}

/// A source that is looked at.
pub(super) fn source_named(name: &'static str) -> FakeStore {
    let source = FakeStore::named(name);
    source.with_state(|state| state.look_interval = Some(LookInterval::fixed(Duration::from_secs(2))));
    source
}

pub(super) async fn start_with(cache: &FakeCache, sources: &[&FakeStore]) -> TokenHandle {
    let sources = sources.iter().map(|source| boxed(source)).collect();
    let provider = TokenProvider::from_sources(sources).with_cache(cache.clone());
    start(provider).await.0
}

pub(super) async fn accept(tokens: &TokenHandle) {
    let (generation, start) = (tokens.current().unwrap().generation(), tokens.start_attempt());
    tokens.mark_accepted(generation, EndpointId::of_path("/me"), start);
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn only_tokens_that_graph_accepted_are_cached_and_the_newest_one_counts() {
    let (cache, row) = (FakeCache::default(), source_named("row"));
    row.put(token("one"));
    let tokens = start_with(&cache, &[&row]).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(cache.content(), None);
    accept(&tokens).await;
    assert_eq!(cache.content().unwrap(), "one");
    row.put(token("two"));
    tokio::time::sleep(HOUR).await;
    assert_eq!(cache.content().unwrap(), "one");
    accept(&tokens).await;
    assert_eq!(cache.content().unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_repeated() {
    let (cache, row) = (FakeCache::default(), source_named("row"));
    cache.0.lock().unwrap().failures_left = 3;
    row.put(token("one"));
    let tokens = start_with(&cache, &[&row]).await;
    accept(&tokens).await;
    assert_eq!(cache.content(), None);
    tokio::time::sleep(4 * MINUTE).await;
    assert_eq!(cache.content().unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_start_at_which_every_source_fails_uses_the_cache_until_a_source_answers() {
    for answer in ["cached", "new"] {
        let (cache, row, file) = (
            FakeCache::holding(token("cached")),
            source_named("row"),
            source_named("file"),
        );
        let tokens = start_with(&cache, &[&row, &file]).await;
        assert_eq!(in_use(&tokens).unwrap(), "cached");
        let generation = tokens.current().unwrap().generation().get();
        tokio::time::sleep(HOUR).await;
        // The source announces nothing: it is looked at.
        file.with_state(|state| state.current = Some(token(answer)));
        tokio::time::sleep(Duration::from_millis(2300)).await;
        assert_eq!(in_use(&tokens).unwrap(), answer);
        let is_new = u64::from(answer == "new");
        assert_eq!(tokens.current().unwrap().generation().get(), generation + is_new);
        // From then on, the source is the one that counts.
        let loads = file.with_state(|state| state.loads);
        tokio::time::sleep(HOUR).await;
        assert!(file.with_state(|state| state.loads) <= loads + 1);
        file.disconnect();
        tokio::time::sleep(HOUR).await;
        assert_eq!(in_use(&tokens).unwrap(), answer);
        file.withdraw();
        tokio::time::sleep(MINUTE).await;
        assert_eq!((in_use(&tokens), cache.content()), (None, None));
    }
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_not_used_if_a_source_says_that_there_is_no_token() {
    let (cache, row, file) = (
        FakeCache::holding(token("cached")),
        source_named("row"),
        source_named("file"),
    );
    row.withdraw();
    let tokens = start_with(&cache, &[&file, &row]).await;
    row.disconnect();
    tokio::time::sleep(HOUR).await;
    assert_eq!(in_use(&tokens), None, "even if it cannot be asked later");
    assert_eq!(
        cache.content().unwrap(),
        "cached",
        "the other source may have given the token"
    );
    file.withdraw();
    row.withdraw();
    tokio::time::sleep(HOUR).await;
    assert_eq!((in_use(&tokens), cache.content()), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_dead_or_expired_token_of_the_cache_is_not_used_and_not_kept() {
    let row = source_named("row");
    let expired = Token {
        expires_at: Some(start_date() - DAY),
        ..token("expired")
    };
    let tokens = start_with(&FakeCache::holding(expired), &[&source_named("unreachable")]).await;
    assert_eq!(in_use(&tokens), None);
    let cache = FakeCache::holding(token("cached"));
    let tokens = start_with(&cache, &[&row]).await;
    assert_eq!(reject_current(&tokens).await.unwrap(), "cached");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(cache.content(), None);
    // It was a fault of Graph.
    accept(&tokens).await;
    assert_eq!(cache.content().unwrap(), "cached");
    row.put(token("one"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
    assert_eq!(reject_current(&tokens).await.unwrap(), "one");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(cache.content().unwrap(), "cached", "another token died");
}

#[tokio::test(start_paused = true)]
async fn a_token_from_the_cache_is_not_renewed_and_can_be_withdrawn() {
    let (cache, row) = (FakeCache::holding(expiring("cached", HOUR)), source_named("row"));
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let provider = TokenProvider::from_source(row.clone()).with_renewer(renewer.clone());
    let (tokens, alerts) = start(provider.with_cache(cache.clone())).await;
    assert_eq!(in_use(&tokens).unwrap(), "cached");
    tokio::time::sleep(50 * MINUTE).await;
    assert_eq!(renewer.calls(), 0, "its source may have a newer one");
    row.with_state(|state| state.is_absent = true);
    tokio::time::sleep(MINUTE).await;
    assert_eq!((in_use(&tokens), cache.content()), (None, None));
    assert!(alerts.causes().contains(&AlertCause::Withdrawn));
}

#[tokio::test(start_paused = true)]
async fn a_token_from_the_cache_is_withdrawn_by_the_second_statement_two_seconds_after_the_first() {
    // Each refresher has a look interval of its own.
    for _ in 0..20 {
        let row = source_named("row");
        let tokens = start_with(&FakeCache::holding(token("cached")), &[&row]).await;
        tokio::time::sleep(MINUTE).await;
        row.with_state(|state| state.is_absent = true);
        let looked_at = row.with_state(|state| state.loads);
        while row.with_state(|state| state.loads) == looked_at {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(2100)).await;
        assert_eq!(in_use(&tokens), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_at_a_start_delays_the_cached_token_by_a_second_only() {
    let (cache, row, file) = (
        FakeCache::holding(token("cached")),
        source_named("row"),
        source_named("file"),
    );
    row.with_state(|state| state.is_hanging = true);
    let start = Instant::now();
    let tokens = start_with(&cache, &[&row, &file]).await;
    tokens.current_or_wait(start + Duration::from_secs(5)).await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(in_use(&tokens).unwrap(), "cached");
    row.with_state(|state| state.is_hanging = false);
    row.put(token("one"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_at_a_start_hides_no_token_of_another_one() {
    let (cache, row, file) = (
        FakeCache::holding(token("cached")),
        source_named("row"),
        source_named("file"),
    );
    row.with_state(|state| state.is_hanging = true);
    file.put(token("two"));
    let start = Instant::now();
    let tokens = start_with(&cache, &[&row, &file]).await;
    tokens.current_or_wait(start + Duration::from_secs(5)).await.unwrap();
    assert_eq!(in_use(&tokens).unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_that_may_not_be_used_does_not_hurry_a_slow_source() {
    let expired = Token {
        expires_at: Some(start_date() - DAY),
        ..token("expired")
    };
    let (cache, command) = (FakeCache::holding(expired), source_named("command"));
    command.with_state(|state| state.is_hanging = true);
    let tokens = start_with(&cache, &[&command]).await;
    assert_eq!(in_use(&tokens), None);
    // It answers after two seconds, each time.
    command.with_state(|state| {
        state.is_hanging = false;
        state.delay = Duration::from_secs(2);
        state.current = Some(token("new"));
    });
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_is_withdrawn_by_the_source_that_gave_it_and_by_no_other() {
    let (cache, row, file) = (FakeCache::default(), source_named("row"), source_named("file"));
    row.put(token("cached"));
    let tokens = start_with(&cache, &[&file, &row]).await;
    accept(&tokens).await;
    assert_eq!(cache.content().unwrap(), "cached");
    row.disconnect();
    // A restart, at which both fail.
    let tokens = start_with(&cache, &[&file, &row]).await;
    assert_eq!(in_use(&tokens).unwrap(), "cached");
    file.withdraw();
    tokio::time::sleep(HOUR).await;
    assert_eq!(in_use(&tokens).unwrap(), "cached", "the row gave it");
    file.disconnect();
    row.withdraw();
    tokio::time::sleep(MINUTE).await;
    assert_eq!((in_use(&tokens), cache.content()), (None, None));
    // So it is if a token of the cache is all that a start knows.
    let cache = FakeCache::holding_from("row", token("cached"));
    let tokens = start_with(&cache, &[&file, &row]).await;
    assert_eq!(in_use(&tokens), None, "the row says that it has no token");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(cache.content(), None, "and the next start must not use it either");
    let cache = FakeCache::holding_from("row", token("cached"));
    row.disconnect();
    file.withdraw();
    let tokens = start_with(&cache, &[&file, &row]).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(
        (in_use(&tokens), cache.content().as_deref()),
        (None, Some("cached")),
        "the file did not give it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_token_does_not_withdraw_the_cached_one_while_another_fails() {
    let (cache, row, file) = (
        FakeCache::holding(token("cached")),
        source_named("row"),
        source_named("file"),
    );
    let tokens = start_with(&cache, &[&row, &file]).await;
    assert_eq!(in_use(&tokens).unwrap(), "cached");
    file.withdraw();
    tokio::time::sleep(HOUR).await;
    assert_eq!(in_use(&tokens).unwrap(), "cached", "the row may have given it");
    row.withdraw();
    tokio::time::sleep(MINUTE).await;
    assert_eq!((in_use(&tokens), cache.content()), (None, None));
}

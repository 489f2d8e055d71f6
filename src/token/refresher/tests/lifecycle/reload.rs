//! Other sources, another renewer and other proofs while the refresher runs.

use super::super::super::super::{OperatorHandle, ProofAnswer, ProofSettings};
use super::proofs::FakeProofCheck;
use super::*;
use crate::graph::ProofMode;
use crate::token::Reconfiguration;

/// A refresher that can be reconfigured.
async fn start(provider: TokenProvider) -> (TokenHandle, OperatorHandle) {
    let (tokens, operator) = start_refresher(provider);
    tokens.wait_for_first_check().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    (tokens, operator)
}

fn start_refresher(provider: TokenProvider) -> (TokenHandle, OperatorHandle) {
    let (writer, tokens) = channel();
    let (tenant, policy) = (TenantId::default(), RefreshPolicy::default());
    let clock = Clock::manual(start_date());
    let refresher = Refresher::new(tenant, provider, writer, policy, clock, Box::new(|_event| {}));
    let operator = refresher.operator();
    drop(spawn(refresher.run()));
    (tokens, operator)
}

async fn reconfigure(
    operator: &OperatorHandle,
    provider: TokenProvider,
    previous_sources: &[Option<usize>],
    proofs: impl Into<Option<ProofSettings>>,
) {
    let reconfiguration = Reconfiguration {
        provider,
        previous_sources: previous_sources.to_vec(),
        proofs: proofs.into(),
        renew_before: RefreshPolicy::default().renew_before,
    };
    operator.reconfigure(reconfiguration);
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn the_credential_of_an_unchanged_source_stays() {
    let source = FakeStore::named("file");
    source.put(expiring("old", HOUR));
    let renewer = ScriptedRenewer::new([Ok(expiring("renewed", 60 * DAY))]);
    let provider = || TokenProvider::from_source(source.clone()).with_renewer(renewer.clone());
    let (tokens, operator) = start(provider()).await;
    tokio::time::sleep(HOUR / 2).await;
    assert_eq!(in_use(&tokens).unwrap(), "renewed");
    let generation = tokens.current().unwrap().generation();
    // The source still has the token from before the renewal, which is not news.
    reconfigure(&operator, provider(), &[Some(0)], None).await;
    assert_eq!(tokens.current().unwrap().generation(), generation);
    assert_eq!(renewer.calls(), 1);
    source.put(token("next"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "next", "the new instance is watched");
}

#[tokio::test(start_paused = true)]
async fn a_changed_source_serves_the_old_credential_until_it_has_another() {
    let (first, second) = (FakeStore::named("first"), FakeStore::named("second"));
    first.put(token("old"));
    let (tokens, operator) = start(TokenProvider::from_source(first.clone())).await;
    reconfigure(&operator, TokenProvider::from_source(second.clone()), &[None], None).await;
    assert_eq!(in_use(&tokens).unwrap(), "old");
    assert!(tokens.is_usable());
    first.put(token("of-a-source-that-is-gone"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "old");
    second.put(token("new"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn while_there_is_no_token_a_source_that_hangs_does_not_delay_the_one_that_takes_its_place() {
    // During the first check, and during the refresh after it.
    for seconds in [1, 25] {
        for renewers in 0..=1 {
            let (hanging, working) = (FakeStore::named("command"), FakeStore::named("file"));
            hanging.with_state(|state| state.is_hanging = true);
            working.with_state(|state| state.delay = Duration::from_secs(1));
            working.put(token("new"));
            let provider = |source: &FakeStore| {
                let provider = TokenProvider::from_source(source.clone());
                match renewers {
                    0 => provider,
                    _ => provider.with_renewer(ScriptedRenewer::default()),
                }
            };
            let (tokens, operator) = start_refresher(provider(&hanging));
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert!(tokens.current().is_none());
            let waiting = tokens.current_or_wait(in_five_seconds());
            let reloading = reconfigure(&operator, provider(&working), &[None], None);
            let (found, ()) = tokio::join!(waiting, reloading);
            assert!(found.is_ok(), "{seconds} s, {renewers} renewers: {found:?}");
            assert_eq!(in_use(&tokens).unwrap(), "new");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_after_a_reload_waits_for_the_new_sources_and_does_not_get_the_last_failure_of_the_old_ones() {
    let (failing, working) = (FakeStore::named("command"), FakeStore::named("file"));
    working.with_state(|state| state.delay = Duration::from_secs(4));
    working.put(token("new"));
    let (tokens, operator) = start(TokenProvider::from_source(failing)).await;
    assert!(tokens.current_or_wait(in_five_seconds()).await.is_err());
    reconfigure(&operator, TokenProvider::from_source(working), &[None], None).await;
    assert!(tokens.current().is_none());
    assert!(tokens.current_or_wait(in_five_seconds()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn if_the_active_source_is_gone_any_other_may_replace_its_token() {
    let (gone, empty, full) = (
        FakeStore::named("gone"),
        FakeStore::named("empty"),
        FakeStore::named("full"),
    );
    gone.put(token("old"));
    full.put(token("new"));
    let (tokens, operator) = start(TokenProvider::from_source(gone)).await;
    let provider = TokenProvider::from_sources(vec![boxed(&empty), boxed(&full)]);
    reconfigure(&operator, provider, &[None, None], None).await;
    assert_eq!(in_use(&tokens).unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_graph_rejected_stays_rejected() {
    let source = FakeStore::named("file");
    source.put(token("dead"));
    let (tokens, operator) = start(TokenProvider::from_source(source.clone())).await;
    let generation = tokens.current().unwrap().generation();
    tokens.mark_rejected(generation, &GraphError::default());
    reconfigure(&operator, TokenProvider::from_source(source), &[None], None).await;
    assert!(!tokens.is_usable());
    assert_eq!(tokens.current().unwrap().generation(), generation);
}

#[tokio::test(start_paused = true)]
async fn a_renewer_that_works_now_is_called_at_once() {
    let source = FakeStore::named("file");
    source.put(token("old"));
    let broken = ScriptedRenewer::new([Err("the app's secret is wrong")]);
    let provider = |renewer: &ScriptedRenewer| TokenProvider::from_source(source.clone()).with_renewer(renewer.clone());
    let (tokens, operator) = start(provider(&broken)).await;
    tokens.mark_rejected(tokens.current().unwrap().generation(), &GraphError::default());
    tokio::time::sleep(HOUR).await;
    let working = ScriptedRenewer::new([Ok(token("renewed"))]);
    reconfigure(&operator, provider(&working), &[Some(0)], None).await;
    assert_eq!(in_use(&tokens).unwrap(), "renewed");
}

#[tokio::test(start_paused = true)]
async fn a_new_app_secret_is_used_for_the_current_token() {
    let source = FakeStore::named("file");
    source.put(token("old"));
    let provider = || TokenProvider::from_source(source.clone());
    let (tokens, operator) = start(provider()).await;
    let generation = tokens.current().unwrap().generation();
    for (secret, mode) in [("one", ProofMode::PerToken), ("two", ProofMode::Timestamped)] {
        let proofs = ProofSettings::new(&Secret::new(secret).unwrap(), mode);
        reconfigure(&operator, provider(), &[Some(0)], proofs).await;
        let current = tokens.current().unwrap();
        assert_eq!((current.generation(), current.proof_mode()), (generation, mode));
    }
    reconfigure(&operator, provider(), &[Some(0)], None).await;
    assert_eq!(tokens.current().unwrap().proof_mode(), ProofMode::Off);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_that_could_not_be_stored_is_stored_by_the_new_source() {
    let (full_disk, disk) = (FakeStore::writable("file"), FakeStore::writable("file"));
    full_disk.with_state(|state| state.failures_left = u32::MAX);
    full_disk.put(token("old"));
    disk.put(token("old"));
    let renewer = ScriptedRenewer::new([Ok(token("renewed"))]);
    let provider = |source: &FakeStore| TokenProvider::from_source(source.clone()).with_renewer(renewer.clone());
    let (tokens, operator) = start(provider(&full_disk)).await;
    assert_eq!(reject_current(&tokens).await.unwrap(), "renewed");
    reconfigure(&operator, provider(&disk), &[Some(0)], None).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(disk.with_state(|state| state.stored.clone()), ["renewed"]);
    assert_eq!(in_use(&tokens).unwrap(), "renewed");
    assert_eq!(renewer.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn graph_is_asked_at_once_about_the_proofs_of_each_wrong_secret() {
    let source = FakeStore::named("file");
    source.put(token("old"));
    let check = FakeProofCheck(Arc::new(Mutex::new((ProofAnswer::OnlyWithout, 0))));
    let provider = || TokenProvider::from_source(source.clone()).with_inspector(check.clone());
    let (tokens, operator) = start(provider()).await;
    for (secret, questions) in [("one", 1), ("two", 2)] {
        let proofs = ProofSettings::new(&Secret::new(secret).unwrap(), ProofMode::PerToken);
        reconfigure(&operator, provider(), &[Some(0)], proofs).await;
        let generation = tokens.current().unwrap().generation();
        tokens.observations().add_proof_rejection(generation);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(check.0.lock().unwrap().1, questions, "{secret}");
    }
}

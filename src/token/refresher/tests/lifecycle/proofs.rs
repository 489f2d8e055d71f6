//! Graph refuses the proofs of the app's secret.

use super::super::super::super::{ProofAnswer, ProofSettings};
use super::*;
use crate::graph::ProofMode;

/// Answers as the test says, and counts the questions.
#[derive(Clone)]
pub(super) struct FakeProofCheck(pub(super) Arc<Mutex<(ProofAnswer, usize)>>);

impl Inspector for FakeProofCheck {
    fn inspect<'a>(&'a mut self, _token: &'a Token) -> BoxFuture<'a, Result<Inspection, ObtainError>> {
        Box::pin(std::future::ready(Ok(Inspection::default())))
    }

    fn check_proof<'a>(&'a mut self, _token: &'a Token) -> BoxFuture<'a, ProofAnswer> {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        Box::pin(std::future::ready(state.0))
    }
}

struct Case {
    tokens: TokenHandle,
    alerts: RecordedAlerts,
    file: FakeStore,
    check: FakeProofCheck,
}

impl Case {
    async fn start(mode: ProofMode, answer: ProofAnswer) -> Self {
        let file = FakeStore::named("file");
        file.put(expiring("one", 600 * DAY));
        let check = FakeProofCheck(Arc::new(Mutex::new((answer, 0))));
        let provider = TokenProvider::from_source(file.clone()).with_inspector(check.clone());
        let proofs = ProofSettings::new(&Secret::new("app0secret").unwrap(), mode);
        let (writer, tokens) = channel();
        let alerts = start_refresher(provider, writer.with_proofs(Some(proofs)));
        tokens.wait_for_first_check().await;
        Self {
            tokens,
            alerts,
            file,
            check,
        }
    }

    /// Graph refuses the proof of a request.
    async fn refuse(&self) {
        let current = self.tokens.current().unwrap();
        self.tokens.observations().add_proof_rejection(current.generation());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    fn sends_proofs(&self) -> bool {
        let mut sent = false;
        let current = self.tokens.current().unwrap();
        current.with_proof(start_date, |_proof| sent = true);
        sent
    }

    fn questions(&self) -> usize {
        self.check.0.lock().unwrap().1
    }
}

#[tokio::test(start_paused = true)]
async fn proofs_are_suspended_only_if_requests_work_without_them_and_graph_is_asked_once() {
    for (answer, suspended, questions) in [
        (ProofAnswer::OnlyWithout, true, 1),
        (ProofAnswer::Accepted, false, 1),
        (ProofAnswer::Refused, false, 1),
        (ProofAnswer::Unknown, false, 3),
    ] {
        let case = Case::start(ProofMode::PerToken, answer).await;
        for _ in 0..3 {
            for _ in 0..10 {
                case.refuse().await;
            }
            tokio::time::sleep(MINUTE).await;
        }
        assert_eq!(case.sends_proofs(), !suspended, "{answer:?}");
        assert_eq!(case.questions(), questions, "{answer:?}");
        let alerts = suspended.then_some(AlertCause::ProofRejected);
        assert_eq!(case.alerts.causes(), Vec::from_iter(alerts));
        assert!(case.tokens.is_usable());
        // Another token does not change the secret.
        case.file.put(expiring("two", 600 * DAY));
        tokio::time::sleep(MINUTE).await;
        assert_eq!(in_use(&case.tokens).unwrap(), "two");
        assert_eq!(case.sends_proofs(), !suspended, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn timed_proofs_are_what_the_operator_wants_and_stay() {
    let case = Case::start(ProofMode::Timestamped, ProofAnswer::OnlyWithout).await;
    case.refuse().await;
    assert!(case.sends_proofs());
    assert_eq!((case.questions(), case.alerts.causes()), (0, vec![]));
}

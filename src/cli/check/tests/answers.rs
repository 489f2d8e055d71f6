//! What Graph's answers about the proof, the app and the accounts come to, and what is only unknown.

use super::*;
use crate::graph::ProofMode;
use crate::types::SecretRef;

/// The findings about a token that is for one number, with this configuration.
fn found(facts: Facts, config: &Config) -> Vec<Finding> {
    diagnose(&facts, config, Clock::system().now())
}

fn of_number() -> TokenFacts {
    TokenFacts {
        accounts: vec![account(&[phone("1", "+1")])],
        ..token("EAAGone", inspection())
    }
}

#[test]
fn each_answer_about_the_proof_is_judged_unless_proofs_are_off_or_the_secret_is_wrong() {
    let mut config = config();
    config.app.secret = Some(SecretRef::Env {
        name: "SECRET".to_owned(),
        pointer: None,
    });
    let answers = [
        (ProofAnswer::Accepted, None),
        (ProofAnswer::OnlyWithout, Some(("proof_refused", Level::Bad))),
        (ProofAnswer::Refused, Some(("proof_refused", Level::Bad))),
        (ProofAnswer::Unknown, Some(("not_asked", Level::Note))),
    ];
    for (answer, judged) in answers {
        let facts = |app| Facts {
            token: Some(TokenFacts {
                proof: Some(answer),
                ..of_number()
            }),
            app: Some(app),
            ..Facts::default()
        };
        for (mode, expected) in [
            (ProofMode::PerToken, judged),
            (ProofMode::Timestamped, judged),
            (ProofMode::Off, Some(("proof_off", Level::Note))),
        ] {
            config.app.proof = mode;
            let found = found(facts(Ok(())), &config);
            let of_proof = found.iter().find(|finding| finding.topic == "proof").unwrap();
            let expected = expected.unwrap_or(("", Level::Good));
            let shown = format!("{answer:?} {mode:?}: {of_proof:?}");
            assert_eq!(of_proof.level, expected.1, "{shown}");
            assert!(expected.0.is_empty() || of_proof.code == expected.0, "{shown}");
            assert_eq!(codes(&found).len(), usize::from(expected.1 > Level::Good), "{found:?}");
        }
        config.app.proof = ProofMode::PerToken;
        let wrong = || ObtainError::permanent("app_refused", "code 101");
        let with_wrong_secret = found(facts(Err(wrong())), &config);
        assert_eq!(codes(&with_wrong_secret), ["app_secret_wrong"], "{answer:?}");
    }
    config.app.secret = None;
    let facts = Facts {
        token: Some(of_number()),
        ..Facts::default()
    };
    let without_secret = found(facts, &config);
    assert_eq!(codes(&without_secret), ["no_app"]);
    assert_eq!(without_secret.iter().map(|it| it.level).max(), Some(Level::Note));
}

#[test]
fn an_account_that_cannot_be_read_is_a_warning_with_its_id() {
    let unreadable = AccountFacts {
        numbers: Err(ObtainError::transient("throttled", "rate limited")),
        ..account(&[])
    };
    let facts = TokenFacts {
        accounts: vec![unreadable],
        ..token("EAAGone", inspection())
    };
    let found = findings(facts);
    assert_eq!(codes(&found), ["account_unreadable"]);
    let finding = found.iter().find(|it| it.code == "account_unreadable").unwrap();
    assert_eq!(finding.level, Level::Warning);
    let message = "the phone numbers of the account 500 cannot be read: rate limited";
    assert_eq!(finding.message, message);
}

#[test]
fn what_is_known_of_the_current_token_alone_is_named() {
    let current = TokenFacts {
        numbers: vec![named("1", Ok(FoundObject::Phone(phone("1", "+1"))))],
        ..token("EAAGone", inspection())
    };
    let candidate = token("EAAGtwo", changed(|it| it.scopes = None));
    let found = compare(&current, &candidate);
    assert_eq!(codes(&found), ["number_unknown", "scopes_unknown"]);
    let warned = decide(&found).unwrap();
    assert!(warned.contains("number: unknown (current: 1)"), "{warned}");
    assert!(warned.contains("scopes: unknown (current: whatsapp_"), "{warned}");
}

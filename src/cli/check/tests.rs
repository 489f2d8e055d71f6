mod answers;

use std::time::Duration;

use super::compare::{compare, decide};
use super::diagnose::diagnose;
use super::facts::{AccountFacts, Facts, FoundObject, NO_ID, NumberFacts, TokenFacts};
use super::report::{Finding, Level};
use super::settings::settings_findings;
use crate::config::{Config, EnvVars, Overrides};
use crate::graph::{Expiry, Inspection, PhoneNumber, TokenKind};
use crate::token::{ObtainError, ProofAnswer, Token};
use crate::types::{Clock, Secret};
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config() -> Config {
    let mut config = Config::load(Overrides::default(), &EnvVars::new()).unwrap().config;
    config.app.id = Some("42".to_owned());
    config
}

fn inspection() -> Inspection {
    Inspection {
        kind: Some(TokenKind::SystemUser),
        app_id: Some("42".to_owned()),
        expires_at: Expiry::Never,
        scopes: Some(
            ["whatsapp_business_messaging", "whatsapp_business_management"]
                .map(str::to_owned)
                .to_vec(),
        ),
        whatsapp_accounts: vec!["500".to_owned()],
        ..Inspection::default()
    }
}

fn changed(change: impl FnOnce(&mut Inspection)) -> Inspection {
    let mut changed = inspection();
    change(&mut changed);
    changed
}

fn token(secret: &str, inspection: Inspection) -> TokenFacts {
    TokenFacts {
        inspection: Some(Ok(inspection)),
        proof: Some(ProofAnswer::Accepted),
        ..TokenFacts::unasked(Token::without_expiry(Secret::new(secret).unwrap()))
    }
}

fn phone(id: &str, display: &str) -> PhoneNumber {
    PhoneNumber {
        id: id.to_owned(),
        display_phone_number: Some(display.to_owned()),
        code_verification_status: Some("VERIFIED".to_owned()),
        ..PhoneNumber::default()
    }
}

fn account(numbers: &[PhoneNumber]) -> AccountFacts {
    AccountFacts {
        id: "500".to_owned(),
        numbers: Ok(numbers.to_vec()),
    }
}

type Found = Result<FoundObject, ObtainError>;

fn named(id: &str, found: Found) -> NumberFacts {
    let (id, is_named) = (id.to_owned(), true);
    NumberFacts { id, is_named, found }
}

fn object(id: &str, found: Found) -> NumberFacts {
    let (id, is_named) = (id.to_owned(), false);
    NumberFacts { id, is_named, found }
}

fn refused() -> Found {
    Err(ObtainError::permanent("refused", "code 100, subcode 33"))
}

fn findings(token: TokenFacts) -> Vec<Finding> {
    let facts = Facts {
        token: Some(token),
        app: Some(Ok(())),
        ..Facts::default()
    };
    diagnose(&facts, &config(), Clock::system().now())
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    let found = findings.iter().filter(|finding| finding.level > Level::Good);
    found.map(|finding| finding.code).collect()
}

#[test]
fn an_id_is_judged_by_what_is_known_of_the_accounts() {
    let known = phone("106540352242922", "+49 170 1234567");
    let accounts = || vec![account(std::slice::from_ref(&known))];
    let of_account = || Ok(FoundObject::Account(vec![known.clone()]));
    let phone_one = || Ok(FoundObject::Phone(phone("1", "+1")));
    let no_id = || Err(ObtainError::permanent(NO_ID, "it has signs that no id has"));
    let busy = Err(ObtainError::transient("throttled", "rate limited"));
    for (accounts, number, code) in [
        (accounts(), named("491701234567", refused()), "number_in_place_of_id"),
        (accounts(), named("+49 170 1234567", no_id()), "number_in_place_of_id"),
        (accounts(), named("+1 555 0100", no_id()), "number_in_place_of_id"),
        (vec![], named("491701234567", refused()), "number_in_place_of_id"),
        (vec![], named("106540352242922", refused()), "number_unreadable"),
        (
            vec![account(&[])],
            named("106540352242922", refused()),
            "number_unreadable",
        ),
        (
            accounts(),
            named("999999999999999", refused()),
            "number_of_other_account",
        ),
        (
            accounts(),
            object("999999999999999", refused()),
            "number_of_other_account",
        ),
        (accounts(), named("1", phone_one()), "number_of_other_account"),
        (vec![], named("500", of_account()), "account_in_place_of_id"),
        (vec![], object("500", of_account()), ""),
        (vec![], named("1", phone_one()), ""),
        (
            accounts(),
            object("106540352242922", Ok(FoundObject::Phone(known.clone()))),
            "",
        ),
        (vec![], named("106540352242922", busy), "not_asked"),
    ] {
        let shown = format!("{accounts:?} {number:?}");
        let facts = TokenFacts {
            accounts,
            numbers: vec![number],
            ..token("EAAGone", inspection())
        };
        let expected: Vec<_> = Some(code).filter(|code| !code.is_empty()).into_iter().collect();
        assert_eq!(codes(&findings(facts)), expected, "{shown}");
    }
}

#[test]
fn a_number_that_may_not_send_for_long_is_a_warning() {
    for (verification, quality, code) in [
        (Some("NOT_VERIFIED"), Some("GREEN"), Some("not_verified")),
        (Some("VERIFIED"), Some("RED"), Some("quality_red")),
        // An old code is usual, and keeps no message back.
        (Some("EXPIRED"), Some("YELLOW"), None),
        (None, None, None),
    ] {
        let [verification, quality] = [verification, quality].map(|text| text.map(str::to_owned));
        let number = PhoneNumber {
            code_verification_status: verification,
            quality_rating: quality,
            ..phone("1", "+1")
        };
        let facts = TokenFacts {
            accounts: vec![account(&[number])],
            ..token("EAAGone", inspection())
        };
        assert_eq!(codes(&findings(facts)), code.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_token_is_judged_by_its_kind_app_end_and_permissions() {
    let at = |days| Expiry::At(Clock::system().now() + DAY * days);
    let scopes = |scopes: &[&str]| Some(scopes.iter().map(ToString::to_string).collect());
    let pages = || scopes(&["pages_messaging"]);
    for (inspection, code) in [
        (changed(|it| it.kind = Some(TokenKind::Page)), vec!["page_token"]),
        (changed(|it| it.kind = Some(TokenKind::User)), vec!["user_token"]),
        (
            changed(|it| {
                it.kind = Some(TokenKind::App);
                it.scopes = None;
            }),
            vec!["app_token"],
        ),
        (
            changed(|it| {
                it.kind = Some(TokenKind::Page);
                it.scopes = pages();
            }),
            vec!["page_token", "no_whatsapp_scopes"],
        ),
        (
            changed(|it| it.app_id = Some("43".to_owned())),
            vec!["token_of_other_app"],
        ),
        (changed(|it| it.app_id = None), vec![]),
        (changed(|it| it.expires_at = at(3)), vec!["expires_soon"]),
        (changed(|it| it.expires_at = at(30)), vec![]),
        (
            changed(|it| it.data_access_expires_at = at(3)),
            vec!["data_access_expires_soon"],
        ),
        (
            changed(|it| it.scopes = scopes(&["whatsapp_business_management"])),
            vec!["missing_scopes"],
        ),
        (changed(|it| it.scopes = None), vec![]),
    ] {
        let shown = format!("{inspection:?}");
        let facts = TokenFacts {
            accounts: vec![account(&[phone("1", "+1")])],
            ..token("EAAGone", inspection)
        };
        assert_eq!(codes(&findings(facts)), code, "{shown}");
    }
    let other = TokenFacts {
        is_hidden_from_app: true,
        accounts: vec![account(&[phone("1", "+1")])],
        ..token(
            "EAAGone",
            changed(|it| {
                it.app_id = None;
                it.kind = None;
            }),
        )
    };
    assert_eq!(codes(&findings(other)), ["token_of_other_app"]);
}

#[test]
fn without_graph_the_date_of_the_source_counts() {
    let now = Clock::system().now();
    for (expires_at, code, words) in [
        (None, vec![], "its end is unknown"),
        (Some(now + DAY * 30), vec![], "in 29 days"),
        (Some(now + DAY * 2), vec!["expires_soon"], ", in 1 day"),
        (Some(now - DAY), vec!["expires_soon"], "expired "),
    ] {
        let mut facts = TokenFacts::unasked(Token::without_expiry(Secret::new("EAAGone").unwrap()));
        facts.token.expires_at = expires_at;
        let found = findings(facts);
        assert_eq!(codes(&found), code);
        let message = &found[0].message;
        assert!(message.contains(words) && !message.ends_with("in 1 days"), "{message}");
    }
}

#[test]
fn a_token_that_breaks_what_works_needs_force_and_its_successor_does_not() {
    let works = |id: &str| named(id, Ok(FoundObject::Phone(phone(id, "+1"))));
    let current = || TokenFacts {
        numbers: vec![works("1")],
        ..token("EAAGone", inspection())
    };
    let candidate = |inspection: Inspection, answer| TokenFacts {
        numbers: vec![named("1", answer)],
        ..token("EAAGtwo", inspection)
    };
    let like = || Ok(FoundObject::Phone(phone("1", "+1")));
    let accounts = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (inspection, answer, code, needs_force) in [
        (inspection(), like(), vec![], false),
        (
            changed(|it| {
                it.user_id = None;
                it.expires_at = Expiry::Unknown;
            }),
            like(),
            vec![],
            false,
        ),
        (
            changed(|it| it.whatsapp_accounts = accounts(&["500", "600"])),
            like(),
            vec![],
            false,
        ),
        (
            changed(|it| it.whatsapp_accounts = vec![]),
            like(),
            vec!["accounts_unknown"],
            false,
        ),
        (
            changed(|it| it.scopes = Some(vec![])),
            like(),
            vec!["scopes_lost"],
            false,
        ),
        (
            changed(|it| it.kind = Some(TokenKind::User)),
            like(),
            vec!["other_kind"],
            true,
        ),
        (
            changed(|it| it.app_id = Some("43".to_owned())),
            like(),
            vec!["other_app"],
            true,
        ),
        (
            changed(|it| it.whatsapp_accounts = accounts(&["600"])),
            like(),
            vec!["other_account"],
            true,
        ),
        (inspection(), refused(), vec!["number_lost"], true),
        (
            changed(|it| it.error = Some(Default::default())),
            like(),
            vec!["candidate_invalid"],
            false,
        ),
    ] {
        let shown = format!("{inspection:?}");
        let found = compare(&current(), &candidate(inspection, answer));
        assert_eq!(codes(&found), code, "{shown}");
        assert_eq!(decide(&found).is_err(), needs_force, "{shown}");
    }
    assert_eq!(codes(&compare(&current(), &current())), ["same_token"]);
    // Of another app's system user, Graph says only that it accepts the token.
    let hidden = |current: TokenFacts| TokenFacts {
        is_hidden_from_app: true,
        ..current
    };
    let of_other_app = || hidden(candidate(Inspection::default(), like()));
    let found = compare(&current(), &of_other_app());
    assert_eq!(codes(&found)[1], "other_app");
    assert!(
        decide(&found).unwrap_err().contains("app: another one (current: 42)"),
        "{found:?}"
    );
    // A wrong secret hides both.
    assert_eq!(codes(&compare(&hidden(current()), &of_other_app()))[1], "app_unknown");
    let unknown = TokenFacts {
        inspection: Some(Err(ObtainError::transient("timeout", "no answer"))),
        ..candidate(inspection(), like())
    };
    let found = compare(&current(), &unknown);
    assert_eq!(codes(&found), ["not_compared"]);
    assert!(decide(&found).is_err(), "what is unknown may break, too");
}

#[test]
fn what_is_not_compared_is_said() {
    let compared =
        |current: Inspection, candidate: Inspection| compare(&token("EAAGone", current), &token("EAAGtwo", candidate));
    let topics = |found: &[Finding]| found.iter().map(|finding| finding.topic).collect::<Vec<_>>();
    // No phone number was asked about.
    let found = compared(inspection(), inspection());
    assert_eq!(topics(&found), ["token", "kind", "app", "accounts", "scopes"]);
    let of_no_account = || changed(|it| it.whatsapp_accounts = vec![]);
    let found = compared(inspection(), of_no_account());
    assert_eq!(found[3].message, "unknown (current: 500)");
    assert_eq!(codes(&found), ["accounts_unknown"]);
    // A page's token has no accounts of WhatsApp, and neither has its successor.
    assert_eq!(codes(&compared(of_no_account(), of_no_account())), [""; 0]);
    // Without the app's secret, Graph says of some tokens only that it accepts them.
    let accepted = || Inspection {
        scopes: inspection().scopes,
        ..Inspection::default()
    };
    assert_eq!(codes(&compared(accepted(), accepted())), ["nothing_compared"]);
    let unknown = ["kind_unknown", "app_unknown", "accounts_unknown"];
    assert_eq!(codes(&compared(inspection(), accepted())), unknown);
    let lost = compared(inspection(), changed(|it| it.scopes = Some(vec![])));
    assert!(
        lost[4].message.starts_with("none (current: whatsapp_"),
        "{}",
        lost[4].message
    );
}

#[test]
fn an_id_that_two_sections_have_is_a_warning_that_names_both() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let section = |name: &str, ids: &str| format!("[tenants.{name}]\nids = [{ids}]\nsource = {{ env = \"TOKEN\" }}\n");
    let sections = section("b", r#""106""#) + &section("a", r#""106", "106", "107""#) + &section("c", r#""108""#);
    std::fs::write(file.path(), sections).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let config = Config::load(flags, &EnvVars::new()).unwrap().config;
    let findings = settings_findings(&config, &[], None);
    let shared: Vec<_> = findings.iter().filter(|finding| finding.code == "shared_id").collect();
    let [finding] = *shared else {
        panic!("{findings:?}");
    };
    assert_eq!(finding.level, Level::Warning);
    assert_eq!(
        finding.message,
        "[tenants.a] and [tenants.b] have the id 106, so it names neither"
    );
}

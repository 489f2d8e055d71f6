//! What is right or wrong about phone numbers, and the mistakes that teams make with their ids.

use super::facts::{AccountFacts, IdOrigin, NumberAnswer, NumberFacts, Refusal, TokenFacts};
use super::report::{Finding, Level};
use crate::graph::PhoneNumber;

/// An id of a phone number is longer: what has fewer digits is the number itself.
const LONGEST_NUMBER: usize = 13;
/// Where the right id is.
const WHERE: &str = "The id is at business.facebook.com > WhatsApp Manager > Phone numbers, below the number.";

/// The findings about the phone numbers of a token.
pub(super) fn number_findings(token: &TokenFacts) -> Vec<Finding> {
    let mut findings: Vec<_> = token.accounts.iter().filter_map(account_finding).collect();
    if token.numbers.is_empty() {
        let numbers = known(&token.accounts).map(|(account, number)| phone_finding(number, Some(account)));
        findings.extend(numbers);
        let is_unknown = token.inspection().is_some_and(|inspection| inspection.error.is_none());
        if findings.is_empty() && is_unknown && token.proof.is_some() {
            let message = "the token names no WhatsApp Business Account, so none was looked at";
            let finding = Finding::new(Level::Note, "number", "no_number", message);
            findings.push(finding.advise("To look at one: --phone-number-id, or [check] phone_number_id."));
        }
    }
    findings.extend(token.numbers.iter().map(|number| id_finding(number, token)));
    findings
}

/// The phone numbers of all accounts, each with its account.
fn known(accounts: &[AccountFacts]) -> impl Iterator<Item = (&str, &PhoneNumber)> {
    accounts.iter().flat_map(|account| {
        let numbers = account.numbers.iter().flatten();
        numbers.map(|number| (account.id.as_str(), number))
    })
}

fn account_finding(account: &AccountFacts) -> Option<Finding> {
    let refused = account.numbers.as_ref().err()?;
    let message = format!(
        "the phone numbers of the account {} cannot be read: {}",
        account.id, refused.text
    );
    Some(Finding::new(Level::Warning, "number", "account_unreadable", message))
}

/// A phone number that the token may use.
fn phone_finding(number: &PhoneNumber, account: Option<&str>) -> Finding {
    let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "unknown".to_owned());
    let account = account.map_or_else(String::new, |account| format!(", account {account}"));
    let message = format!(
        "{} \"{}\" (id {}{account}), code verification {}, quality {}",
        text(&number.display_phone_number),
        text(&number.verified_name),
        number.id,
        text(&number.code_verification_status),
        text(&number.quality_rating),
    );
    match (
        number.code_verification_status.as_deref(),
        number.quality_rating.as_deref(),
    ) {
        (Some("NOT_VERIFIED"), _) => {
            let finding = Finding::new(Level::Warning, "number", "not_verified", message);
            finding.advise("Verify the number by its code in WhatsApp Manager, and register it.")
        }
        (_, Some("RED")) => {
            let finding = Finding::new(Level::Warning, "number", "quality_red", message);
            finding.advise("Recipients block or report its messages: Graph lowers its limit if that goes on.")
        }
        (_, _) => Finding::good("number", message),
    }
}

/// What an id is, or which mistake it shows.
fn id_finding(facts: &NumberFacts, token: &TokenFacts) -> Finding {
    let (id, accounts) = (&facts.id, &token.accounts);
    let bad = |code, message: String| Finding::new(Level::Bad, "number", code, message);
    if let Some((_, number)) = known(accounts).find(|(_, number)| number.is_written_as(id) && number.id != *id) {
        let message = format!("{id} is the phone number itself, not its id");
        return bad("number_in_place_of_id", message).advise(format!("Its id is {}.", number.id));
    }
    match &facts.answer {
        NumberAnswer::Phone(number) => phone_in_accounts(number, accounts),
        NumberAnswer::Account(_) if facts.origin == IdOrigin::Object => {
            Finding::good("number", format!("{id} is a WhatsApp Business Account of the token"))
        }
        NumberAnswer::Account(numbers) => {
            let message = format!("{id} is the id of a WhatsApp Business Account, not of a phone number");
            bad("account_in_place_of_id", message).advise(listing(&numbers.iter().collect::<Vec<_>>()))
        }
        NumberAnswer::Refused(Refusal {
            text,
            is_transient: true,
        }) => {
            let message = format!("Graph could not be asked about {id}: {text}");
            Finding::new(Level::Warning, "number", "not_asked", message)
        }
        NumberAnswer::NoId => {
            let message = format!("{id} is not an id: it may be the phone number itself");
            bad("number_in_place_of_id", message).advise(advice(accounts))
        }
        NumberAnswer::Refused(_) if known(accounts).next().is_some() => {
            let accounts_text: Vec<_> = accounts.iter().map(|account| account.id.as_str()).collect();
            let message = format!(
                "{id} is no phone number of the token's WhatsApp Business Accounts ({})",
                accounts_text.join(", ")
            );
            bad("number_of_other_account", message).advise(advice(accounts))
        }
        NumberAnswer::Refused(_) if id.len() <= LONGEST_NUMBER => {
            let message =
                format!("Graph has no object {id} for this token: it seems to be the phone number itself, not its id");
            bad("number_in_place_of_id", message).advise(WHERE)
        }
        NumberAnswer::Refused(Refusal { text, .. }) => {
            let message = format!("the token may not use the phone number id {id}, or there is none: {text}");
            bad("number_unreadable", message).advise(WHERE)
        }
    }
}

/// A phone number that Graph shows to the token, which may be of none of the accounts that the token names.
fn phone_in_accounts(number: &PhoneNumber, accounts: &[AccountFacts]) -> Finding {
    let account = known(accounts).find(|(_, known)| known.id == number.id);
    let is_complete = !accounts.is_empty() && accounts.iter().all(|account| account.numbers.is_ok());
    match account {
        None if is_complete => {
            let message = format!(
                "{} is readable, but is in none of the accounts that the token names",
                number.id
            );
            let finding = Finding::new(Level::Warning, "number", "number_of_other_account", message);
            finding.advise(advice(accounts))
        }
        account => phone_finding(number, account.map(|(account, _)| account)),
    }
}

fn advice(accounts: &[AccountFacts]) -> String {
    let numbers: Vec<_> = known(accounts).map(|(_, number)| number).collect();
    if numbers.is_empty() {
        return WHERE.to_owned();
    }
    listing(&numbers)
}

fn listing(numbers: &[&PhoneNumber]) -> String {
    let numbers = numbers.iter().take(MAX_LISTED).map(|number| {
        let display = number.display_phone_number.as_deref().unwrap_or("unknown");
        format!("{} ({display})", number.id)
    });
    let numbers: Vec<_> = numbers.collect();
    if numbers.is_empty() {
        return "The account has no phone number yet.".to_owned();
    }
    format!("The ids of its phone numbers: {}.", numbers.join(", "))
}

/// The most phone numbers that an advice lists.
const MAX_LISTED: usize = 5;

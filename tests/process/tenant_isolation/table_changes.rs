//! The table changes under the traffic of three processes, while they reach it and while they do not.

use std::collections::HashMap;

use serde_json::Value;

use super::fleet::{EXCHANGED, Fleet, STABLE};
use super::number;
use super::tokens::{name, phone};
use crate::support::{Client, fact, fingerprint, get, together, wait_until};
use crate::tenants_from::support::{assert_is, insertion, issue, me, refusal, seal};

/// The number of answers at least; `tests/run soak` sets a larger one.
const ANSWERS_VARIABLE: &str = "GRAPHWARD_CHANGES_ANSWERS";
const ANSWERS: u64 = 1_000;
/// The answers between two changes.
const PAUSE: u64 = 200;
/// Two tenants that are deactivated and come back, again and again.
const SEASONAL: [&str; 2] = ["seasonal-1", "seasonal-2"];
/// The tenants that each round adds.
const ADDED: [&str; 7] = [
    "added",
    "worn",
    "emptied",
    "leaving",
    "undecryptable",
    "null",
    "joining",
];
/// What no key decrypts.
const CORRUPTED: &str = "gAAAAABcorrupted";

const WITHDRAWN: (u16, i64) = (403, 990_026);
const WITHOUT_TOKEN: (u16, i64) = (403, 990_023);
const UNUSABLE: (u16, i64) = (503, 990_003);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_under_traffic_use_each_change_of_their_table_and_never_the_token_of_another() {
    let _turn = together().await;
    let (answers, seed) = (number(ANSWERS_VARIABLE, ANSWERS), fastrand::u64(..));
    fact(&format!("changes of a table: {answers} answers, seed {seed}"));
    let mut fleet = Fleet::start(seed).await;
    insert(&fleet, &seasonal());
    let mut rounds = 0;
    while rounds == 0 || fleet.answered() < answers {
        let round = Round { number: rounds };
        round.change(&fleet).await;
        fleet.kill_with_requests_in_flight().await;
        round.assert_changed(&fleet).await;
        round.change_during_outage(&mut fleet).await;
        rounds += 1;
    }
    let (answered, messages) = (fleet.answered(), fleet.stop().await);
    fact(&format!(
        "{answered} answers in {rounds} rounds, {} requests of killed processes",
        messages.broken
    ));
    let sim = &fleet.service.graph.sim;
    assert_eq!(sim.violations(), []);
    let mut accepted: HashMap<String, u32> = HashMap::new();
    for message in sim.accepted_messages() {
        let text = message.params["text"].clone();
        // A form has it as text.
        let text: Value = text
            .as_str()
            .map_or_else(|| text.clone(), |text| serde_json::from_str(text).unwrap());
        *accepted.entry(text["body"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for text in &messages.answered {
        assert_eq!(accepted.remove(text), Some(1), "{text}");
    }
    for text in &messages.unanswered {
        assert!(accepted.remove(text).unwrap_or_default() <= 1, "{text}");
    }
    assert_eq!(accepted, HashMap::new(), "messages that no client sent");
    assert!(messages.broken > 0, "no request was in flight");
}

/// A tenant, and the id of its phone number.
struct Tenant {
    name: String,
    id: String,
}

/// Everything that is changed once; the tenants that are added have its number.
struct Round {
    number: u32,
}

// === impl Round ===

impl Round {
    /// A tenant that it adds.
    fn tenant(&self, name: &str) -> Tenant {
        let at = ADDED.iter().position(|added| *added == name).unwrap();
        Tenant {
            name: format!("{name}-{}", self.number),
            id: (10_000 + 10 * self.number as usize + at).to_string(),
        }
    }

    /// Adds, deactivates, corrupts, replaces and exchanges, each of which all processes use soon.
    async fn change(&self, fleet: &Fleet) {
        let added = ["added", "worn", "emptied", "leaving"].map(|tenant| self.tenant(tenant));
        insert(fleet, &added);
        wait_until_served(fleet, &added).await;
        wait_until_served(fleet, &seasonal()).await;
        fleet.wait_for_answers(PAUSE).await;

        fleet.psql(&update_of("is_active = false", &SEASONAL));
        wait_until_refused(fleet, &seasonal(), WITHDRAWN).await;

        // They are corrupted before any process sees them …
        let new = ["undecryptable", "null"].map(|tenant| self.tenant(tenant));
        let in_use = ["worn", "emptied"].map(|tenant| self.tenant(tenant));
        let corrupted = format!("access_token = '{CORRUPTED}'");
        fleet.psql(
            &[
                insertion_of(fleet, &new),
                update_of(&corrupted, &[&new[0].name, &in_use[0].name]),
                update_of("access_token = NULL", &[&new[1].name, &in_use[1].name]),
            ]
            .join(";"),
        );
        wait_until_refused(fleet, &new[..1], UNUSABLE).await;
        wait_until_refused(fleet, &new[1..], WITHOUT_TOKEN).await;
        // … or in use: a text that cannot be decrypted says nothing of the token before it, NULL withdraws it.
        wait_until_refused(fleet, &in_use[1..], WITHOUT_TOKEN).await;
        fleet.wait_for_answers(PAUSE).await;
        let goes_on = async |client: &mut Client| {
            assert_is(&me(client, &in_use[0].name).await, &in_use[0].name);
            true
        };
        fleet.wait_on_each("it goes on", goes_on).await;

        for _ in 0..4 {
            let tenant = fastrand::usize(STABLE);
            let old = fleet.service.token_of(&name(tenant));
            let (_new, replacement) = replacement_of(fleet, tenant);
            fleet.psql(&replacement);
            assert!(fleet.service.graph.sim.expire(&old));
            fleet.wait_for_answers(PAUSE / 4).await;
        }

        fleet.psql(&exchange_statement());
        wait_until_exchanged(fleet).await;
        fleet.wait_for_answers(PAUSE).await;
    }

    /// Waits until all processes, one of which has just started, know all changes.
    async fn assert_changed(&self, fleet: &Fleet) {
        wait_until_served(fleet, &[self.tenant("added")]).await;
        // The new process has never had them.
        let is_refused = async |client: &mut Client| {
            for tenant in SEASONAL {
                if !matches!(refusal(&me(client, tenant).await), WITHDRAWN | (404, 990_025)) {
                    return false;
                }
            }
            true
        };
        fleet.wait_on_each("they are refused", is_refused).await;
        wait_until_refused(fleet, &[self.tenant("undecryptable")], UNUSABLE).await;
        let without_token = ["null", "emptied"].map(|tenant| self.tenant(tenant));
        wait_until_refused(fleet, &without_token, WITHOUT_TOKEN).await;
    }

    /// Changes the table while no process reaches it, and restarts one. Afterwards, each change is used.
    async fn change_during_outage(&self, fleet: &mut Fleet) {
        fleet.disconnect();
        let joining = [self.tenant("joining")];
        let leaving = [self.tenant("leaving")];
        let repaired = ["undecryptable", "null", "emptied"].map(|tenant| self.tenant(tenant));
        let repairs = repaired.iter().map(|tenant| {
            let token = issue(&fleet.service.graph, &tenant.name, &[&tenant.id]);
            update_of(&format!("access_token = '{}'", seal(&token)), &[&tenant.name])
        });
        let replaced = fastrand::usize(STABLE);
        let old = fleet.service.token_of(&name(replaced));
        let (new, replacement) = replacement_of(fleet, replaced);
        let mut statements: Vec<_> = repairs.collect();
        statements.extend([
            insertion_of(fleet, &joining),
            update_of("is_active = true", &SEASONAL),
            update_of("is_active = false", &[&leaving[0].name]),
            replacement,
            exchange_statement(),
        ]);
        fleet.psql(&statements.join(";"));
        fleet.kill_and_restart().await;
        fleet.wait_for_answers(PAUSE).await;
        fleet.connect();

        wait_until_served(fleet, &repaired).await;
        wait_until_served(fleet, &joining).await;
        wait_until_served(fleet, &seasonal()).await;
        wait_until_refused(fleet, &leaving, WITHDRAWN).await;
        wait_until_exchanged(fleet).await;
        let in_use = fingerprint(&new);
        for sidecar in fleet.sidecars() {
            let status = format!("/admin/token-status?tenant={}", name(replaced));
            wait_until("the replaced token is in use", async || {
                get(sidecar.admin, &status).await.json()["tenants"][0]["fingerprint"] == in_use
            })
            .await;
        }
        fleet.wait_for_all_in_flight().await;
        let rejected = fleet.service.graph.sim.rejected();
        assert!(fleet.service.graph.sim.expire(&old));
        fleet.wait_for_answers(PAUSE).await;
        assert_eq!(fleet.service.graph.sim.rejected(), rejected, "the old token is used");
    }
}

fn seasonal() -> [Tenant; 2] {
    [0, 1].map(|at| Tenant {
        name: SEASONAL[at].to_owned(),
        id: (7_000 + at).to_string(),
    })
}

/// Issues tokens for tenants; returns the statements that insert their rows.
fn insertion_of(fleet: &Fleet, tenants: &[Tenant]) -> String {
    let insertions = tenants.iter().map(|Tenant { name, id }| {
        let token = issue(&fleet.service.graph, name, &[id]);
        insertion(name, id, &format!("9{id}"), &token)
    });
    insertions.collect::<Vec<_>>().join(";")
}

fn insert(fleet: &Fleet, tenants: &[Tenant]) {
    fleet.psql(&insertion_of(fleet, tenants));
}

fn update_of(columns: &str, tenants: &[&str]) -> String {
    let names = tenants.join("', '");
    format!("UPDATE tenant_whatsapp_config SET {columns} WHERE tenant_id IN ('{names}')")
}

/// Issues a new token for a tenant, whose old one stays as it is; returns it with the statement that puts it into the row.
fn replacement_of(fleet: &Fleet, tenant: usize) -> (String, String) {
    let (name, id) = (name(tenant), phone(tenant));
    let token = issue(&fleet.service.graph, &name, &[&id]);
    let columns = format!("access_token = '{}'", seal(&token));
    (token, update_of(&columns, &[&name]))
}

/// The statement by which two rows exchange everything except their names.
fn exchange_statement() -> String {
    let [first, second] = EXCHANGED.map(name);
    format!(
        "UPDATE tenant_whatsapp_config AS one SET phone_number_id = other.phone_number_id, waba_id = other.waba_id,
            access_token = other.access_token
         FROM tenant_whatsapp_config AS other
         WHERE (one.tenant_id, other.tenant_id) IN (('{first}', '{second}'), ('{second}', '{first}'))"
    )
}

/// Waits until each of the two tenants uses the token that its row has.
async fn wait_until_exchanged(fleet: &Fleet) {
    for tenant in EXCHANGED.map(name) {
        let token = fleet.service.token_of(&tenant);
        let owner = EXCHANGED
            .map(name)
            .into_iter()
            .find(|name| fleet.service.graph.sim.tokens_named(name).contains(&token));
        let owner = owner.unwrap();
        fleet
            .wait_on_each("the token of the row is used", async |client| {
                let body = me(client, &tenant).await.json();
                let name = body["name"].as_str().unwrap_or_else(|| panic!("{body}"));
                assert!(EXCHANGED.map(super::tokens::name).contains(&name.to_owned()), "{body}");
                name == owner
            })
            .await;
    }
}

/// Waits until all processes serve these tenants, named by header and by id.
async fn wait_until_served(fleet: &Fleet, tenants: &[Tenant]) {
    let is_served = async |client: &mut Client| {
        for Tenant { name, id } in tenants {
            let named = me(client, name).await;
            let by_id = client.get(&format!("/v26.0/{id}?fields=id")).await;
            if named.status != 200 || by_id.status != 200 {
                return false;
            }
            assert_is(&named, name);
        }
        true
    };
    fleet.wait_on_each("they are served", is_served).await;
}

/// Waits until all processes refuse these tenants.
async fn wait_until_refused(fleet: &Fleet, tenants: &[Tenant], expected: (u16, i64)) {
    let is_refused = async |client: &mut Client| {
        for Tenant { name, .. } in tenants {
            let response = me(client, name).await;
            if refusal(&response) != expected {
                return false;
            }
            let is_transient = &response.json()["error"]["is_transient"];
            assert_eq!(*is_transient, false, "{name}");
        }
        true
    };
    fleet.wait_on_each("they are refused", is_refused).await;
}

//! The table changes under the traffic of three processes, while they reach it and while they do not.

use std::collections::HashMap;

use serde_json::Value;

use super::fleet::{EXCHANGED, Fleet, STABLE};
use super::requests;
use super::tokens::{name, phone};
use crate::support::{Client, fact, fingerprint, get, together, wait_until};
use crate::tenants_from::support::{insertion, issue, me, refusal, seal};

/// The number of answers; `tests/run soak` sets a larger one.
const ANSWERS: u64 = 2_000;
/// The answers between two changes.
const PAUSE: u64 = 200;
/// Two tenants that are deactivated and come back, again and again.
const SEASONAL: [&str; 2] = ["seasonal-1", "seasonal-2"];
/// What no key decrypts.
const CORRUPTED: &str = "gAAAAABcorrupted";

const WITHDRAWN: (u16, i64) = (403, 990_026);
const WITHOUT_TOKEN: (u16, i64) = (403, 990_023);
const UNUSABLE: (u16, i64) = (503, 990_003);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_under_traffic_use_each_change_of_their_table_and_never_the_token_of_another() {
    let _turn = together().await;
    let (answers, seed) = (requests(ANSWERS), fastrand::u64(..));
    fact(&format!("changes of a table: {answers} answers, seed {seed}"));
    let mut fleet = Fleet::start(seed).await;
    for (tenant, id) in SEASONAL.iter().zip(7_001..) {
        insert(&fleet, tenant, id);
    }
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

/// Everything that is changed once; the tenants that are added have its number.
struct Round {
    number: u32,
}

// === impl Round ===

impl Round {
    fn tenant(&self, name: &str) -> String {
        format!("{name}-{}", self.number)
    }

    /// The id of a tenant that it adds.
    fn id(&self, tenant: u32) -> u32 {
        10_000 + 10 * self.number + tenant
    }

    /// Adds, deactivates, corrupts, replaces and exchanges, each of which all processes use soon.
    async fn change(&self, fleet: &Fleet) {
        let added = self.tenant("added");
        insert(fleet, &added, self.id(0));
        wait_until_served(fleet, &added, self.id(0)).await;
        for (tenant, id) in [("worn", 1), ("emptied", 2), ("leaving", 3)] {
            let (tenant, id) = (self.tenant(tenant), self.id(id));
            insert(fleet, &tenant, id);
            wait_until_served(fleet, &tenant, id).await;
        }
        for (tenant, id) in SEASONAL.iter().zip(7_001..) {
            wait_until_served(fleet, tenant, id).await;
        }
        fleet.wait_for_answers(PAUSE).await;

        update(fleet, "is_active = false", &SEASONAL);
        for tenant in SEASONAL {
            wait_until_refused(fleet, tenant, WITHDRAWN).await;
        }

        // They are corrupted before any process sees them …
        let (undecryptable, null) = (self.tenant("undecryptable"), self.tenant("null"));
        let insertions = [(&undecryptable, 4), (&null, 5)].map(|(tenant, id)| insertion_of(fleet, tenant, self.id(id)));
        fleet.psql(&format!(
            "{};{};{};{}",
            insertions[0],
            insertions[1],
            update_of(
                &format!("access_token = '{CORRUPTED}'"),
                &[&undecryptable, &self.tenant("worn")]
            ),
            update_of("access_token = NULL", &[&null, &self.tenant("emptied")]),
        ));
        wait_until_refused(fleet, &undecryptable, UNUSABLE).await;
        wait_until_refused(fleet, &null, WITHOUT_TOKEN).await;
        // … or in use: a text that cannot be decrypted says nothing of the token before it, and NULL says that there is none.
        wait_until_refused(fleet, &self.tenant("emptied"), WITHOUT_TOKEN).await;
        fleet.wait_for_answers(PAUSE).await;
        let worn = self.tenant("worn");
        fleet
            .wait_on_each("it goes on", async |client| {
                let response = me(client, &worn).await;
                assert_eq!(response.json()["name"], worn, "{}", response.json());
                true
            })
            .await;

        for _ in 0..4 {
            let tenant = fastrand::usize(STABLE);
            let old = fleet.service.token_of(&name(tenant));
            replace(fleet, tenant);
            assert!(fleet.service.graph.sim.expire(&old));
            fleet.wait_for_answers(PAUSE / 4).await;
        }

        exchange(fleet).await;
        fleet.wait_for_answers(PAUSE).await;
    }

    /// Waits until all processes, one of which has just started, know all changes.
    async fn assert_changed(&self, fleet: &Fleet) {
        wait_until_served(fleet, &self.tenant("added"), self.id(0)).await;
        for tenant in SEASONAL {
            // The new process has never had it.
            fleet
                .wait_on_each("it is refused", async |client| {
                    matches!(refusal(&me(client, tenant).await), WITHDRAWN | (404, 990_025))
                })
                .await;
        }
        wait_until_refused(fleet, &self.tenant("undecryptable"), UNUSABLE).await;
        for tenant in ["null", "emptied"] {
            wait_until_refused(fleet, &self.tenant(tenant), WITHOUT_TOKEN).await;
        }
    }

    /// Changes the table while no process reaches it, and restarts one. Afterwards, each change is used.
    async fn change_during_outage(&self, fleet: &mut Fleet) {
        fleet.disconnect();
        let joining = self.tenant("joining");
        insert(fleet, &joining, self.id(6));
        update(fleet, "is_active = true", &SEASONAL);
        update(fleet, "is_active = false", &[&self.tenant("leaving")]);
        let mut repaired = Vec::new();
        for (tenant, id) in [("undecryptable", 4), ("null", 5), ("emptied", 2)] {
            let (tenant, id) = (self.tenant(tenant), self.id(id));
            let token = issue(&fleet.service.graph, &tenant, &[&id.to_string()]);
            update(fleet, &format!("access_token = '{}'", seal(&token)), &[&tenant]);
            repaired.push((tenant, id));
        }
        let replaced = fastrand::usize(STABLE);
        let old = fleet.service.token_of(&name(replaced));
        let new = replace(fleet, replaced);
        fleet.psql(&exchange_statement());
        fleet.kill_and_restart().await;
        fleet.wait_for_answers(PAUSE).await;
        fleet.connect();

        for (tenant, id) in repaired.iter().map(|(tenant, id)| (&**tenant, *id)) {
            wait_until_served(fleet, tenant, id).await;
        }
        wait_until_served(fleet, &joining, self.id(6)).await;
        for (tenant, id) in SEASONAL.iter().zip(7_001..) {
            wait_until_served(fleet, tenant, id).await;
        }
        wait_until_refused(fleet, &self.tenant("leaving"), WITHDRAWN).await;
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

/// Issues the token of a tenant; returns the statement that inserts its row.
fn insertion_of(fleet: &Fleet, tenant: &str, id: u32) -> String {
    let id = id.to_string();
    let token = issue(&fleet.service.graph, tenant, &[&id]);
    insertion(tenant, &id, &format!("9{id}"), &token)
}

fn insert(fleet: &Fleet, tenant: &str, id: u32) {
    fleet.psql(&insertion_of(fleet, tenant, id));
}

fn update_of(columns: &str, tenants: &[&str]) -> String {
    let tenants = tenants.join("', '");
    format!("UPDATE tenant_whatsapp_config SET {columns} WHERE tenant_id IN ('{tenants}')")
}

fn update(fleet: &Fleet, columns: &str, tenants: &[&str]) {
    fleet.psql(&update_of(columns, tenants));
}

/// Puts a new token in place of a tenant's, which stays as it is; returns the new one.
fn replace(fleet: &Fleet, tenant: usize) -> String {
    let token = issue(&fleet.service.graph, &name(tenant), &[&phone(tenant)]);
    update(fleet, &format!("access_token = '{}'", seal(&token)), &[&name(tenant)]);
    token
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

async fn exchange(fleet: &Fleet) {
    fleet.psql(&exchange_statement());
    wait_until_exchanged(fleet).await;
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

/// Waits until all processes serve a tenant, named by its header and by its id.
async fn wait_until_served(fleet: &Fleet, tenant: &str, id: u32) {
    let by_id = format!("/v26.0/{id}?fields=id");
    fleet
        .wait_on_each("it is served", async |client: &mut Client| {
            let named = me(client, tenant).await;
            let seen = named.json()["name"].clone();
            assert!(named.status != 200 || seen == *tenant, "{seen}");
            named.status == 200 && client.get(&by_id).await.status == 200
        })
        .await;
}

/// Waits until all processes refuse a tenant.
async fn wait_until_refused(fleet: &Fleet, tenant: &str, expected: (u16, i64)) {
    fleet
        .wait_on_each("it is refused", async |client: &mut Client| {
            let response = me(client, tenant).await;
            if expected == UNUSABLE && refusal(&response) == expected {
                assert_eq!(response.json()["error"]["is_transient"], false, "{}", response.json());
            }
            refusal(&response) == expected
        })
        .await;
}

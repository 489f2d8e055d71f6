//! Which tenants have series of their own.

use std::time::Duration;

use tokio::time::advance;

use super::*;

/// The tenants whose requests a text counts, each with the number of those that were delivered.
fn delivered(metrics: &Metrics) -> Vec<(String, u64)> {
    let text = metrics.encode(ExpositionFormat::Text);
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("graphward_requests_total{tenant=\""));
    let delivered = lines.filter_map(|line| line.split_once("\",outcome=\"delivered\"} "));
    delivered
        .map(|(tenant, count)| (tenant.to_owned(), count.parse().unwrap()))
        .collect()
}

fn counts(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected
        .iter()
        .map(|(tenant, count)| ((*tenant).to_owned(), *count))
        .collect()
}

/// The metrics of a process with this setting.
fn with_label(label: TenantLabel) -> Metrics {
    let metrics = Metrics::new();
    metrics.set_tenant_label(label);
    metrics
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_tenants_that_send_requests_have_series_and_the_others_share_one_set() {
    let metrics = with_label(TenantLabel::MostActive(2));
    let [first, second, third, fourth] = ["a", "b", "c", "d"].map(|name| metrics.request_metrics(&tenant(name)));
    assert_eq!(
        delivered(&metrics),
        [],
        "before anything is counted, there is no series"
    );
    for requests in [&first, &second, &third, &fourth, &fourth] {
        requests.count_request("delivered", 0.1);
    }
    assert_eq!(delivered(&metrics), counts(&[("a", 1), ("b", 1), ("other", 3)]));
    assert!(!metrics.encode(ExpositionFormat::Text).contains("tenant=\"c\""));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_idle_for_an_hour_gives_its_place_to_one_that_sends_requests() {
    let metrics = with_label(TenantLabel::MostActive(1));
    let [idle, active] = ["idle", "active"].map(|name| metrics.request_metrics(&tenant(name)));
    idle.count_request("delivered", 0.1);
    for minute in 0..60 {
        active.count_request("delivered", 0.1);
        assert_eq!(delivered(&metrics), counts(&[("idle", 1), ("other", minute + 1)]));
        advance(Duration::from_secs(60)).await;
    }
    assert_eq!(
        delivered(&metrics)[0].0,
        "idle",
        "the scrape only finds out that it is idle"
    );
    active.count_request("delivered", 0.1);
    assert_eq!(delivered(&metrics), counts(&[("active", 1), ("other", 60)]));
    active.count_request("delivered", 0.1);
    idle.count_request("delivered", 0.1);
    assert_eq!(delivered(&metrics), counts(&[("active", 2), ("other", 61)]));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_idle_keeps_its_series_while_there_is_room_for_all() {
    let metrics = with_label(TenantLabel::MostActive(2));
    let [idle, active] = ["idle", "active"].map(|name| metrics.request_metrics(&tenant(name)));
    idle.count_request("delivered", 0.1);
    for _ in 0..30 {
        active.count_request("delivered", 0.1);
        drop(metrics.encode(ExpositionFormat::Text));
        advance(Duration::from_secs(600)).await;
    }
    assert_eq!(delivered(&metrics), counts(&[("active", 30), ("idle", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_only_has_a_token_gives_its_place_at_once_and_its_gauges_come_back_with_one() {
    let metrics = with_label(TenantLabel::MostActive(1));
    let token = metrics.token_metrics(&tenant("quiet"));
    token.count_refresh("found");
    token.set_current_token(7, None);
    let generation = "graphward_token_generation{tenant=\"quiet\"} 7\n";
    assert!(metrics.encode(ExpositionFormat::Text).contains(generation));
    let requests = metrics.request_metrics(&tenant("busy"));
    requests.count_request("delivered", 0.1);
    let text = metrics.encode(ExpositionFormat::Text);
    assert!(!text.contains("quiet") && text.contains("tenant=\"busy\""), "{text}");
    token.set_availability(1, 3);
    token.count_refresh("found");
    let text = metrics.encode(ExpositionFormat::Text);
    assert!(
        text.contains("graphward_token_waiting_requests{tenant=\"other\"} 3\n"),
        "{text}"
    );
    assert!(!text.contains("graphward_token_generation{tenant=\"other\"}"), "{text}");
    drop(requests);
    metrics
        .request_metrics(&tenant("quiet"))
        .count_request("delivered", 0.1);
    assert!(
        metrics.encode(ExpositionFormat::Text).contains(generation),
        "it was not forgotten"
    );
}

#[test]
fn the_series_of_a_tenant_end_with_it_and_another_has_its_place() {
    let metrics = with_label(TenantLabel::MostActive(1));
    let (requests, token) = (
        metrics.request_metrics(&tenant("gone")),
        metrics.token_metrics(&tenant("gone")),
    );
    requests.count_request("delivered", 0.1);
    drop(requests);
    assert_eq!(delivered(&metrics), counts(&[("gone", 1)]), "its refresher still runs");
    drop(token);
    assert_eq!(delivered(&metrics), []);
    let next = metrics.request_metrics(&tenant("next"));
    next.count_request("delivered", 0.1);
    assert_eq!(delivered(&metrics), counts(&[("next", 1)]));
}

#[test]
fn the_setting_is_for_all_tenants_or_none_and_changes_while_the_process_runs() {
    let metrics = with_label(TenantLabel::Whether(true));
    let tenants: Vec<_> = (0..300)
        .map(|number| metrics.request_metrics(&tenant(&format!("t{number:03}"))))
        .collect();
    let count_all = || {
        tenants
            .iter()
            .for_each(|requests| requests.count_request("delivered", 0.1));
    };
    count_all();
    assert_eq!(delivered(&metrics).len(), 300);
    metrics.set_tenant_label(TenantLabel::MostActive(2));
    count_all();
    assert_eq!(delivered(&metrics), counts(&[("t000", 2), ("t001", 2), ("other", 298)]));
    metrics.set_tenant_label(TenantLabel::Whether(false));
    count_all();
    assert_eq!(delivered(&metrics), counts(&[("other", 598)]));
}

#[test]
fn a_tenant_that_is_called_other_does_not_repeat_the_shared_series() {
    let metrics = with_label(TenantLabel::MostActive(1));
    let [other, first, second] = ["other", "a", "b"].map(|name| metrics.request_metrics(&tenant(name)));
    for requests in [&other, &first, &second] {
        requests.count_request("delivered", 0.1);
    }
    assert_eq!(delivered(&metrics), counts(&[("a", 1), ("other", 2)]));
}

#[test]
fn requests_without_a_tenant_need_no_place() {
    let metrics = with_label(TenantLabel::MostActive(1));
    let [unnamed, first] = [TenantId::unnamed(), tenant("a")].map(|id| metrics.request_metrics(&id));
    unnamed.count_request("delivered", 0.1);
    first.count_request("delivered", 0.1);
    assert_eq!(delivered(&metrics), counts(&[("", 1), ("a", 1)]));
}

#[test]
fn the_tokens_of_all_tenants_are_counted_by_their_state() {
    use TokenState::{Dead, Undecryptable, Usable, Withdrawn};
    let metrics = Metrics::new();
    let now = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let ends_in = |seconds: f64| TokenState::of_usable(Some(1_000_000.0 + seconds), now);
    let states = [
        Usable,
        Usable,
        Dead,
        Undecryptable,
        Withdrawn,
        ends_in(-5.0),
        ends_in(86_400.0),
        ends_in(86_401.0),
        ends_in(7.0 * 86_400.0),
        ends_in(7.0 * 86_400.0 + 1.0),
        TokenState::of_usable(None, now),
    ];
    for (states, expected) in [(&states[..], [4, 1, 2, 2, 1, 1]), (&states[..1], [1, 0, 0, 0, 0, 0])] {
        metrics.set_tokens(states.iter().copied());
        let text = metrics.encode(ExpositionFormat::Text);
        let labels = ["usable", "dead", "ends_7d", "ends_1d", "undecryptable", "withdrawn"];
        for (label, count) in labels.into_iter().zip(expected) {
            let line = format!("graphward_tokens{{state=\"{label}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}

#[test]
fn a_token_that_was_never_read_is_seen_by_the_first_scrape() {
    let metrics = Metrics::new();
    let token = metrics.token_metrics(&tenant("a"));
    token.set_availability(0, 5);
    let text = metrics.encode(ExpositionFormat::Text);
    for line in [
        "token_usable{tenant=\"a\"} 0\n",
        "token_waiting_requests{tenant=\"a\"} 5\n",
    ] {
        assert!(text.contains(&format!("graphward_{line}")), "{text}");
    }
}

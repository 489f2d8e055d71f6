use super::super::tenant_series::REFRESH_OUTCOMES;
use super::super::{ExpositionFormat, Metrics};
use crate::types::TenantId;

/// Returns the samples of the families whose names begin like this, in the order of the text.
#[track_caller]
fn samples_of(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.encode(ExpositionFormat::Text);
    let start = format!("graphward_{name}");
    let lines = text.lines().filter(|line| line.starts_with(&start));
    lines.map(str::to_owned).collect()
}

fn shop() -> TenantId {
    TenantId::new("shop").unwrap()
}

#[test]
fn an_unknown_time_is_absent_and_not_1970() {
    let metrics = Metrics::new();
    let token = metrics.token_metrics(&shop());
    token.count_refresh("found");
    token.set_current_token(1, None);
    token.set_token_details(None, None, None);
    token.set_renewal_due(None);
    for name in [
        "token_expiry_timestamp_seconds",
        "token_data_access_expiry_timestamp_seconds",
        "token_last_inspected_timestamp_seconds",
        "token_missing_scopes",
        "token_renewal_due_timestamp_seconds",
    ] {
        assert_eq!(samples_of(&metrics, name), Vec::<String>::new(), "{name}");
    }
    token.set_token_details(Some(1_764_547_200.0), Some(1_769_904_000.5), Some(2));
    token.set_renewal_due(Some(1_763_683_200.0));
    token.set_inspected_at(1_763_600_000.0);
    for (name, value) in [
        ("token_expiry_timestamp_seconds", "1764547200.0"),
        ("token_data_access_expiry_timestamp_seconds", "1769904000.5"),
        ("token_missing_scopes", "2"),
        ("token_last_inspected_timestamp_seconds", "1763600000.0"),
        ("token_renewal_due_timestamp_seconds", "1763683200.0"),
    ] {
        let shown = format!("graphward_{name}{{tenant=\"shop\"}} {value}");
        assert_eq!(samples_of(&metrics, name), [shown]);
    }
    token.set_token_details(None, None, None);
    token.set_renewal_due(None);
    assert_eq!(
        samples_of(&metrics, "token_expiry"),
        Vec::<String>::new(),
        "a token without an expiry replaced it"
    );
    assert_eq!(samples_of(&metrics, "token_renewal_due"), Vec::<String>::new());
}

#[test]
fn a_new_token_clears_the_details_of_the_old_one() {
    let metrics = Metrics::new();
    let token = metrics.token_metrics(&shop());
    token.count_refresh("found");
    token.set_current_token(1, Some(100.0));
    token.set_token_details(Some(100.0), Some(50.0), Some(1));
    token.set_inspected_at(10.0);
    token.set_current_token(2, Some(900.0));
    assert_eq!(
        samples_of(&metrics, "token_expiry"),
        ["graphward_token_expiry_timestamp_seconds{tenant=\"shop\"} 900.0"]
    );
    for name in [
        "token_data_access_expiry",
        "token_missing_scopes",
        "token_last_inspected",
    ] {
        assert_eq!(samples_of(&metrics, name), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn each_refresh_is_counted_by_outcome_and_its_series_exists_from_the_first() {
    let metrics = Metrics::new();
    let token = metrics.token_metrics(&shop());
    assert_eq!(samples_of(&metrics, "token_refreshes_total").len(), 0);
    token.count_attempt("check", "obtained", 0.1);
    assert_eq!(samples_of(&metrics, "token_refreshes_total").len(), 6);
    for (times, refresh) in REFRESH_OUTCOMES.into_iter().enumerate() {
        for _ in 0..=times {
            token.count_refresh(refresh);
        }
    }
    let mut shown = samples_of(&metrics, "token_refreshes_total");
    shown.sort_unstable();
    let counts = [
        ("action_required", 5),
        ("failed", 4),
        ("found", 1),
        ("rejected_by_verify", 6),
        ("renewed", 2),
        ("unchanged", 3),
    ];
    let expected = counts.map(|(outcome, count)| {
        format!("graphward_token_refreshes_total{{tenant=\"shop\",outcome=\"{outcome}\"}} {count}")
    });
    assert_eq!(shown, expected);
}

#[test]
fn alerts_are_counted_by_cause_and_tenant() {
    let metrics = Metrics::new();
    let other = TenantId::new("another").unwrap();
    let (shop, other) = (metrics.token_metrics(&shop()), metrics.token_metrics(&other));
    shop.count_alert("expiry");
    shop.count_alert("expiry");
    other.count_alert("rejected");
    let mut shown = samples_of(&metrics, "token_alerts_total");
    shown.sort_unstable();
    assert_eq!(
        shown,
        [
            "graphward_token_alerts_total{tenant=\"another\",cause=\"rejected\"} 1",
            "graphward_token_alerts_total{tenant=\"shop\",cause=\"expiry\"} 2",
        ]
    );
}

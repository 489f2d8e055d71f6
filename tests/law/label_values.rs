//! Checks that what the alert rules and the dashboard select exists: each value of a label is one that `docs/metrics.md` lists,
//! and those lists are the code's.

use std::collections::BTreeSet;

use regex_lite::Regex;

use super::closed_lists::words_between;
use super::docs::words_starting_with;
use super::read;

const METRICS: &str = "docs/metrics.md";
const REQUESTS: &str = "graphward_requests_total";

/// Where the code lists the values of a metric's labels: the texts in quotes from here to there.
struct CodeList {
    metric: &'static str,
    /// A file, and what stands before and after the values in it.
    places: &'static [(&'static str, &'static str, &'static str)],
    /// What the row of the metric names besides values.
    other_words: &'static [&'static str],
}

/// What a query asks of a label.
#[derive(Debug)]
struct Matcher {
    metric: String,
    label: String,
    /// The values, or patterns of them.
    values: Vec<String>,
}

const CODE_LISTS: [CodeList; 8] = [
    CodeList {
        metric: "graphward_upstream_responses_total",
        places: &[("src/graph/verdict.rs", "fn label(", "\n    }")],
        other_words: &[],
    },
    CodeList {
        metric: "graphward_upstream_attempts_total",
        places: &[("src/telemetry/metrics/tenant_series.rs", "first: attempt(", "requests,")],
        other_words: &[],
    },
    CodeList {
        metric: "graphward_config_reloads_total",
        places: &[("src/telemetry/metrics.rs", "for result in [", "]")],
        other_words: &[],
    },
    CodeList {
        metric: "graphward_tokens",
        places: &[("src/telemetry/metrics/token_counts.rs", "fn label(", "\n    }")],
        other_words: &[],
    },
    CodeList {
        metric: "graphward_token_refreshes_total",
        places: &[("src/telemetry/metrics/tenant_series.rs", "REFRESH_OUTCOMES: ", "];")],
        other_words: &[],
    },
    CodeList {
        metric: "graphward_token_alerts_total",
        // After the word is the severity.
        places: &[("src/token/alert.rs", "fn properties(", "\n    }")],
        other_words: &["mint", "tenant"],
    },
    CodeList {
        metric: "graphward_alerts_total",
        places: &[("src/telemetry/metrics/alerts.rs", "delivered: counter(", "\n    }")],
        other_words: &[],
    },
    CodeList {
        metric: "graphward_token_attempts_total",
        places: &[
            ("src/token/reporter.rs", "fn label(", "\n    }"),
            ("src/app/event_sink.rs", "fn record_attempt(", ";\n    metrics"),
        ],
        other_words: &[],
    },
];

#[test]
fn each_value_that_a_query_selects_is_documented() {
    let found = matchers(&queries());
    assert!(found.len() > 60, "{found:?}");
    let wrong: Vec<_> = found.iter().filter_map(fault).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (bad, expected) in [
        (r#"graphward_tokens{state="ends_2d"}"#, "ends_2d"),
        (r#"graphward_tokens{state=~"dead|undecrypted"}"#, "undecrypted"),
        (r#"graphward_tokens{job=~"$job",cause="dead"}"#, "cause"),
        (r#"graphward_requests_total{outcome=~"unhealed_.*|lost_.*"}"#, "lost_.*"),
        (r#"graphward_token_alerts_total{cause="mint"}"#, "mint"),
        (r#"graphward_token_waiting_requests{tenant="others"}"#, "others"),
    ] {
        let found: Vec<_> = matchers(bad).iter().filter_map(fault).collect();
        assert!(found.len() == 1 && found[0].contains(expected), "{bad}: {found:?}");
    }
}

#[test]
fn each_list_of_values_that_is_selected_from_is_the_codes() {
    for list in &CODE_LISTS {
        let mut values = BTreeSet::new();
        for (file, start, end) in list.places {
            let text = read(file);
            let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{file} lacks {start}"));
            values.extend(words_between(rest.split(end).next().unwrap(), '"'));
        }
        if list.metric == "graphward_token_alerts_total" {
            assert!(values.remove("page") && values.remove("ticket"));
        }
        let documented = documented(list.metric);
        assert_eq!(
            documented, values,
            "{METRICS} on the left, {:?} on the right",
            list.places
        );
    }
    let listed = |metric: &str| metric == REQUESTS || CODE_LISTS.iter().any(|list| list.metric == metric);
    let of_tenants = ["tenant", "job", "instance"];
    let found = matchers(&queries()).into_iter();
    let mut selected = found.filter(|matcher| !of_tenants.contains(&&*matcher.label));
    let unlisted = selected.find(|matcher| !listed(&matcher.metric));
    assert!(unlisted.is_none(), "add a list of the code for {unlisted:?}");
}

#[test]
fn the_alert_about_lost_requests_and_the_dashboard_count_what_the_code_counts_as_lost() {
    let record = read("src/proxy/record.rs");
    // The arm that records a loss, from the end of the one before it.
    let arm = record.split("outage.record_loss(").next().unwrap();
    let arm = arm.rsplit("=> {}").next().unwrap();
    let label_of = |variant: &str| {
        let (_, rest) = record
            .split_once(&format!("({variant}, ResponseEnd::Complete) => \""))
            .unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let variants = words_starting_with(arm, "Unhealed").into_iter();
    let mut lost: BTreeSet<_> = variants
        .map(|variant| label_of(&format!("Outcome::{variant}")))
        .collect();
    let (_, refusals) = record.split_once("fn is_lost_for_lack_of_a_token(").unwrap();
    lost.extend(words_between(refusals.split("\n}").next().unwrap(), '"'));
    assert!(lost.len() >= 7, "{lost:?}");
    let dashboard = dashboard();
    let panel = dashboard.lines().find(|line| line.contains("$__range])")).unwrap();
    for query in [&*alert("GraphRequestsLostToDeadToken"), panel] {
        assert_eq!(
            selected_outcomes(query),
            lost,
            "{query} on the left, the code on the right"
        );
    }
}

#[test]
fn an_alert_counts_each_refusal_that_a_retry_can_pass() {
    let table = read("docs/refusals.md");
    let rows = table.lines().filter(|line| line.ends_with(" | retry |"));
    let mut passing: BTreeSet<_> = rows.map(|row| row.split('`').nth(3).unwrap().to_owned()).collect();
    assert!(passing.len() >= 7, "{passing:?}");
    assert!(passing.remove("refused_draining"), "a stop is no trouble");
    let unseen: Vec<_> = passing
        .difference(&selected_outcomes(&read("config/prometheus/alerts.yaml")))
        .cloned()
        .collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

/// The rules and the dashboard.
fn queries() -> String {
    read("config/prometheus/alerts.yaml") + &dashboard()
}

fn dashboard() -> String {
    read("config/grafana/graphward.json").replace("\\\"", "\"")
}

/// The expression of an alert.
fn alert(name: &str) -> String {
    let alerts = read("config/prometheus/alerts.yaml");
    let (_, rule) = alerts.split_once(&format!("- alert: {name}\n")).unwrap();
    rule.lines().next().unwrap().to_owned()
}

/// The outcomes of requests that a text selects.
fn selected_outcomes(text: &str) -> BTreeSet<String> {
    let found = matchers(text).into_iter().filter(|matcher| matcher.label == "outcome");
    let found: Vec<_> = found.filter(|matcher| matcher.metric == REQUESTS).collect();
    let is_selected = |outcome: &String| {
        found
            .iter()
            .flat_map(|it| &it.values)
            .any(|value| is_match(value, outcome))
    };
    documented(REQUESTS).into_iter().filter(is_selected).collect()
}

/// Every comparison of a label, `name="value"` or `name=~"value|value"`, after the metric that it is about.
fn matchers(text: &str) -> Vec<Matcher> {
    let selector = Regex::new(r"\b(graphward_[a-z0-9_]+)\{([^}]*)\}").unwrap();
    let comparison = Regex::new(r#"(\w+)(?:=|=~|!=|!~)"([^"]*)""#).unwrap();
    let of_selector = |metric: &str, inside: &str| {
        let found = comparison.captures_iter(inside);
        let matcher = |part: regex_lite::Captures<'_>| Matcher {
            metric: metric.to_owned(),
            label: part[1].to_owned(),
            values: part[2].split('|').map(str::to_owned).collect(),
        };
        found.map(matcher).collect::<Vec<_>>()
    };
    let selectors = selector.captures_iter(text);
    selectors.flat_map(|found| of_selector(&found[1], &found[2])).collect()
}

/// Says which label or value does not exist.
fn fault(matcher: &Matcher) -> Option<String> {
    // Variables of the dashboard.
    if matcher.values == [format!("${}", matcher.label)] {
        return None;
    }
    let known = match &*matcher.label {
        "tenant" => BTreeSet::from(["other".to_owned()]),
        _ => documented(&matcher.metric),
    };
    let row = row(&matcher.metric);
    let (name, _) = row.split_once('}').unwrap();
    if !name.split(['{', ',']).any(|label| label == matcher.label) {
        return Some(format!("{name}}} has no label {}", matcher.label));
    }
    let unknown = |value: &&String| !known.iter().any(|known| is_match(value, known));
    let unknown = matcher.values.iter().find(unknown)?;
    Some(format!("{}: {unknown} is not among {known:?}", matcher.metric))
}

fn is_match(pattern: &str, value: &str) -> bool {
    Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(value)
}

/// The row of a metric that has labels.
fn row(metric: &str) -> String {
    let page = read(METRICS);
    let row = page.lines().find(|line| line.starts_with(&format!("| `{metric}{{")));
    row.unwrap_or_else(|| panic!("{METRICS} has no labels of {metric}"))
        .to_owned()
}

/// The values that the docs list for the labels of a metric.
fn documented(metric: &str) -> BTreeSet<String> {
    if metric == REQUESTS {
        let (outcomes, refusals) = (read("docs/requests.md"), read("docs/refusals.md"));
        let outcomes = outcomes
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let rows = refusals.lines().filter(|line| line.contains(" | 990"));
        let refusals = rows.filter_map(|row| row.split('`').nth(3));
        return outcomes.chain(refusals).map(str::to_owned).collect();
    }
    let meaning = row(metric).split(" | ").nth(1).unwrap().to_owned();
    let mut words = words_between(&meaning, '`');
    let is_value = |word: &String| {
        word.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    words.retain(|word| is_value(word) && !word.starts_with("graphward_"));
    let list = CODE_LISTS.iter().find(|list| list.metric == metric);
    for other in list.map_or(&[][..], |list| list.other_words) {
        assert!(words.remove(*other), "{other} is no exception any more");
    }
    words
}

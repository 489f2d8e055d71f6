//! Graph's rate-limit usage reaches the app and the metrics.

use crate::support::{PROTOCOL_PAIRS, ScriptedResponse, TestProxy, error_envelope};

const APP: &str = r#"{"call_count":12,"total_cputime":3,"total_time":4.5}"#;
const BUSINESS: &str = r#"{"114023108121234":[{"type":"whatsapp","call_count":95,"total_cputime":1,"total_time":2,"estimated_time_to_regain_access":9}],"5":[{"type":"whatsapp","call_count":7,"total_cputime":60,"total_time":1,"estimated_time_to_regain_access":0}]}"#;

fn usage_line(kind: &str, ratio: &str) -> String {
    format!("graphward_graph_rate_limit_usage_ratio{{tenant=\"default\",kind=\"{kind}\"}} {ratio}\n")
}

#[tokio::test(start_paused = true)]
async fn usage_is_passed_on_and_shown() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        assert!(!proxy.metrics().await.contains("usage_ratio{"));
        proxy.script(
            ScriptedResponse::json(200, "{}")
                .with("x-app-usage", APP)
                .with("x-business-use-case-usage", BUSINESS)
                .with("x-ad-account-usage", r#"{"acc_id_util_pct":9.67}"#),
        );
        let answer = proxy.app.get("/me").await;
        assert_eq!(answer.header("x-app-usage"), APP);
        assert_eq!(answer.header("x-business-use-case-usage"), BUSINESS);
        let metrics = proxy.metrics().await;
        for line in [
            usage_line("app_calls", "0.12"),
            usage_line("app_cpu", "0.03"),
            usage_line("app_time", "0.045"),
            usage_line("business_calls", "0.95"),
            usage_line("business_cpu", "0.6"),
            usage_line("ad_account", "0.0967"),
            "graphward_graph_rate_limit_regain_access_seconds{tenant=\"default\"} 540.0\n".to_owned(),
        ] {
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
        assert!(!metrics.contains("114023108121234"), "no account is a label");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_latest_answer_counts_whatever_became_of_it() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (reply, calls, ratio) in [
            (ScriptedResponse::json(429, error_envelope(4)), 100, "1.0"),
            (ScriptedResponse::json(400, error_envelope(100)), 80, "0.8"),
            (ScriptedResponse::json(500, "oops"), 81, "0.81"),
            (ScriptedResponse::json(200, "{}"), 2, "0.02"),
        ] {
            let told = format!(r#"{{"call_count":{calls}}}"#);
            proxy.script(reply.with("x-app-usage", &told));
            let answer = proxy.app.post("x").await;
            assert_eq!(answer.header("x-app-usage"), told);
            let line = usage_line("app_calls", ratio);
            assert!(proxy.metrics().await.contains(&line), "{line}");
        }
        proxy.script(ScriptedResponse::json(200, "{}"));
        proxy.app.post("x").await;
        let line = usage_line("app_calls", "0.02");
        assert!(proxy.metrics().await.contains(&line), "silence says nothing");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_was_healed_has_told_of_usage_too() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        let page = r#"{"call_count":33}"#;
        proxy
            .graph
            .reject_with(ScriptedResponse::expired().with("x-page-usage", page));
        assert_eq!(proxy.app.post("x").await.header("x-page-usage"), "");
        let line = usage_line("page_calls", "0.33");
        assert!(proxy.metrics().await.contains(&line));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn usage_that_is_not_understood_is_passed_on_all_the_same() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for odd in [
            "",
            "busy",
            "{",
            "[1]",
            r#"{"call_count":"many"}"#,
            r#"{"call_count":-1}"#,
        ] {
            proxy.script(ScriptedResponse::json(200, "{}").with("x-app-usage", odd));
            let answer = proxy.app.get("/me").await;
            assert_eq!((answer.status, answer.header("x-app-usage")), (200, odd));
        }
        assert!(!proxy.metrics().await.contains("usage_ratio{"));
        proxy.shutdown().await;
    }
}

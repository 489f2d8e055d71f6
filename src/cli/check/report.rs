//! The report of a check: findings with a level, for people and for machines.

use std::io::IsTerminal as _;

use serde::Serialize;
use serde_json::Value;

/// How a finding is to be taken. The worst one of a report is its exit code.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Level {
    /// As it should be.
    Good,
    /// As it should be, with something to know.
    Note,
    /// It works, but not for long or not for everything.
    Warning,
    /// Something does not work.
    Bad,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct Finding {
    pub(in super::super) level: Level,
    /// What it is about: a word of a closed list.
    pub(super) topic: &'static str,
    /// What it says: a word of a closed list, for machines.
    pub(in super::super) code: &'static str,
    pub(in super::super) message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// The findings about a part of the configuration, or about a tenant.
#[derive(Debug, Serialize)]
pub(in super::super) struct Section {
    /// The name of the tenant; absent for what all tenants share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) tenant: Option<String>,
    #[serde(skip)]
    pub(in super::super) title: String,
    pub(in super::super) level: Level,
    /// The facts behind the findings; null if there are none.
    #[serde(skip_serializing_if = "Value::is_null")]
    facts: Value,
    pub(in super::super) findings: Vec<Finding>,
}

/// The report.
#[derive(Debug, Default, Serialize)]
pub(in super::super) struct Report {
    pub(in super::super) sections: Vec<Section>,
    /// The number of tenants of each level, if `[tenants_from]` lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) listed: Option<Listed>,
}

/// The tenants of `[tenants_from]` by their levels.
#[derive(Debug, Default, Serialize)]
pub(in super::super) struct Listed {
    pub(in super::super) tenants: usize,
    pub(in super::super) good: usize,
    pub(in super::super) warning: usize,
    pub(in super::super) bad: usize,
}

// === impl Finding ===

impl Finding {
    pub(super) fn new(level: Level, topic: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            level,
            topic,
            code,
            message,
            advice: None,
        }
    }

    pub(super) fn good(topic: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Good, topic, "ok", message)
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { advice, ..self }
    }
}

// === impl Section ===

impl Section {
    pub(super) fn new(title: impl Into<String>, findings: Vec<Finding>) -> Self {
        Self {
            tenant: None,
            title: title.into(),
            level: worst(&findings),
            facts: Value::Null,
            findings,
        }
    }

    pub(super) fn of_tenant(tenant: &str, facts: Value, findings: Vec<Finding>) -> Self {
        Self {
            tenant: Some(tenant.to_owned()),
            facts,
            ..Self::new(format!("tenant {tenant}"), findings)
        }
    }
}

fn worst(findings: &[Finding]) -> Level {
    findings
        .iter()
        .map(|finding| finding.level)
        .max()
        .unwrap_or(Level::Good)
}

// === impl Report ===

impl Report {
    /// The worst level.
    pub(in super::super) fn level(&self) -> Level {
        let listed = self.listed.as_ref().map_or(Level::Good, |listed| match listed {
            Listed { bad: 1.., .. } => Level::Bad,
            Listed { warning: 1.., .. } => Level::Warning,
            Listed { .. } => Level::Good,
        });
        self.sections.iter().map(|section| section.level).fold(listed, Ord::max)
    }

    /// The report as JSON.
    pub(in super::super) fn to_json(&self) -> String {
        let mut document = serde_json::to_value(self).unwrap_or_default();
        if let Some(document) = document.as_object_mut() {
            document.insert("level".to_owned(), serde_json::json!(self.level()));
        }
        format!("{document:#}")
    }

    /// The report for people.
    pub(in super::super) fn to_text(&self, colors: Colors) -> String {
        let mut lines = Vec::new();
        for section in &self.sections {
            lines.push(section.title.clone());
            for finding in &section.findings {
                let level = colors.paint(finding.level);
                lines.push(format!("  {level}  {:<8} {}", finding.topic, finding.message));
                lines.extend(finding.advice.as_ref().map(|advice| format!("{:20} {advice}", "")));
            }
        }
        if let Some(Listed {
            tenants,
            good,
            warning,
            bad,
        }) = &self.listed
        {
            lines.push(format!(
                "tenants_from: {tenants} tenants, {good} good, {warning} with warnings, {bad} bad"
            ));
        }
        let count = |level| {
            let findings = self.sections.iter().flat_map(|section| &section.findings);
            findings.filter(|finding| finding.level == level).count()
        };
        lines.push(match self.level() {
            Level::Good | Level::Note => "Everything is good.".to_owned(),
            Level::Warning | Level::Bad => format!("{} bad, {} warnings.", count(Level::Bad), count(Level::Warning)),
        });
        lines.join("\n")
    }
}

/// Whether levels are colored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Colors {
    On,
    Off,
}

// === impl Colors ===

impl Colors {
    /// Colors for a terminal, unless `NO_COLOR` is set.
    pub(in super::super) fn of_stdout() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !is_refused {
            Self::On
        } else {
            Self::Off
        }
    }

    /// The level as a word of seven characters.
    fn paint(self, level: Level) -> String {
        let (word, color) = match level {
            Level::Good => ("ok", 32),
            Level::Note => ("note", 36),
            Level::Warning => ("warning", 33),
            Level::Bad => ("bad", 31),
        };
        match self {
            Self::On => format!("\u{1b}[{color}m{word:<7}\u{1b}[0m"),
            Self::Off => format!("{word:<7}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_is_the_level_of_the_report() {
        let finding = |level| Finding::new(level, "token", "word", "something");
        let report = |levels: &[Level]| Report {
            sections: levels
                .iter()
                .map(|level| Section::new("a", vec![finding(*level)]))
                .collect(),
            listed: None,
        };
        assert_eq!(report(&[]).level(), Level::Good);
        assert_eq!(
            report(&[Level::Warning, Level::Good, Level::Note]).level(),
            Level::Warning
        );
        assert_eq!(report(&[Level::Bad, Level::Warning]).level(), Level::Bad);
        let listed = Report {
            listed: Some(Listed {
                bad: 1,
                ..Listed::default()
            }),
            ..report(&[Level::Good])
        };
        assert_eq!(listed.level(), Level::Bad);
    }

    #[test]
    fn people_see_a_line_for_each_finding_and_what_to_do() {
        let finding = Finding::new(Level::Bad, "token", "word", "it is dead").advise("Replace it.");
        let report = Report {
            sections: vec![Section::of_tenant(
                "acme",
                Value::Null,
                vec![Finding::good("app", "it is right"), finding],
            )],
            listed: None,
        };
        let expected = "tenant acme\n  ok       app      it is right\n  bad      token    it is dead\n                     Replace it.\n1 bad, 0 warnings.";
        assert_eq!(report.to_text(Colors::Off), expected);
        assert!(report.to_text(Colors::On).contains("\u{1b}[31mbad    \u{1b}[0m"));
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["level"], "bad");
        assert_eq!(json["sections"][0]["findings"][1]["advice"], "Replace it.");
        assert_eq!(json["sections"][0]["tenant"], "acme");
    }
}

//! The report of a check: findings with a level, for people and for machines.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::table::{Tone, printable};

/// How a finding is to be taken. The worst one of a report is its exit code.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
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
pub(super) struct Finding {
    pub(super) level: Level,
    /// What it is about: a word of a closed list.
    pub(super) topic: &'static str,
    /// What it says: a word of a closed list, for machines.
    pub(super) code: &'static str,
    pub(super) message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// The findings about a part of the configuration, or about a tenant.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    #[serde(skip)]
    title: String,
    /// The name of the tenant, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    pub(super) level: Level,
    pub(super) findings: Vec<Finding>,
    /// The facts behind the findings, if there are any.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(super) facts: Value,
}

/// The report.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) sections: Vec<Section>,
    /// The number of tenants of each level, if `[tenants_from]` lists them.
    pub(super) listed: BTreeMap<Level, usize>,
}

// === impl Level ===

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

// === impl Finding ===

impl Finding {
    pub(super) fn new(level: Level, topic: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        let (message, advice) = (message.into(), None);
        Self {
            level,
            topic,
            code,
            message,
            advice,
        }
    }

    pub(super) fn good(topic: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Good, topic, "ok", message)
    }

    pub(super) fn bad(topic: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Bad, topic, code, message)
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
            title: title.into(),
            tenant: None,
            level: findings.iter().map(|it| it.level).max().unwrap_or(Level::Good),
            findings,
            facts: Value::Null,
        }
    }

    pub(super) fn of_tenant(tenant: &str, findings: Vec<Finding>) -> Self {
        Self {
            tenant: Some(tenant.to_owned()),
            ..Self::new(format!("tenant {tenant}"), findings)
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) const fn of(sections: Vec<Section>) -> Self {
        let listed = BTreeMap::new();
        Self { sections, listed }
    }

    /// The worst level.
    pub(super) fn level(&self) -> Level {
        let levels = self.sections.iter().map(|section| section.level);
        levels.chain(self.listed.keys().copied()).max().unwrap_or(Level::Good)
    }

    /// The report for programs.
    pub(super) fn to_json(&self) -> Value {
        let listed = self.listed.iter().map(|(level, count)| (level.word(), count));
        let listed: BTreeMap<_, _> = listed.collect();
        json!({"level": self.level(), "sections": self.sections, "listed": listed})
    }

    /// The report for people, with colors.
    pub(super) fn to_text(&self) -> String {
        let mut lines = Vec::new();
        for Section { title, findings, .. } in &self.sections {
            lines.push(printable(title));
            for finding in findings {
                let level = format!("{:<7}", finding.level.word());
                let tone = match finding.level {
                    Level::Warning => Tone::Warning,
                    Level::Bad => Tone::Bad,
                    Level::Good | Level::Note => Tone::Plain,
                };
                let level = tone.paint(&level);
                lines.push(format!(
                    "  {level}  {:<8} {}",
                    finding.topic,
                    printable(&finding.message)
                ));
                let advice = finding.advice.iter();
                lines.extend(advice.map(|advice| format!("{:20} {}", "", printable(advice))));
            }
        }
        if !self.listed.is_empty() {
            let listed = self
                .listed
                .iter()
                .map(|(level, count)| format!("{count} {}", level.word()));
            let listed = Vec::from_iter(listed).join(", ");
            lines.push(format!("tenants of tenants_from: {listed}"));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_is_the_level_of_the_report() {
        let section = |level| Section::new("a", vec![Finding::new(level, "token", "word", "something")]);
        let report = |levels: &[Level]| Report::of(levels.iter().map(|level| section(*level)).collect());
        assert_eq!(report(&[]).level(), Level::Good);
        assert_eq!(
            report(&[Level::Warning, Level::Good, Level::Note]).level(),
            Level::Warning
        );
        assert_eq!(report(&[Level::Bad, Level::Warning]).level(), Level::Bad);
        let mut listed = report(&[Level::Good]);
        listed.listed.insert(Level::Bad, 1);
        assert_eq!(listed.level(), Level::Bad);
    }

    #[test]
    fn people_see_a_line_for_each_finding_and_what_to_do() {
        let finding = Finding::bad("token", "word", "it is dead").advise("Replace it.");
        let section = Section::of_tenant("acme", vec![Finding::good("app", "it is right"), finding]);
        let report = Report::of(vec![section]);
        let expected = "tenant acme\n  ok       app      it is right\n  bad      token    it is dead\n                     Replace it.";
        assert_eq!(anstream::adapter::strip_str(&report.to_text()).to_string(), expected);
        let foreign = "\u{1b}]0;owned\u{7}a\u{9b}2Jb\nc";
        let finding = Finding::bad("source", "word", foreign).advise(foreign);
        let shown = Report::of(vec![Section::new(foreign, vec![finding])]).to_text();
        let shown = shown.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
        assert_eq!(shown.lines().count(), 3, "{shown}");
        let json = report.to_json();
        assert_eq!(json["level"], "bad");
        assert_eq!(json["sections"][0]["findings"][1]["advice"], "Replace it.");
        assert_eq!(json["sections"][0]["tenant"], "acme");
    }
}

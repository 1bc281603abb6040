//! A line of findings.jsonl: what is said of an endpoint, on what grounds, and what speaks against it.

use super::{SCHEMA, milli, rfc3339};
use crate::evidence::{Evidence, Finding};
use crate::intel::Distance;
use serde::Serialize;
use std::net::IpAddr;

/// A line of findings.jsonl.
#[derive(Debug, Serialize)]
pub struct FindingRecord<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u8,
    id: &'a str,
    endpoint: IpAddr,
    question: &'static str,
    verdict: &'static str,
    hypothesis: &'static str,
    severity: &'static str,
    score: f64,
    llr: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    false_discovery_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<u32>,
    innocent: InnocentRecord<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_leg_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_km: Option<DistanceRecord>,
    evidence: Vec<EvidenceRecord<'a>>,
    missing: &'a [String],
    attack: &'static [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identities: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<SuppressedRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
}

#[derive(Debug, Serialize)]
struct SuppressedRecord<'a> {
    allow: &'static str,
    reason: &'a str,
    owner: &'a str,
    expires: &'a str,
}

#[derive(Debug, Serialize)]
struct InnocentRecord<'a> {
    hypothesis: &'static str,
    llr: f64,
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct DistanceRecord {
    soft_min: f64,
    best: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct EvidenceRecord<'a> {
    rule: &'static str,
    family: &'static str,
    llr: f64,
    llr_plain: f64,
    value: f64,
    unit: &'static str,
    n: u64,
    text: &'a str,
    cites: &'a [String],
}

impl<'a> FindingRecord<'a> {
    /// The record of a finding.
    #[must_use]
    pub fn of(finding: &'a Finding) -> Self {
        let km =
            |d: Distance| DistanceRecord { soft_min: d.soft_min.round(), best: d.best.round(), max: d.max.round() };
        let evidence = |e: &'a Evidence| EvidenceRecord {
            rule: e.rule,
            family: e.family.name(),
            llr: milli(e.llr),
            llr_plain: milli(e.llr_plain),
            value: milli(e.value),
            unit: e.unit,
            n: e.n,
            text: &e.text,
            cites: &e.cites,
        };
        Self {
            kind: "finding",
            schema: SCHEMA,
            id: &finding.id,
            endpoint: finding.endpoint,
            question: finding.question.name(),
            verdict: finding.verdict.name(),
            hypothesis: finding.hypothesis.name(),
            severity: finding.severity.name(),
            score: milli(finding.score),
            llr: milli(finding.llr),
            false_discovery_rate: finding.false_discovery_rate,
            e_value: finding.over_days.map(|over| milli(over.e_value)),
            days: finding.over_days.map(|over| over.days),
            innocent: InnocentRecord {
                hypothesis: finding.innocent.hypothesis.name(),
                llr: milli(finding.innocent.llr),
                text: &finding.innocent.text,
            },
            hidden_leg_ms: finding.hidden_leg_ms.map(milli),
            operator_km: finding.operator.map(km),
            evidence: finding.evidence.iter().map(evidence).collect(),
            missing: &finding.missing,
            attack: finding.hypothesis.attack(),
            identities: finding.identities.iter().map(|identity| identity.name.as_str()).collect(),
            suppressed: finding.suppressed.as_ref().map(|by| SuppressedRecord {
                allow: by.allow,
                reason: &by.reason,
                owner: &by.owner,
                expires: &by.expires,
            }),
            first_seen: finding.first_seen.map(rfc3339),
            last_seen: finding.last_seen.map(rfc3339),
        }
    }
}

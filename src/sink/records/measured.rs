//! What one endpoint brings to a baseline: its days, and its programs by a hash of their fingerprint.

use super::milli;
use crate::evidence::{DayMeasured, ProgramMeasured, program_group};
use serde::Serialize;

/// A day of an endpoint.
#[derive(Debug, Serialize)]
pub(super) struct DayRecord {
    day: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    excess_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gaps: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap_ms: Option<f64>,
}

/// A program of an endpoint.
#[derive(Debug, Serialize)]
pub(super) struct ProgramRecord {
    program: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps_ms: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<f64>,
}

impl DayRecord {
    pub(super) fn of(measured: &DayMeasured) -> Self {
        let date = jiff::civil::date(1970, 1, 1)
            .checked_add(jiff::Span::new().days(measured.day.clamp(-700_000, 2_900_000)))
            .unwrap_or(jiff::civil::Date::MAX);
        Self {
            day: date.to_string(),
            n: measured.excess.map(|(n, _)| n),
            excess_ms: measured.excess.map(|(_, ms)| milli(ms)),
            gaps: measured.gap.map(|(n, _)| n),
            gap_ms: measured.gap.map(|(_, ms)| milli(ms)),
        }
    }
}

impl ProgramRecord {
    pub(super) fn of((program, measured): (&u64, &ProgramMeasured)) -> Self {
        Self {
            program: program_group(*program),
            gaps_ms: measured.gaps_ms.iter().copied().map(milli).collect(),
            lag_ms: measured.lag_ms.map(milli),
        }
    }
}

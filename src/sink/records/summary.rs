//! summary.json: what was read, what came of it, under which configuration.

use crate::session::{SessionKind, Tally};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many endpoints got which verdict.
pub type Verdicts = BTreeMap<&'static str, u64>;

/// summary.json.
#[derive(Debug, Serialize)]
pub struct SummaryRecord<'a> {
    /// Always `summary`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The version of the shapes.
    pub schema: u8,
    /// One entry an input.
    pub inputs: Vec<InputRecord>,
    /// What became of the frames.
    pub frames: FramesRecord,
    /// Flows.
    pub flows: u64,
    /// Session records.
    pub sessions: u64,
    /// Remote control, tunnels, proxies and calls among them, by kind.
    pub recognised: Vec<RecognisedRecord<'a>>,
    /// Endpoints.
    pub endpoints: u64,
    /// Findings.
    pub findings: u64,
    /// Findings that an entry of the allow-list covers; they are recorded, and not among `findings`.
    pub suppressed: u64,
    /// Entries of the allow-list that need a look.
    pub allow: Vec<AllowRecord>,
    /// The lines that the licences of databases in use want.
    pub attribution: Vec<&'static str>,
    /// Endpoints by verdict.
    pub verdicts: Verdicts,
    /// Records that had to make room, by kind.
    pub evicted: BTreeMap<&'static str, u64>,
    /// What was not taken in, by kind.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Frames that were a mirror's second copy.
    pub duplicates: u64,
    /// Frames whose time lay before an earlier frame's.
    pub time_backwards: u64,
    /// Wall time of the run, in s.
    pub seconds: f64,
    /// Frames per second of wall time.
    pub packets_per_second: f64,
    /// Of farmlight.
    pub version: &'static str,
    /// The configuration in effect.
    pub config: serde_json::Value,
}

/// An entry of the allow-list that has expired or covered nothing.
#[derive(Debug, Serialize)]
pub struct AllowRecord {
    /// Which, counted from 1.
    pub entry: usize,
    /// Its reason.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// `expired` (it would have covered something) or `unused`.
    pub state: &'static str,
}

/// How many sessions of one kind there were.
#[derive(Debug, Serialize)]
pub struct RecognisedRecord<'a> {
    category: &'static str,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    confidence: &'static str,
    sessions: u64,
    bytes: u64,
}

impl<'a> RecognisedRecord<'a> {
    /// The record of a kind.
    #[must_use]
    pub fn of((kind, tally): (&'a SessionKind, &'a Tally)) -> Self {
        Self {
            category: kind.category.name(),
            protocol: kind.protocol,
            carrier: kind.carrier,
            application: kind.application,
            confidence: kind.confidence.name(),
            sessions: tally.sessions,
            bytes: tally.bytes,
        }
    }
}

/// What became of one input.
#[derive(Debug, Serialize)]
pub struct InputRecord {
    /// As the user named it.
    pub path: String,
    /// Frames read.
    pub frames: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Earliest time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Latest time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Why it was not read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
}

/// Where and why reading stopped.
#[derive(Debug, Serialize)]
pub struct ErrorRecord {
    /// Offset in the decompressed input, bytes.
    pub offset: u64,
    /// In words.
    pub reason: String,
}

/// `read` = `decoded` + the sum of `not_understood`.
#[derive(Debug, Serialize)]
pub struct FramesRecord {
    /// Frames read.
    pub read: u64,
    /// Frames that gave an IP packet or a fragment of one.
    pub decoded: u64,
    /// The others, by reason.
    pub not_understood: BTreeMap<&'static str, u64>,
}

//! Everything the folder holds of one endpoint, put together.
//!
//! Reads: the records. Emits: a [`Case`], which the page draws and `--format json` writes. Does not: keep sessions: of
//! each kind it keeps a count, a few peers and the first and last time.

use crate::app::folder::{FindingView, Folder, Found, Line, quoted};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of sessions that are told apart; what comes after goes by "other".
const MAX_KINDS: usize = 500;
/// Peers kept of a kind.
const PEERS: usize = 3;

/// What is read of an endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EndpointView {
    ip: String,
    pub(super) name: Option<String>,
    pub(super) first_seen: Option<String>,
    pub(super) last_seen: Option<String>,
    pub(super) sessions: u64,
    pub(super) bytes: u64,
    pub(super) place: PlaceView,
    pub(super) ladder: Vec<RungView>,
    pub(super) path: Map<String, Value>,
    pub(super) tunnel: TunnelView,
    pub(super) verdict: String,
    pub(super) score: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PlaceView {
    pub(super) country: Option<String>,
    pub(super) region: Option<String>,
    pub(super) city: Option<String>,
    pub(super) asn: Option<u32>,
    pub(super) org: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) source: Option<String>,
}

/// What was joined to the endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TunnelView {
    /// Addresses inside its tunnel.
    pub(super) inner: Vec<JoinView>,
    /// Whose tunnel it is inside of.
    pub(super) outer: Vec<JoinView>,
}

/// An address at the other side of a tunnel.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JoinView {
    pub(super) ip: String,
    pub(super) by: String,
    pub(super) correlation: Option<f64>,
}

/// A rung of the ladder. What a version doesn't measure is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RungView {
    pub(super) layer: String,
    pub(super) n: u64,
    pub(super) min_ms: f64,
    pub(super) p05_ms: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) jitter_ms: Option<f64>,
    pub(super) windows: Option<u64>,
    pub(super) expected_ms: Option<f64>,
    pub(super) methods: Value,
    pub(super) confidence: Value,
    pub(super) steps: Value,
}

/// A line of identities.jsonl.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct IdentityView {
    pub(super) address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inner: Option<String>,
    pub(super) identity: String,
    pub(super) names: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) source: String,
    pub(super) confidence: String,
}

/// What is read of a session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SessionView {
    start: String,
    end: String,
    transport: String,
    client: EndView,
    server: EndView,
    protocol: Option<String>,
    carrier: Option<String>,
    application: Option<String>,
    category: Option<String>,
    confidence: Option<String>,
    server_name: Option<String>,
    allowed: Option<String>,
    flows: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndView {
    ip: String,
    port: Option<u16>,
    bytes: u64,
}

/// Sessions of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Kind {
    /// They are of an address inside the endpoint's tunnel.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) inside: bool,
    pub(super) category: String,
    pub(super) protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) carrier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) application: Option<String>,
    pub(super) confidence: String,
    /// Whether the endpoint opened them.
    pub(super) opened: bool,
    /// The reason of the allow-list's entry that covers them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allowed: Option<String>,
}

/// What was counted of a kind.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) sessions: u64,
    pub(super) bytes: u64,
    pub(super) first: String,
    pub(super) last: String,
    /// Some of the other ends.
    pub(super) peers: BTreeSet<String>,
    pub(super) more_peers: bool,
}

/// What the folder holds of one endpoint.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) endpoint: Line<EndpointView>,
    pub(super) found: Found,
    pub(super) identities: Vec<IdentityView>,
    pub(super) kinds: BTreeMap<Kind, Tally>,
    /// What the cited flows are, by Community ID.
    pub(super) cited: BTreeMap<String, String>,
    pub(super) summary: Value,
}

impl Case {
    pub(super) fn gather(folder: &Folder, found: Found) -> anyhow::Result<Self> {
        let text = quoted(&found.address);
        let mut endpoint = None;
        let mut fault = None;
        folder.each(
            "endpoints.jsonl",
            |line| line.contains(&text),
            |raw: Value| match EndpointView::deserialize(&raw) {
                Ok(view) if view.ip == found.address => endpoint = Some(Line { raw, view }),
                Ok(_) => {}
                Err(error) => fault = Some(error),
            },
        )?;
        if let Some(error) = fault {
            return Err(error).context(folder.path("endpoints.jsonl").display().to_string());
        }
        let Some(endpoint) = endpoint else { anyhow::bail!("{}", folder.no_endpoint(&found.address)?) };
        let mut identities = Vec::new();
        folder.each(
            "identities.jsonl",
            |line| line.contains(&text),
            |identity: IdentityView| {
                if identity.address == found.address || identity.inner.as_deref() == Some(found.address.as_str()) {
                    identities.push(identity);
                }
            },
        )?;
        let summary = folder.summary()?;
        let mut case = Self { endpoint, found, identities, kinds: BTreeMap::new(), cited: BTreeMap::new(), summary };
        let wanted: BTreeSet<String> = case.cites().map(str::to_owned).collect();
        let inside = case.endpoint.view.tunnel.inner.iter().map(|joined| joined.ip.clone());
        let all: Vec<String> = std::iter::once(case.found.address.clone()).chain(inside).collect();
        let texts: Vec<String> = all.iter().map(|address| quoted(address)).collect();
        folder.each(
            "sessions.jsonl",
            |line| texts.iter().any(|text| line.contains(text)),
            |session: SessionView| case.add(&session, &all, &wanted),
        )?;
        Ok(case)
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &FindingView> {
        self.found.findings.iter().map(|line| &line.view)
    }

    fn cites(&self) -> impl Iterator<Item = &str> {
        self.findings().flat_map(|finding| &finding.evidence).flat_map(|evidence| &evidence.cites).map(String::as_str)
    }

    /// Counts a session of one of these addresses: the endpoint's own is the first, the others are inside its tunnel.
    fn add(&mut self, session: &SessionView, addresses: &[String], cited: &BTreeSet<String>) {
        let place = |ip: &String| addresses.iter().position(|address| address == ip);
        let (opened, at) = match (place(&session.client.ip), place(&session.server.ip)) {
            (Some(at), _) => (true, at),
            (None, Some(at)) => (false, at),
            (None, None) => return,
        };
        let inside = at > 0;
        let protocol = session.protocol.as_deref().unwrap_or(&session.transport);
        let peer = if opened { &session.server } else { &session.client };
        let peer = match peer.port {
            // Who opens a connection has a port that says nothing.
            Some(port) if opened && peer.ip.contains(':') => format!("[{}]:{port}", peer.ip),
            Some(port) if opened => format!("{}:{port}", peer.ip),
            _ => peer.ip.clone(),
        };
        for flow in session.flows.iter().filter(|flow| cited.contains(*flow)) {
            let toward = if opened { "to" } else { "from" };
            let place = if inside { ", inside its tunnel" } else { "" };
            let what = format!("{protocol} {toward} {peer} at {}{place}", clock(&session.start));
            self.cited.insert(flow.clone(), what);
        }
        let mut kind = Kind {
            inside,
            category: session.category.clone().unwrap_or_else(|| "other".to_owned()),
            protocol: protocol.to_owned(),
            carrier: session.carrier.clone(),
            application: session.application.clone(),
            confidence: session.confidence.clone().unwrap_or_else(|| "unrecognised".to_owned()),
            opened,
            allowed: session.allowed.clone(),
        };
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&kind) {
            kind = Kind { protocol: "other".to_owned(), carrier: None, application: None, allowed: None, ..kind };
        }
        let tally = self.kinds.entry(kind).or_default();
        tally.sessions += 1;
        tally.bytes += session.client.bytes + session.server.bytes;
        if tally.first.is_empty() || session.start < tally.first {
            tally.first.clone_from(&session.start);
        }
        if session.end > tally.last {
            tally.last.clone_from(&session.end);
        }
        let peer = match &session.server_name {
            Some(name) if opened => format!("{peer} ({name})"),
            _ => peer,
        };
        if tally.peers.len() < PEERS {
            tally.peers.insert(peer);
        } else if !tally.peers.contains(&peer) {
            tally.more_peers = true;
        }
    }

    /// The captures of the run, as they were named.
    pub(super) fn inputs(&self) -> Vec<&str> {
        let inputs = self.summary.get("inputs").and_then(Value::as_array);
        inputs.into_iter().flatten().filter_map(|input| input.get("path")?.as_str()).collect()
    }

    /// Captures that were not read to their end.
    pub(super) fn broken(&self) -> usize {
        let inputs = self.summary.get("inputs").and_then(Value::as_array);
        inputs.into_iter().flatten().filter(|input| input.get("error").is_some()).count()
    }

    /// The whole as one object.
    pub(super) fn to_json(&self, next: &[String]) -> Value {
        let findings: Vec<&Value> = self.found.findings.iter().map(|line| &line.raw).collect();
        let kinds = self.kinds.iter().map(|(kind, tally)| {
            let mut one = serde_json::to_value(kind).unwrap_or_default();
            if let (Value::Object(one), Ok(Value::Object(more))) = (&mut one, serde_json::to_value(tally)) {
                one.extend(more);
            }
            one
        });
        serde_json::json!({
            "type": "explanation",
            "schema": 1,
            "ip": self.found.address,
            "endpoint": self.endpoint.raw,
            "findings": findings,
            "identities": self.identities,
            "sessions": kinds.collect::<Vec<Value>>(),
            "cited": self.cited,
            "next": next,
            "inputs": self.summary.get("inputs"),
            "version": self.summary.get("version"),
        })
    }
}

/// The time of day of an RFC 3339 time, to the second.
pub(super) fn clock(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// Two times as people write them: the day once if it is the same.
pub(super) fn span(first: &str, last: &str) -> String {
    let day = |time: &str| time.get(..10).unwrap_or(time).to_owned();
    let minute = |time: &str| time.get(11..16).unwrap_or_default().to_owned();
    if day(first) != day(last) {
        return format!("{} {} to {} {}", day(first), minute(first), day(last), minute(last));
    }
    if minute(first) == minute(last) {
        return format!("{} {}", day(first), minute(first));
    }
    format!("{} {} to {}", day(first), minute(first), minute(last))
}

//! The `path` of an endpoint's record, as `docs/path.md` describes it.
//!
//! Reads: an endpoint's path. Emits: its record. Does not: leave out what is ambiguous; it is told as such.

use super::rfc3339;
use crate::fingerprint::{Change, Family, Hosts, Origin, Path, Stack};
use serde::Serialize;

/// What an endpoint's packets say of the way they came and of the machines that sent them.
#[derive(Debug, Serialize)]
pub(super) struct PathRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    hops: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hops_range: Option<[u8; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hops_candidates: Vec<OriginRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hops_seen: Vec<HopCountRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hop_changes: Vec<ChangeRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mss: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_packet: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overhead: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overhead_candidates: Vec<&'static str>,
    #[serde(skip_serializing_if = "is_zero")]
    mss_clamped: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mtu_changes: Vec<ChangeRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datagram: Option<SizeRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    datagram_changes: Vec<ChangeRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<SizeRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack_family: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stacks: Vec<StackRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clock_hz: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<HostsRecord>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One way to read a TTL.
#[derive(Debug, Serialize)]
struct OriginRecord {
    initial_ttl: u8,
    hops: u8,
}

/// So many sessions came over so many hops.
#[derive(Debug, Serialize)]
struct HopCountRecord {
    hops: u8,
    sessions: u64,
}

/// A value that gave way to another.
#[derive(Debug, Serialize)]
struct ChangeRecord {
    at: String,
    from: u16,
    to: u16,
}

/// A size in bytes and all that can have left it.
#[derive(Debug, Serialize)]
struct SizeRecord {
    bytes: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct StackRecord {
    stack: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    families: Vec<&'static str>,
    sessions: u64,
}

#[derive(Debug, Serialize)]
struct HostsRecord {
    at_least: usize,
    method: &'static str,
    basis: BasisRecord,
}

#[derive(Debug, Serialize)]
struct BasisRecord {
    lines: usize,
    families: usize,
    connections: usize,
}

impl PathRecord {
    pub(super) fn of(path: &Path) -> Self {
        let counts = path.hop_counts();
        let several = counts.len() > 1;
        let range = counts.first().zip(counts.last()).map(|((least, _), (most, _))| [*least, *most]);
        let origins = path.origins();
        let stacks = path.stacks();
        let origin = |o: &Origin| OriginRecord { initial_ttl: o.initial, hops: o.hops };
        let stack = |(stack, sessions): &(Stack, u64)| StackRecord {
            stack: stack.to_string(),
            families: stack.families().into_iter().map(Family::name).collect(),
            sessions: *sessions,
        };
        Self {
            hops: path.hops(),
            hops_range: range.filter(|_| several),
            hops_candidates: if origins.len() > 1 { origins.iter().map(origin).collect() } else { Vec::new() },
            hops_seen: counts
                .into_iter()
                .filter(|_| several)
                .map(|(hops, sessions)| HopCountRecord { hops, sessions })
                .collect(),
            hop_changes: path.hop_changes().iter().map(ChangeRecord::of).collect(),
            mss: path.mss().map(|(mss, _)| mss),
            mtu: path.mtu(),
            max_packet: (path.max_packet > 0).then_some(path.max_packet),
            overhead: path.overhead().map(crate::fingerprint::Overhead::name),
            overhead_candidates: path.causes(),
            mss_clamped: path.clamped(),
            mtu_changes: path.mtu_changes().iter().map(ChangeRecord::of).collect(),
            datagram: path.largest_datagram().map(SizeRecord::of),
            datagram_changes: path.datagram_changes().iter().map(ChangeRecord::of).collect(),
            fragment: path.fragment().map(SizeRecord::of),
            stack: stacks.first().map(|(stack, _)| stack.to_string()),
            stack_family: path.family().map(Family::name),
            stacks: stacks.iter().map(stack).collect(),
            clock_hz: path.clocks().iter().map(|(hertz, _)| *hertz).collect(),
            hosts: path.hosts().map(HostsRecord::of),
        }
    }
}

impl ChangeRecord {
    fn of<V: Copy + Into<u16>>(change: &Change<V>) -> Self {
        Self { at: rfc3339(change.at), from: change.from.into(), to: change.to.into() }
    }
}

impl SizeRecord {
    fn of((bytes, candidates): (u16, Vec<&'static str>)) -> Self {
        Self { bytes, candidates }
    }
}

impl HostsRecord {
    const fn of(hosts: Hosts) -> Self {
        let basis = BasisRecord { lines: hosts.lines, families: hosts.families, connections: hosts.compared };
        Self { at_least: hosts.at_least, method: hosts.method, basis }
    }
}

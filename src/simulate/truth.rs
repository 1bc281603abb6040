//! What is really the case in a capture, as `truth.json` tells it.
//!
//! Reads: what the scenario laid out. Emits: serialisable records. Times in milliseconds to a thousandth.
//! `expected_*` is what a ping would average while the line is quiet; `minimum_*` is the time of an empty path, below
//! which no loop can close.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The truth about a capture; the fields of its subject stand at the top level too.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The seed it was made with.
    pub seed: u64,
    /// Where the tap is.
    pub sensor_location: String,
    /// Its latitude and longitude.
    pub sensor_coordinates: [f64; 2],
    /// Files of packets beside this one.
    pub captures: Vec<&'static str>,
    /// The company's networks and servers by name.
    pub corp: BTreeMap<&'static str, &'static str>,
    /// Seconds over which sessions begin.
    pub duration_s: f64,
    /// Workdays; more than one only in a longer simulation.
    #[serde(skip_serializing_if = "is_one")]
    pub days: u32,
    /// The endpoint the scenario is about.
    #[serde(flatten)]
    pub subject: EndpointTruth,
    /// Every endpoint, the subject first, then its honest company.
    pub endpoints: Vec<EndpointTruth>,
}

/// The truth about one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointTruth {
    /// The scenario it belongs to.
    #[serde(skip)]
    pub scenario: &'static str,
    /// `benign` or `relayed`.
    pub label: &'static str,
    /// b1 direct, b2 through the corporate VPN, b3 bad last mile, b5 near helpdesk, b6 honest and far or on the way, b7
    /// several people at one address, b8 through a provider's egress, b9 a call or a jump host; r1 laptop driven by
    /// remote control, r2 home as L3 exit, r3 home as L4 proxy, r4 several laptops in one home, r5 commercial exit.
    pub kind: &'static str,
    /// The address the tap sees.
    pub endpoint_ip: IpAddr,
    /// The address the gateway gave it inside its tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner_ip: Option<IpAddr>,
    /// Where the worker says to be.
    pub claimed_location: String,
    /// The AS number of that address.
    pub claimed_asn: u32,
    /// The kind of network it is in.
    pub claimed_kind: &'static str,
    /// Where the person at the keyboard is.
    pub operator_location: String,
    /// What stands between, if anything.
    pub relay_kind: Option<&'static str>,
    /// Average round trip from the tap to where TCP ends; `null` for pure UDP.
    pub expected_tcp_rtt_ms: Option<f64>,
    /// Average round trip from the tap to where the application runs.
    pub expected_app_rtt_ms: f64,
    /// The round trip to where TCP ends that no packet can beat.
    pub minimum_tcp_rtt_ms: Option<f64>,
    /// The round trip to the application that no packet can beat.
    pub minimum_app_rtt_ms: f64,
    /// Average round trip between operator and home, of a driven laptop between operator and relay; 0 when there is no such leg.
    pub hidden_leg_rtt_ms: f64,
    /// One-way delay of each leg when empty.
    pub legs_one_way_ms: BTreeMap<&'static str, f64>,
    /// The stack whose TCP the tap sees.
    pub tcp_stack: &'static str,
    /// Routers between it and the tap.
    pub hops: u8,
    /// Computers behind the address.
    #[serde(skip_serializing_if = "is_one")]
    pub hosts: u32,
    /// Who signs on from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<String>,
    /// Where they have told the company that they live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub declared_homes: Vec<DeclaredHome>,
    /// Protocols it speaks, sorted.
    pub protocols: Vec<&'static str>,
    /// Sessions it opens.
    pub sessions: u32,
    /// What else is to be known.
    pub notes: Vec<&'static str>,
}

/// Where somebody has told the company to live.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeclaredHome {
    /// Who.
    pub identity: String,
    /// Latitude and longitude.
    pub coordinates: [f64; 2],
    /// ISO 3166-1 alpha-2 code.
    pub country: &'static str,
    /// The largest subdivision.
    pub region: &'static str,
    /// The city.
    pub city: &'static str,
}

impl Truth {
    /// What all have declared, for `analyze --homes`, if anybody has. Of two with one name the first counts.
    #[must_use]
    pub fn homes_csv(&self) -> Option<String> {
        let mut told = BTreeSet::new();
        let homes = self.endpoints.iter().flat_map(|endpoint| &endpoint.declared_homes);
        let rows: String = homes
            .filter(|home| told.insert(home.identity.as_str()))
            .map(|DeclaredHome { identity, coordinates: [lat, lon], country, region, city }| {
                format!("{identity},{lat},{lon},{country},{region},{city}\n")
            })
            .collect();
        (!rows.is_empty()).then(|| format!("identity,lat,lon,country,region,city\n{rows}"))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_one(number: &u32) -> bool {
    *number == 1
}

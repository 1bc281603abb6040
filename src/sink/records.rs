//! The shapes of the records, as `docs/output.md` describes them: fixed names, absent where unknown.
//!
//! Times are RFC 3339 UTC with nanoseconds, durations milliseconds, distances kilometres.

mod finding;
mod measured;
mod path;
mod summary;

pub use finding::FindingRecord;
pub use summary::{AllowRecord, ErrorRecord, FramesRecord, InputRecord, RecognisedRecord, SummaryRecord, Verdicts};

use crate::base::{Ends, Fault, Identity, TcpTally, Timestamp};
use crate::evidence::{Account, Claims, Finding, Inner, Joined, Leg, Measured, StayOf};
use crate::fingerprint::{Role, Stack, Step};
use crate::flow::{End, Peer};
use crate::intel::{AllowEntry, Kind, Place, Pseudonyms, Tools};
use crate::protocol::names_somebody;
use crate::session::{RttSummary, Session};
use crate::wire::Wrapper;
use measured::{DayRecord, ProgramRecord};
use path::PathRecord;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The version of all shapes.
const SCHEMA: u8 = 1;

/// A time as RFC 3339 in UTC with nanoseconds. Times beyond the year 9999 are told as its end.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(at.nanos())).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.9}")
}

/// Milliseconds with nanosecond digits.
fn ms(duration: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact below 104 days")]
    let nanos = duration.as_nanos() as f64;
    nanos / 1e6
}

/// Rounded to thousandths: what a judgement's figures are good for.
fn milli(value: f64) -> f64 {
    // Adding zero takes the sign off a negative one.
    (value * 1e3).round() / 1e3 + 0.0
}

/// A line of sessions.jsonl.
#[derive(Debug, Serialize)]
pub struct SessionRecord<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u8,
    id: String,
    community_id: String,
    start: String,
    end: String,
    transport: String,
    client: EndRecord,
    server: EndRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    encapsulation: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rtt: Vec<RttRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hello_lag_ms: Option<f64>,
    /// The reason of the allow-list's entry that covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<&'static str>,
    flows: Vec<String>,
}

#[derive(Debug, Serialize)]
struct EndRecord {
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    packets: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mss: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_scale: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_packet: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_packets: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmitted: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_before_tap: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_of_order: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_hz: Option<u32>,
}

#[derive(Debug, Serialize)]
struct RttRecord {
    side: &'static str,
    layer: &'static str,
    method: &'static str,
    n: u64,
    min_ms: f64,
    p05_ms: f64,
    p50_ms: f64,
    max_ms: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ambiguous: bool,
}

impl<'a> SessionRecord<'a> {
    /// The record of a session.
    #[must_use]
    pub fn of(session: &'a Session) -> Self {
        let community_id = session.community_id();
        let Ends { orig, resp } = session.ends;
        let has_ports = matches!(session.tuple.proto.0, 6 | 17 | crate::flow::SCTP);
        Self {
            kind: "session",
            schema: SCHEMA,
            id: session_id(&community_id, session.start),
            start: rfc3339(session.start),
            end: rfc3339(session.end),
            transport: session.transport(),
            client: EndRecord::of(
                session.tuple.orig,
                &orig,
                session.tallies.as_ref().map(|t| &t.orig),
                has_ports,
                Role::Client,
            ),
            server: EndRecord::of(
                session.tuple.resp,
                &resp,
                session.tallies.as_ref().map(|t| &t.resp),
                has_ports,
                Role::Server,
            ),
            protocol: session.protocol,
            carrier: session.carrier,
            application: session.application,
            category: session.category.map(crate::protocol::Category::name),
            confidence: session.confidence.map(crate::session::Confidence::name),
            encapsulation: session.encapsulation.iter().map(wrapper).collect(),
            attributes: session.attributes.iter().map(|(key, value)| (*key, Cow::Borrowed(value.as_str()))).collect(),
            rtt: session.rtt().iter().map(RttRecord::of).collect(),
            hello_lag_ms: session.hello_lag.map(ms),
            allowed: None,
            faults: session.faults.iter().map(|Fault(name)| *name).collect(),
            flows: std::iter::once(community_id.clone())
                .chain(session.parts.iter().map(crate::flow::community_id))
                .collect(),
            community_id,
        }
    }

    /// The same, covered by an entry of the allow-list.
    #[must_use]
    pub const fn allowed_by(mut self, entry: Option<&'a AllowEntry>) -> Self {
        self.allowed = match entry {
            Some(entry) => Some(entry.reason.as_str()),
            None => None,
        };
        self
    }

    /// The same, with names of people and machines as pseudonyms.
    #[must_use]
    pub fn under(mut self, pseudonyms: Option<&Pseudonyms>) -> Self {
        if let Some(pseudonyms) = pseudonyms {
            for (key, value) in &mut self.attributes {
                if names_somebody(self.protocol, key) {
                    *value = Cow::Owned(pseudonyms.of(value));
                }
            }
        }
        self
    }

    /// The same; a session whose program is not known gets the name of the imported tool whose server it names.
    #[must_use]
    pub fn with_tools(mut self, session: &'a Session, tools: &'a Tools) -> Self {
        if self.application.is_none() {
            let named = session.attributes.iter().filter(|(key, _)| SERVER_NAMES.contains(key));
            let mut hits = named.flat_map(|(_, host)| tools.lookup(host));
            self.application = hits.find(|hit| !hit.shared).map(|hit| hit.tool.name.as_str());
        }
        self
    }

    /// Its id: 16 hexadecimal digits, the same in every run over the same packets.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Attributes that name the server asked for.
const SERVER_NAMES: [&str; 2] = ["tls.sni", "http.host"];

fn session_id(community_id: &str, start: Timestamp) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{community_id}{}", start.nanos()).as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A wrapper as a word with its number.
fn wrapper(wrapper: Wrapper) -> String {
    match wrapper {
        Wrapper::Vlan(id) => format!("vlan:{id}"),
        Wrapper::Mpls(label) => format!("mpls:{label}"),
        Wrapper::Pppoe(session) => format!("pppoe:{session}"),
        Wrapper::Gre => "gre".into(),
        Wrapper::Erspan1 => "erspan1".into(),
        Wrapper::Erspan2(session) => format!("erspan2:{session}"),
        Wrapper::Erspan3(session) => format!("erspan3:{session}"),
        Wrapper::Vxlan(vni) => format!("vxlan:{vni}"),
        Wrapper::Geneve(vni) => format!("geneve:{vni}"),
        Wrapper::Gtp(tunnel) => format!("gtp:{tunnel}"),
        Wrapper::Ipv4InIp => "ipv4".into(),
        Wrapper::Ipv6InIp => "ipv6".into(),
    }
}

impl EndRecord {
    fn of(peer: Peer, end: &End, tally: Option<&TcpTally>, has_ports: bool, role: Role) -> Self {
        Self {
            ip: peer.ip,
            port: has_ports.then_some(peer.port),
            packets: end.packets,
            bytes: end.bytes,
            ttl: end.ttl,
            mss: end.mss,
            window_scale: end.window_scale,
            max_packet: (end.max_packet > 0).then_some(end.max_packet),
            data_packets: tally.map(|t| t.data),
            retransmitted: tally.map(TcpTally::retransmitted),
            lost_before_tap: tally.map(|t| t.lost_before),
            out_of_order: tally.map(|t| t.out_of_order),
            copies: tally.map(|t| t.copies).filter(|copies| *copies > 0),
            stack: Stack::of(end, peer.ip.is_ipv6(), role).map(|stack| stack.to_string()),
            clock_hz: end.clock.and_then(|clock| clock.hertz()),
        }
    }
}

impl RttRecord {
    fn of(rtt: &RttSummary) -> Self {
        Self {
            side: rtt.side.name(),
            layer: rtt.layer.name(),
            method: rtt.method,
            n: rtt.n,
            min_ms: ms(rtt.min),
            p05_ms: ms(rtt.p05),
            p50_ms: ms(rtt.p50),
            max_ms: ms(rtt.max),
            ambiguous: rtt.ambiguous,
        }
    }
}

/// A line of endpoints.jsonl.
#[derive(Debug, Serialize)]
pub struct EndpointRecord {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u8,
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    sessions: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<PlaceRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ladder: Vec<RungRecord>,
    path: PathRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<HistoryRecord>,
    /// Its place is too far from the tap for its excess to be like that of others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    distant: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    days: Vec<DayRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    programs: Vec<ProgramRecord>,
    verdict: &'static str,
    score: f64,
}

/// That all of a record rests on earlier runs, too.
#[derive(Debug, Serialize)]
struct HistoryRecord {
    /// Days with packets.
    days: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

/// The other end of the tunnels that an address is one end of, in order of their beginning.
#[derive(Debug, Default, Serialize)]
struct TunnelRecord {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inner: Vec<LegRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outer: Vec<LegRecord>,
}

#[derive(Debug, Serialize)]
struct LegRecord {
    ip: IpAddr,
    /// Who says so, or how else it was found; absent where the claim was not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

impl LegRecord {
    fn claimed(leg: &Leg) -> Self {
        let (from, to) = (Some(rfc3339(leg.from)), Some(rfc3339(leg.to)));
        Self { ip: leg.address, by: None, correlation: None, overlap_s: None, from, to }
    }
}

/// Ends of tunnels told of one endpoint, each way.
const LEGS: usize = 32;

impl TunnelRecord {
    fn of(address: IpAddr, claims: &Claims) -> Option<Self> {
        let told = |legs: Vec<Leg>| legs.iter().take(LEGS).map(LegRecord::claimed).collect::<Vec<_>>();
        let tunnel = Self { inner: told(claims.insides_of(address)), outer: told(claims.outsides_of(address)) };
        (!tunnel.inner.is_empty() || !tunnel.outer.is_empty()).then_some(tunnel)
    }

    /// Notes how an end was found; a claim of it keeps its times.
    fn on_join(legs: &mut Vec<LegRecord>, ip: IpAddr, joined: &Joined) {
        let known = legs.iter().position(|leg| leg.ip == ip).map(|at| legs.remove(at));
        let (from, to) = known.map_or((None, None), |leg| (leg.from, leg.to));
        let (by, correlation) = (Some(joined.by), joined.correlation.map(milli));
        legs.push(LegRecord { ip, by, correlation, overlap_s: joined.overlap_s, from, to });
    }
}

#[derive(Debug, Serialize)]
struct PlaceRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    lat: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lon: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    home_km: Option<f64>,
}

#[derive(Debug, Serialize)]
struct RungRecord {
    layer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner: Option<IpAddr>,
    n: u64,
    min_ms: f64,
    p05_ms: f64,
    p50_ms: f64,
    jitter_ms: f64,
    windows: usize,
    methods: Vec<&'static str>,
    confidence: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_ms: Option<f64>,
}

/// The shortest round trip became another, and stayed so.
#[derive(Debug, Serialize)]
struct StepRecord {
    at: String,
    from_ms: f64,
    to_ms: f64,
    n_before: u64,
    n_after: u64,
}

impl StepRecord {
    fn of(step: &Step) -> Self {
        let (from, to) = (step.from, step.to);
        Self { at: rfc3339(step.at.start()), from_ms: ms(from.0), to_ms: ms(to.0), n_before: from.1, n_after: to.1 }
    }
}

impl EndpointRecord {
    /// The record of an account and what was found of it; `expected_ms` is what its place allows.
    #[must_use]
    pub fn of(
        account: &Account,
        finding: &Finding,
        place: Option<&Place>,
        name: Option<String>,
        expected_ms: Option<f64>,
    ) -> Self {
        Self {
            kind: "endpoint",
            schema: SCHEMA,
            ip: finding.endpoint,
            name,
            first_seen: account.first_seen.map(rfc3339),
            last_seen: account.last_seen.map(rfc3339),
            sessions: account.sessions,
            bytes: account.bytes,
            place: place.filter(|p| !p.is_unknown()).map(PlaceRecord::of),
            identities: Vec::new(),
            tunnel: None,
            ladder: rungs(account, None, expected_ms),
            path: PathRecord::of(&account.path),
            history: None,
            distant: false,
            days: Vec::new(),
            programs: Vec::new(),
            verdict: finding.verdict.name(),
            score: milli(finding.score),
        }
    }

    /// The same, with the traffic inside its tunnel, whose rungs follow its own, or with the tunnel that it is inside of.
    #[must_use]
    pub fn with_joins(mut self, inner: &[Inner], outer: Option<&Joined>) -> Self {
        if inner.is_empty() && outer.is_none() {
            return self;
        }
        let tunnel = self.tunnel.get_or_insert_default();
        for one in inner {
            TunnelRecord::on_join(&mut tunnel.inner, one.address, &one.joined);
            self.ladder.extend(rungs(&one.account, Some(one.address), None));
        }
        if let Some(joined) = outer {
            TunnelRecord::on_join(&mut tunnel.outer, joined.outer, joined);
        }
        self
    }

    /// The same, of an account that earlier runs have part in.
    #[must_use]
    pub fn with_history(mut self, account: &Account) -> Self {
        let days = account.facts.days().max(1);
        self.history = Some(HistoryRecord { days, since: account.first_seen.map(rfc3339) });
        self
    }

    /// The same, with what a baseline is learned from.
    #[must_use]
    pub fn with_measured(mut self, measured: &Measured, distant: bool) -> Self {
        self.distant = distant;
        self.days = measured.days.iter().map(DayRecord::of).collect();
        self.programs = measured.programs.iter().map(ProgramRecord::of).collect();
        self
    }

    /// The same, with who is said to have been there.
    #[must_use]
    pub fn with_identities(mut self, identities: &[Arc<Identity>]) -> Self {
        self.identities = identities.iter().map(|identity| identity.name.clone()).collect();
        self
    }

    /// The same, with its name as a pseudonym.
    #[must_use]
    pub fn under(mut self, pseudonyms: Option<&Pseudonyms>) -> Self {
        self.name = self.name.map(|name| pseudonyms.map_or(name.clone(), |pseudonyms| pseudonyms.of(&name)));
        self
    }

    /// The same, with the addresses inside its tunnels, or those outside the tunnel that it is inside of.
    #[must_use]
    pub fn with_tunnels(mut self, claims: &Claims) -> Self {
        self.tunnel = TunnelRecord::of(self.ip, claims);
        self
    }
}

/// A line of identities.jsonl: who is said to have been at an address, and by whom.
#[derive(Debug, Serialize)]
pub struct IdentityRecord<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u8,
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner: Option<IpAddr>,
    identity: &'a str,
    names: &'static str,
    from: String,
    to: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    began: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
    source: &'static str,
    confidence: &'static str,
    claims: u32,
    #[serde(skip_serializing_if = "is_zero")]
    octets_from: u64,
    #[serde(skip_serializing_if = "is_zero")]
    octets_to: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl<'a> IdentityRecord<'a> {
    /// The record of a stay.
    #[must_use]
    pub fn of(stay: &'a StayOf) -> Self {
        let [from, to] = stay.octets;
        Self {
            kind: "identity",
            schema: SCHEMA,
            address: stay.address,
            inner: stay.inner,
            identity: &stay.identity.name,
            names: stay.identity.kind.name(),
            from: rfc3339(stay.from),
            to: rfc3339(stay.to),
            began: stay.complete.0,
            ended: stay.complete.1,
            source: stay.source,
            confidence: stay.sureness.name(),
            claims: stay.claims,
            octets_from: from,
            octets_to: to,
        }
    }
}

fn rungs(account: &Account, inner: Option<IpAddr>, expected_ms: Option<f64>) -> Vec<RungRecord> {
    account
        .ladder
        .rungs()
        .filter_map(|(layer, rung)| {
            Some(RungRecord {
                layer: layer.name(),
                inner,
                n: rung.samples.n(),
                min_ms: ms(rung.samples.min()?),
                p05_ms: ms(rung.samples.quantile(0.05)?),
                p50_ms: ms(rung.samples.quantile(0.5)?),
                jitter_ms: ms(rung.jitter()?),
                windows: rung.windows(),
                methods: rung.methods().to_vec(),
                confidence: rung.confidence().name(),
                steps: rung.steps().iter().map(StepRecord::of).collect(),
                expected_ms: expected_ms.map(milli),
            })
        })
        .collect()
}

impl PlaceRecord {
    fn of(place: &Place) -> Self {
        Self {
            lat: place.point.map(|p| p.lat()),
            lon: place.point.map(|p| p.lon()),
            country: place.country.clone(),
            region: place.region.clone(),
            city: place.city.clone(),
            asn: place.asn,
            org: place.org.clone(),
            kind: (place.kind != Kind::Unknown).then(|| place.kind.name()),
            source: place.located_by.map(crate::intel::Origin::name),
            home_km: place.home_km.map(f64::round),
        }
    }
}

//! One finished session, as it goes to the ledger and the sinks.

use super::Story;
use crate::base::{Ends, Fault, Key, Layer, Link, RttKind, RttSample, Side, TcpTally, Timestamp, WideDigest};
use crate::flow::{End, FiveTuple, Flow, Protocol as IpProtocol, community_id};
use crate::protocol::{Carrier, Category, Protocol, REGISTRY};
use crate::wire::Encapsulation;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// How sure a protocol's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Confidence {
    /// Only the port suggests it: never evidence.
    PortOnly,
    /// Its bytes look like it, but one end or the beginning is missing.
    Likely,
    /// Both ends behaved as the protocol says, from the beginning.
    Confirmed,
}

impl Confidence {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PortOnly => "port-only",
            Self::Likely => "likely",
            Self::Confirmed => "confirmed",
        }
    }
}

/// One session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Client (originator), server, IP protocol.
    pub tuple: FiveTuple,
    /// First packet.
    pub start: Timestamp,
    /// Last packet.
    pub end: Timestamp,
    /// Counters.
    pub ends: Ends<End>,
    /// The most specific protocol recognised.
    pub protocol: Option<&'static str>,
    /// How sure that is.
    pub confidence: Option<Confidence>,
    /// What it is used for.
    pub category: Option<Category>,
    /// What carries it.
    pub carrier: Option<&'static str>,
    /// The program or service behind it, where known.
    pub application: Option<&'static str>,
    /// What makes it a part of a session of several flows.
    pub links: Vec<Link>,
    /// Its other flows, where it is several: those that were joined to this one.
    pub parts: Vec<FiveTuple>,
    /// What was wrapped around its packets.
    pub encapsulation: Encapsulation,
    /// What was said in clear.
    pub attributes: Vec<(Key, String)>,
    /// The round trips of the handshakes, one by one.
    pub samples: Vec<RttSample>,
    /// All others, summed up by kind.
    pub digests: Vec<(RttKind, WideDigest)>,
    /// What became of each end's data, of TCP connections of which both directions were captured.
    pub tallies: Option<Ends<TcpTally>>,
    /// From the end of the TCP handshake to the client's first bytes: at least the round trip to a program that had to
    /// be told first that the connection stands (a proxy's client), next to nothing otherwise.
    pub hello_lag: Option<Duration>,
    /// Rules that were broken.
    pub faults: Vec<Fault>,
}

/// Round trips of one side, layer and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RttSummary {
    /// The end they go to.
    pub side: Side,
    /// Where the loop is closed.
    pub layer: Layer,
    /// How they were taken.
    pub method: &'static str,
    /// How many.
    pub n: u64,
    /// The shortest.
    pub min: Duration,
    /// 5th percentile (nearest rank, see [`WideDigest`]).
    pub p05: Duration,
    /// Median.
    pub p50: Duration,
    /// The longest.
    pub max: Duration,
    /// All of them are ambiguous: see [`RttSample::ambiguous`].
    pub ambiguous: bool,
}

impl Session {
    /// The record of a flow that has ended, with what was learned of it but for what meters have summed up.
    #[must_use]
    pub fn of(flow: &Flow, story: Story) -> Self {
        let from_the_start = !flow.is_tcp() || flow.opening_seen;
        let named = story.named(from_the_start);
        let carrier = named.map_or(story.carrier, |(_, carrier, _)| carrier);
        let (protocol, category, confidence) = match named {
            Some((p, _, sure)) => (Some(p.name), Some(story.category(p)), Some(sure)),
            None => by_number(flow.tuple.proto).or_else(|| by_port(&flow.tuple)).map_or((None, None, None), split),
        };
        let links = named.map_or_else(|| story.links().to_vec(), |(protocol, ..)| story.linked(protocol.name));
        // Routers authenticate what they tell all others on their link (OSPFv3: RFC 4552); that is no tunnel.
        let category = category.map(|category| match category {
            Category::Vpn if flow.tuple.resp.ip.is_multicast() => Category::Other,
            category => category,
        });
        Self {
            tuple: flow.tuple,
            start: flow.first,
            end: flow.last,
            ends: flow.ends,
            protocol,
            confidence,
            category,
            carrier,
            application: story.application(),
            links,
            parts: Vec::new(),
            encapsulation: flow.encapsulation.as_deref().copied().unwrap_or_default(),
            faults: story.faults().to_vec(),
            hello_lag: None,
            attributes: story.attributes,
            samples: story.samples,
            digests: Vec::new(),
            tallies: None,
        }
    }

    /// The Community ID of its flow.
    #[must_use]
    pub fn community_id(&self) -> String {
        community_id(&self.tuple)
    }

    /// The summaries of its round trips, sorted by side, layer and method. Unambiguous ones only, if there are any.
    #[must_use]
    pub fn rtt(&self) -> Vec<RttSummary> {
        let mut sums: BTreeMap<(Side, Layer, &'static str), [WideDigest; 2]> = BTreeMap::new();
        let mut sum = |kind: RttKind, f: &dyn Fn(&mut WideDigest)| {
            let [clean, ambiguous] = sums.entry((kind.side, kind.layer, kind.method)).or_default();
            f(if kind.ambiguous { ambiguous } else { clean });
        };
        self.samples.iter().for_each(|sample| sum(sample.kind(), &|digest| digest.add(sample.rtt)));
        self.digests.iter().for_each(|(kind, digest)| sum(*kind, &|all| all.merge(digest)));
        let told = |((side, layer, method), [clean, unclear]): (_, [WideDigest; 2])| {
            let ambiguous = clean.n() == 0;
            summary(RttKind { side, layer, method, ambiguous }, if ambiguous { &unclear } else { &clean })
        };
        sums.into_iter().filter_map(told).collect()
    }

    /// The shortest of its unambiguous round trips to one side of some kinds, and how many there are.
    #[must_use]
    pub fn shortest(&self, side: Side, wanted: impl Fn(Layer, &str) -> bool) -> Option<(Duration, u64)> {
        let counts = |kind: &RttKind| kind.side == side && !kind.ambiguous && wanted(kind.layer, kind.method);
        let single = self.samples.iter().filter(|sample| counts(&sample.kind())).map(|sample| (sample.rtt, 1));
        let summed = self.digests.iter().filter(|(kind, _)| counts(kind));
        let summed = summed.filter_map(|(_, digest)| Some((digest.min()?, digest.n())));
        single.chain(summed).reduce(|(least, n), (rtt, more)| (least.min(rtt), n + more))
    }

    /// What runs over IP, as a word.
    #[must_use]
    pub fn transport(&self) -> String {
        match self.tuple.proto {
            IpProtocol::TCP => "tcp".into(),
            IpProtocol::UDP => "udp".into(),
            IpProtocol::ICMP | IpProtocol::ICMPV6 => "icmp".into(),
            IpProtocol::ESP => "esp".into(),
            IpProtocol::AH => "ah".into(),
            IpProtocol::GRE => "gre".into(),
            IpProtocol(crate::flow::SCTP) => "sctp".into(),
            IpProtocol(number) => format!("ip-{number}"),
        }
    }
}

type Named = (&'static str, Category, Confidence);

fn split((name, category, confidence): Named) -> (Option<&'static str>, Option<Category>, Option<Confidence>) {
    (Some(name), Some(category), Some(confidence))
}

/// Protocols that the IP header itself names. Of tunnels that is no more than likely: an entry of theirs would have said
/// more, had the packets fitted.
fn by_number(proto: IpProtocol) -> Option<Named> {
    Some(match proto {
        IpProtocol::ESP => ("esp", Category::Vpn, Confidence::Likely),
        IpProtocol::AH => ("ah", Category::Vpn, Confidence::Likely),
        IpProtocol::GRE => ("gre", Category::Vpn, Confidence::Likely),
        IpProtocol::ICMP | IpProtocol::ICMPV6 => ("icmp", Category::Other, Confidence::Confirmed),
        _ => return None,
    })
}

/// What the responder's port suggests.
fn by_port(tuple: &FiveTuple) -> Option<Named> {
    let known = match tuple.proto {
        IpProtocol::TCP => &PORTS.streams,
        IpProtocol::UDP => &PORTS.datagrams,
        _ => return None,
    };
    let place = known.binary_search_by_key(&tuple.resp.port, |(port, _)| *port).ok()?;
    let (_, protocol) = known.get(place)?;
    Some((protocol.name, protocol.category, Confidence::PortOnly))
}

/// Who is suggested by a port, ascending by port. Of several, the one that names the port first: 443 is TLS's own and
/// OpenVPN's disguise.
struct Ports {
    streams: Vec<(u16, &'static Protocol)>,
    datagrams: Vec<(u16, &'static Protocol)>,
}

static PORTS: LazyLock<Ports> =
    LazyLock::new(|| Ports { streams: suggested(Carrier::Stream), datagrams: suggested(Carrier::Datagram) });

fn suggested(carrier: Carrier) -> Vec<(u16, &'static Protocol)> {
    let mut first: BTreeMap<u16, (usize, &'static Protocol)> = BTreeMap::new();
    for protocol in REGISTRY.iter().filter(|protocol| protocol.carriers.contains(&carrier)) {
        for (rank, port) in protocol.ports.iter().enumerate() {
            let known = first.entry(*port).or_insert((rank, protocol));
            if rank < known.0 {
                *known = (rank, protocol);
            }
        }
    }
    first.into_iter().map(|(port, (_, protocol))| (port, protocol)).collect()
}

fn summary(kind: RttKind, digest: &WideDigest) -> Option<RttSummary> {
    let RttKind { side, layer, method, ambiguous } = kind;
    let (p05, p50) = (digest.quantile(0.05)?, digest.quantile(0.5)?);
    Some(RttSummary { side, layer, method, n: digest.n(), min: digest.min()?, p05, p50, max: digest.max()?, ambiguous })
}

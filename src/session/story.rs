//! What has been learned of one session so far: its name, what was said in clear, what was measured.

use super::Confidence;
use super::measured::Measured;
use super::signs::sign_in;
use crate::base::{Claim, Event, EventKind, Fault, Key, Link, RttSample, Shows, Timestamp};
use crate::protocol::{Category, GATHERERS, Protocol, SIGNALLERS, named};

/// Bounds of one story: what is beyond is dropped, the first stays.
const MAX_ATTRIBUTES: usize = 48;
const MAX_VALUE: usize = 512;
const MAX_FAULTS: usize = 8;
/// A handshake has no more; what comes later is summed up.
const MAX_SAMPLES: usize = 12;
const MAX_LINKS: usize = 16;
/// Of one packet or segment: they are told after each.
const MAX_CLAIMS: usize = 256;

/// Kept apart, because a flow without takes less room so.
#[derive(Debug, Default)]
struct Rare {
    links: Vec<Link>,
    faults: Vec<Fault>,
    claims: Vec<(Timestamp, Claim)>,
}

/// The growing account of one session.
#[derive(Debug, Default)]
pub struct Story {
    /// The protocol recognised, if any.
    pub protocol: Option<&'static Protocol>,
    /// What carries it (RDP's TLS).
    pub carrier: Option<&'static str>,
    /// The protocol that a sign in the carrier gives away, and how surely.
    sign: Option<(Shows, &'static Protocol)>,
    /// The program behind it, as its analyzer says.
    program: Option<&'static str>,
    /// Both ends behaved as the protocol says.
    pub confirmed: bool,
    /// The handshake is over, though what follows is still read.
    pub(super) established: bool,
    /// What was said in clear, in the order it was said; the first value of a key stays.
    pub attributes: Vec<(Key, String)>,
    /// The round trips of the handshakes, one by one.
    pub samples: Vec<RttSample>,
    /// What most flows never have.
    rare: Option<Box<Rare>>,
}

impl Story {
    /// Of a flow of which so much was measured before there was anything else to tell.
    pub(super) fn after(samples: impl Iterator<Item = RttSample>) -> Self {
        let mut story = Self::default();
        samples.for_each(|sample| story.keep(sample));
        story
    }

    /// Takes an event in.
    pub fn on_event(&mut self, event: Event) {
        match event.kind {
            EventKind::Confirmed => self.confirmed = true,
            EventKind::Established => self.established = true,
            EventKind::Violation(fault) => self.on_fault(fault),
            EventKind::Attribute { key, value } => self.attribute(key, value),
            EventKind::Claim(claim) => {
                let claims = &mut self.rare().claims;
                if claims.len() < MAX_CLAIMS {
                    claims.push((event.at, *claim));
                }
            }
            EventKind::Application(name) => self.program = self.program.or(Some(name)),
            EventKind::Link(link) => {
                let links = &mut self.rare().links;
                if links.len() < MAX_LINKS && !links.contains(&link) {
                    links.push(link);
                }
            }
            EventKind::Handover { to, as_carrier: true, .. } => self.carrier = Some(to),
            EventKind::Becomes { to, over } => self.becomes(to, over),
            _ => {}
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// What makes it a part of a session of several flows.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        self.rare.as_deref().map_or(&[], |rare| &rare.links)
    }

    /// Rules that were broken, each once.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        self.rare.as_deref().map_or(&[], |rare| &rare.faults)
    }

    /// Who is said to be where, not told yet; asked again it is nothing.
    pub(super) fn take_claims(&mut self) -> Vec<(Timestamp, Claim)> {
        self.rare.as_deref_mut().map(|rare| std::mem::take(&mut rare.claims)).unwrap_or_default()
    }

    /// The kind of session that this flow leads and for which it gathers others, if it does.
    pub(super) fn gathers(&self) -> Option<&'static str> {
        let leads = |kind: &str| self.links().iter().any(|link| matches!(link, Link::Pair(own) if *own == kind));
        GATHERERS.iter().map(|(kind, _)| *kind).find(|kind| leads(kind))
    }

    /// Its links, with those that its name gives it.
    pub(super) fn linked(&self, name: &str) -> Vec<Link> {
        let own = SIGNALLERS.iter().filter(|(signaller, _)| *signaller == name).map(|(_, link)| *link);
        self.links().iter().copied().chain(own).collect()
    }

    /// Takes a sample in. The first are kept one by one, but for those of data, which are many, unless they
    /// are ambiguous.
    pub(super) fn on_sample(&mut self, sample: RttSample, measured: &mut Measured) {
        if self.samples.len() >= MAX_SAMPLES || is_one_of_many(&sample) {
            measured.add(&sample);
        } else {
            self.keep(sample);
        }
    }

    fn keep(&mut self, sample: RttSample) {
        if self.samples.is_empty() {
            // Most flows have the two of the TCP handshake and no more.
            self.samples.reserve_exact(2);
        }
        self.samples.push(sample);
    }

    /// The most specific protocol, what carries it, and how sure that is. A flow seen only from its middle is never
    /// certain.
    #[must_use]
    pub fn named(&self, from_the_start: bool) -> Option<(&'static Protocol, Option<&'static str>, Confidence)> {
        let protocol = self.protocol?;
        let own = if self.confirmed && from_the_start { Confidence::Confirmed } else { Confidence::Likely };
        Some(match self.sign {
            // What is itself a remote desktop, a tunnel or a proxy is not made something else by a name in it.
            Some((shows, inner)) if shows > Shows::Mention && is_a_carrier(protocol) => {
                let sure = if shows == Shows::Certain { own } else { Confidence::Likely };
                (inner, Some(protocol.name), sure)
            }
            _ => (protocol, self.carrier, own),
        })
    }

    /// The program or service behind it, as its own bytes or a name in them tell.
    #[must_use]
    pub fn application(&self) -> Option<&'static str> {
        // A sign of the protocol that the flow speaks anyway (an RDP certificate in RDP) tells no program.
        let other = |name: &&str| self.protocol.is_none_or(|own| own.name != *name);
        let service = self.sign.map(|(_, protocol)| protocol.name).filter(other);
        // A program that is an entry of the registry is a kind of program (`webrtc`): a service's name tells more.
        if service.is_some() && self.program.and_then(named).is_some() { service } else { self.program.or(service) }
    }

    fn becomes(&mut self, to: &'static str, over: Option<&'static str>) {
        // What is relayed through a proxy shows in its attributes; the session stays the proxy's.
        if self.protocol.is_some_and(|protocol| protocol.category == Category::Proxy) {
            return;
        }
        if self.protocol.is_none_or(|protocol| protocol.name != to) {
            self.protocol = named(to);
            self.confirmed = false;
        }
        self.carrier = over.or(self.carrier);
    }

    /// What a protocol is used for. What a mere carrier is used for, the program in it tells, if its own bytes name it and
    /// not only a name in them, which the program's web site bears too.
    #[must_use]
    pub fn category(&self, protocol: &Protocol) -> Category {
        let program = self.program.filter(|_| protocol.category == Category::Other).and_then(named);
        program.map_or(protocol.category, |program| program.category)
    }

    /// A fault before anything agreed takes the name back.
    fn on_fault(&mut self, fault: Fault) {
        if !self.confirmed && self.attributes.is_empty() {
            self.protocol = None;
        }
        let faults = &mut self.rare().faults;
        if faults.len() < MAX_FAULTS && !faults.contains(&fault) {
            faults.push(fault);
        }
    }

    fn attribute(&mut self, key: Key, mut value: String) {
        if self.attributes.len() >= MAX_ATTRIBUTES || self.attributes.iter().any(|(k, _)| *k == key) {
            return;
        }
        if value.len() > MAX_VALUE {
            let cut = (0..=MAX_VALUE).rev().find(|i| value.is_char_boundary(*i)).unwrap_or(0);
            value.truncate(cut);
        }
        if let Some(found) = sign_in(key, &value).filter(|found| self.sign.is_none_or(|(shows, _)| found.0 > shows)) {
            self.sign = Some(found);
        }
        self.attributes.push((key, value));
    }
}

/// Whether a round trip is summed up from the first on.
pub(super) fn is_one_of_many(sample: &RttSample) -> bool {
    sample.kind().is_of_data() && !sample.ambiguous
}

/// Whether a protocol is only the coat that others wear.
const fn is_a_carrier(protocol: &Protocol) -> bool {
    matches!(protocol.category, Category::Web | Category::Other)
}

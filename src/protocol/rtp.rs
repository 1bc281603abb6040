//! RTP and RTCP, plain or as SRTP, in flows where nothing else opens them: sound and pictures of calls and cameras.
//!
//! Reads: fixed headers (RFC 3550); STUN and DTLS in the same flow are read too (`codec::multiplex`). Emits: how much of
//! which payload type each end sends. Does not: confirm, since there is no handshake.
//!
//! No single header proves RTP. The probe wants two packets of one end that go on from one another, the reader four;
//! where they don't come, the name is taken back.

use crate::base::Timestamp;
use crate::protocol::codec::multiplex::{Multiplex, Name};
use crate::protocol::codec::rtp::{Header, is_compound, rtcp_source};
use crate::protocol::{Analyzer, Carrier, Category, Events, Opening, Pdu, Probe, Protocol};

/// RTP.
pub(super) static RTP: Protocol = Protocol {
    name: "rtp",
    category: Category::Conferencing,
    carriers: &[Carrier::Datagram],
    ports: &[],
    attributes: &["rtp.client_sent", "rtp.server_sent"],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(Reader(Multiplex::new(Name::Rtp))),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let newest = opening.sent.of(opening.newest);
    if newest.first().is_none_or(|first| first & 0xc0 != 0x80) {
        return Probe::NoMatch;
    }
    if let Some(source) = rtcp_source(newest) {
        let again = rtcp_source(opening.before) == Some(source) || is_compound(newest);
        return if again { Probe::Match } else { Probe::NeedMore };
    }
    match (Header::parse(newest).filter(Header::is_plausible), Header::parse(opening.before)) {
        (None, _) => Probe::NoMatch,
        (Some(header), Some(before)) if before.goes_on_in(&header) => Probe::Match,
        (Some(_), _) => Probe::NeedMore,
    }
}

struct Reader(Multiplex);

impl Analyzer for Reader {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        self.0.on_datagram(pdu.at, pdu.dir, pdu.bytes, pdu.missing, events);
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        self.0.on_close(at, events);
    }
}

//! RTP and RTCP, plain or as SRTP, in flows where nothing else opens them: sound and pictures of calls and cameras.
//!
//! Reads: fixed headers (RFC 3550); STUN and DTLS in the same flow are read too (`codec::multiplex`). Emits: how much of
//! which payload type each end sends. Does not: confirm, since there is no handshake.
//!
//! No single header proves RTP. The probe wants two packets of one end that go on from one another, the reader four;
//! where they don't come, the name is taken back.

use crate::base::Timestamp;
use crate::protocol::codec::multiplex::{ATTRIBUTES, Multiplex, Name};
use crate::protocol::codec::rtp::{Header, is_compound, rtcp_source};
use crate::protocol::{Analyzer, Carrier, Category, Events, Opening, Pdu, Probe, Protocol};

/// RTP.
pub(super) static RTP: Protocol = Protocol {
    name: "rtp",
    category: Category::Conferencing,
    carriers: &[Carrier::Datagram],
    ports: &[],
    attributes: ATTRIBUTES,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Direction, Ends};
    use crate::protocol::codec::rtp::tests::packet;
    use crate::protocol::{EventKind, testkit};

    fn probe_of(before: &[u8], newest: &[u8]) -> Probe {
        let sent = Ends { orig: newest, resp: &[][..] };
        let ports = Ends { orig: 50_000, resp: 50_001 };
        probe(&Opening { carrier: Carrier::Datagram, sent, newest: Direction::Orig, before, ports })
    }

    #[test]
    fn two_packets_must_go_on_from_one_another() {
        let (first, second) = (packet(0, 7, 160, 9), packet(0, 8, 320, 9));
        assert_eq!(probe_of(b"", &first), Probe::NeedMore);
        assert_eq!(probe_of(&first, &second), Probe::Match);
        assert_eq!(probe_of(&first, &packet(0, 8, 320, 10)), Probe::NeedMore);
        assert_eq!(probe_of(b"", &packet(50, 7, 160, 9)), Probe::NoMatch);
        assert_eq!(probe_of(b"", b"\x16\xfe\xfd"), Probe::NoMatch);
    }

    #[test]
    fn a_report_alone_is_told_by_its_lengths() {
        let report = [&[0x81, 201, 0, 7, 0, 0, 0, 9][..], &[0; 24]].concat();
        assert_eq!(probe_of(b"", &report), Probe::Match);
        assert_eq!(probe_of(b"", &[&report[..], &[1, 2]].concat()), Probe::NeedMore);
        assert_eq!(probe_of(b"", &[0x81, 201, 0, 9, 0, 0, 0, 9]), Probe::NoMatch);
    }

    #[test]
    fn a_name_that_was_given_too_early_is_taken_back() {
        let faults = |packets: &[Vec<u8>]| {
            let mut analyzer = (RTP.analyzer)();
            let mut events = Events::default();
            for bytes in packets {
                let at = Timestamp::default();
                let pdu = Pdu { at, dir: Direction::Orig, bytes, carrier: Carrier::Datagram, missing: 0 };
                analyzer.on_pdu(&pdu, &mut events);
            }
            analyzer.on_close(Timestamp::default(), &mut events);
            events.drain().filter(|event| matches!(event.kind, EventKind::Violation(_))).count()
        };
        let call: Vec<_> = (0..20).map(|i| packet(111, i, 960 * u32::from(i), 77)).collect();
        assert_eq!((faults(&call), faults(&call[..3])), (0, 1));
        let still: Vec<_> = (0..20).map(|_| packet(111, 5, 0, 77)).collect();
        assert_eq!(faults(&still), 1);
        assert!(testkit::said(&testkit::datagrams(&RTP, &[]), "rtp.client_sent").is_none());
    }
}

//! Which protocol a flow speaks, and what its handshake says.
//!
//! A leaf room: one file a protocol, none imports another. Each declares one [`Protocol`] and stands in [`REGISTRY`].
//! Emits: [`Event`]s with an open vocabulary of attributes, so that no consumer changes when a protocol is added.
//! Does not: weigh, judge, keep state beyond the handshake, or fail: malformed bytes are [`EventKind::Violation`]s.
//!
//! To add one: the file, its `mod` line and its [`REGISTRY`] line here, a page in `docs/protocols/`.

mod calls;
pub mod codec;
mod dns;
mod dtls;
mod http;
mod openvpn;
mod quic;
mod rdp;
mod rfb;
mod rtp;
mod ssh;
mod starttls;
mod stun;
#[cfg(test)]
pub(crate) mod testkit;
mod tls;
mod wireguard;

use crate::base::{Direction, Ends, Timestamp};

pub use crate::base::{Event, EventKind, Events, Fault, Key, Link, Loop, Piece, Said, Shows, Sign};

/// All protocols, in the order they are tried when no port gives a hint: exact openings first.
pub static REGISTRY: &[&Protocol] = &[
    &ssh::SSH,
    &wireguard::WIREGUARD,
    &quic::PROTOCOL,
    &openvpn::OPENVPN,
    &rdp::RDP,
    &rfb::RFB,
    &tls::PROTOCOL,
    &http::HTTP_CONNECT,
    &http::HTTP,
    &starttls::SMTP,
    &starttls::IMAP,
    &starttls::POP3,
    &starttls::FTP,
    &starttls::XMPP,
    &starttls::POSTGRESQL,
    &starttls::MYSQL,
    &dns::DNS,
    &dns::MDNS,
    &dns::LLMNR,
    &stun::TURN,
    &stun::STUN,
    &dtls::DTLS,
    &rtp::RTP,
    &calls::WEBRTC,
    &calls::ZOOM,
    &calls::TEAMS,
    &calls::GOOGLE_MEET,
    &calls::WEBEX,
    &calls::GOTOMEETING,
    &calls::SLACK,
    &calls::DISCORD,
    &calls::WHATSAPP,
    &calls::SIGNAL,
    &calls::MESSENGER,
];

/// The entry of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Protocol> {
    REGISTRY.iter().copied().find(|p| p.name == name)
}

/// One protocol: how to recognise it and who reads it.
#[derive(Debug)]
pub struct Protocol {
    /// Name in records, lower-case kebab.
    pub name: &'static str,
    /// What it is used for.
    pub category: Category,
    /// What carries it.
    pub carriers: &'static [Carrier],
    /// Ports that make it a candidate to try first; never a verdict.
    pub ports: &'static [u16],
    /// Every attribute key its analyzer may emit.
    pub attributes: &'static [Key],
    /// What gives it away inside another protocol (a name in TLS, an ALPN, a certificate): see [`Sign`].
    pub signs: &'static [Sign],
    /// Its analyzer stays for the whole flow instead of for the handshake, and costs next to nothing a piece: what it
    /// reads does not count against the budget.
    pub lasting: bool,
    /// Looks at the first bytes. Cheap: runs for each new flow.
    pub probe: fn(&Opening<'_>) -> Probe,
    /// Makes the reader of a flow that matched (or was handed over by another protocol).
    pub analyzer: fn() -> Box<dyn Analyzer>,
}

/// What a session is used for (the contract's `category`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// A screen driven from afar.
    RemoteDesktop,
    /// A shell.
    RemoteShell,
    /// A keyboard-video-mouse box.
    Kvm,
    /// A tunnel for packets.
    Vpn,
    /// A relay for connections.
    Proxy,
    /// Calls.
    Conferencing,
    /// Who somebody is.
    Identity,
    /// The web.
    Web,
    /// Anything else.
    Other,
}

impl Category {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RemoteDesktop => "remote-desktop",
            Self::RemoteShell => "remote-shell",
            Self::Kvm => "kvm",
            Self::Vpn => "vpn",
            Self::Proxy => "proxy",
            Self::Conferencing => "conferencing",
            Self::Identity => "identity",
            Self::Web => "web",
            Self::Other => "other",
        }
    }
}

/// What carries a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// An ordered byte stream (TCP).
    Stream,
    /// Datagrams (UDP): one PDU is one whole datagram.
    Datagram,
    /// Packets of another IP protocol, by its number (ESP is 50): one PDU is what the IP packet carries. Of ICMP (1
    /// and 58) it is what follows the checksum; type and code of the flow's first packet are its ports.
    Ip(u8),
}

/// What of a flow a probe gets to see.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Stream or datagrams.
    pub carrier: Carrier,
    /// Stream: the first bytes each end sent, as far as seen. Datagrams and packets: the newest one of each end. Empty
    /// when none.
    pub sent: Ends<&'a [u8]>,
    /// The end that sent the newest bytes.
    pub newest: Direction,
    /// Datagrams: the one before the newest of the same end, where a probe wanted to see more after it; else empty.
    pub before: &'a [u8],
    /// Originator's and responder's port.
    pub ports: Ends<u16>,
}

/// A probe's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It is this protocol: give the flow to its analyzer. Said on one direction alone only if the bytes are
    /// distinctive; the analyzer [confirms](EventKind::Confirmed) once both ends agree, or takes it back.
    Match,
    /// It may be; show more bytes.
    NeedMore,
    /// It is not, whatever follows.
    NoMatch,
}

/// A piece of what one end sent: the next bytes of a stream, or a whole datagram.
#[derive(Debug, Clone, Copy)]
pub struct Pdu<'a> {
    /// When it passed the capture point. For a stream: when the last missing byte before it had passed.
    pub at: Timestamp,
    /// Who sent it.
    pub dir: Direction,
    /// The bytes. A stream may be cut anywhere; analyzers must give the same events for any cut.
    pub bytes: &'a [u8],
    /// Stream or datagram.
    pub carrier: Carrier,
    /// Bytes of a datagram that the snap length cut off; 0 for streams.
    pub missing: u32,
}

/// Reads one flow of one protocol.
pub trait Analyzer: Send {
    /// The next piece.
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events);

    /// `len` bytes of the stream from `dir` were never captured. The default gives up.
    fn on_gap(&mut self, at: Timestamp, dir: Direction, len: u64, events: &mut Events) {
        let _ = len;
        events.settled(at, dir);
    }

    /// The flow has ended.
    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        let _ = (at, events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How the streams of some protocols begin, so that random bytes get past the first one.
    const BEGINNINGS: [&[u8]; 23] = [
        b"",
        b"SSH-2.0-x\r\n",
        b"hello\r\nSSH-2.0-x\r\n",
        b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
        b"\x03\0\0\x0b\x06\xd0\0\0\x12\x34\0",
        b"RFB 003.008\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"CONNECT a:22 HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"\0\0\x12\x04\0\0\0\0\0",
        b"\0\x0e\x38abcdefgh\0\0\0\0\0",
        b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01",
        b"220 mail.example ESMTP\r\n",
        b"EHLO client.example\r\n",
        b"* OK ready\r\n",
        b"a1 CAPABILITY\r\n",
        b"+OK ready\r\n",
        b"CAPA\r\n",
        b"<?xml version='1.0'?><stream:stream to='example'>",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\x4a\0\0\0\x0a8.0.36\0",
        b"\0\x03\0\x08\x21\x12\xa4\x42transaction!",
        b"\0\x1c\0\x01\0\x08\x21\x12\xa4\x42transaction!",
    ];

    proptest! {
        /// The reader of a flow asks a probe that said no never again, so it must not change its mind.
        #[test]
        fn a_probe_that_said_no_stays_with_it(
            begins in (0usize..23, 0usize..23),
            tails in (proptest::collection::vec(any::<u8>(), 0..12), proptest::collection::vec(any::<u8>(), 0..12)),
            order in proptest::collection::vec(any::<bool>(), 80),
        ) {
            let said = [[BEGINNINGS[begins.0], &tails.0].concat(), [BEGINNINGS[begins.1], &tails.1].concat()];
            let mut seen = [0, 0];
            let mut refused = vec![false; REGISTRY.len()];
            for from_resp in order {
                let newest = if from_resp { Direction::Resp } else { Direction::Orig };
                seen[newest.index()] = (seen[newest.index()] + 1).min(said[newest.index()].len());
                let sent = Ends { orig: &said[0][..seen[0]], resp: &said[1][..seen[1]] };
                let ports = Ends { orig: 50_000, resp: 443 };
                let opening = Opening { carrier: Carrier::Stream, sent, newest, before: b"", ports };
                for (protocol, refused) in REGISTRY.iter().zip(&mut refused) {
                    if !protocol.carriers.contains(&Carrier::Stream) {
                        continue;
                    }
                    let answer = (protocol.probe)(&opening);
                    prop_assert!(!*refused || answer == Probe::NoMatch, "{}: {:?} after no", protocol.name, answer);
                    *refused = answer == Probe::NoMatch;
                }
            }
        }
    }
}

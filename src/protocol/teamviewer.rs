//! TeamViewer: the framed commands between its programs and its routers, over TCP and over UDP.
//!
//! Reads: the header of each command (magic, command, length), its HTTP fallback's request line. Emits: which commands
//! passed, and the handover to `http` of the fallback. Does not: decrypt, read identifiers, or time anything: which
//! command waits for which is not known well enough.
//!
//! Three headers, all little-endian. Old stream form, 5 bytes: `17 24`, command, length (u16). New stream form, 24
//! bytes: `11 30`, command, 0, length (u32), counter, counter of the other end, a word, the header's own length.
//! Datagram form, 16 bytes: counter (u32), counter of the other end (u32), session (u16), a byte, then the old form.
//!
//! Reference: no publication of the maker. The magics and the commands' numbers are those of the public dissectors of
//! bettercap and nDPI; lengths and the long header were measured on `remote-desktop/ndpi__083fc615__teamviewer.pcap`,
//! of which every byte of both directions is accounted for. The ports are those of the maker's page "Ports used by
//! TeamViewer".

use crate::base::{Direction, Ends, Reader, Timestamp};
use crate::protocol::codec::{Inbox, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol, Said, Shows, Sign};

/// The registry's entry.
pub(crate) static TEAMVIEWER: Protocol = Protocol {
    name: "teamviewer",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[5938, 443, 80],
    attributes: &[COMMANDS],
    signs: &[
        // Routers and masters are spoken to by the program alone; the rest of the domain is also the web site's and the
        // update service's.
        Sign::new("tls.sni", Said::Glob("router*.teamviewer.com"), Shows::Likely),
        Sign::new("tls.sni", Said::Glob("master*.teamviewer.com"), Shows::Likely),
        Sign::new("http.host", Said::Glob("router*.teamviewer.com"), Shows::Likely),
        Sign::new("http.host", Said::Glob("master*.teamviewer.com"), Shows::Likely),
        // The fallback's browser string (Emerging Threats 2008794).
        Sign::new("http.user_agent", Said::Contains("DynGate"), Shows::Certain),
        Sign::new("tls.sni", Said::Domain("teamviewer.com"), Shows::Mention),
        Sign::new("http.host", Said::Domain("teamviewer.com"), Shows::Mention),
        Sign::new("proxy.target", Said::Domain("teamviewer.com"), Shows::Mention),
        Sign::new("dns.query", Said::Domain("teamviewer.com"), Shows::Mention),
    ],
    lasting: false,
    probe,
    analyzer: || Box::new(TeamViewer::default()),
};

/// The commands seen, each once, in the order they came.
const COMMANDS: Key = "teamviewer.commands";

const OLD: [u8; 2] = [0x17, 0x24];
const NEW: [u8; 2] = [0x11, 0x30];
const OLD_HEADER: usize = 5;
const NEW_HEADER: usize = 24;
/// Bytes of a datagram before the old form's magic.
const DATAGRAM_HEAD: usize = 11;
/// The numbers in use lie within; 10 to 115 have been seen.
const LOWEST_COMMAND: u8 = 10;
const HIGHEST_COMMAND: u8 = 127;
/// No command seen was longer than 4 KiB.
const LENGTH_LIMIT: usize = 1024 * 1024;
/// Commands of a stream, datagrams of a flow, that are read.
const READ: u16 = 64;
/// Different commands that are told.
const TOLD: usize = 12;
/// A request line's room in the inbox; the longest seen has 100 bytes.
const INBOX_LIMIT: usize = 64 * 1024;
/// Bytes of a request line that are looked at for its parameters.
const LINE_LIMIT: usize = 512;

fn probe(opening: &Opening<'_>) -> Probe {
    let sent = opening.sent;
    if opening.carrier == Carrier::Datagram {
        let whole = datagram(sent.of(opening.newest)).is_some_and(|(_, whole)| whole);
        return if whole { Probe::Match } else { Probe::NoMatch };
    }
    match [sent.orig, sent.resp].map(first_header) {
        [Probe::NoMatch, _] => fallback(sent.orig, sent.resp),
        // The answer was captured before what it answers.
        [_, Probe::NoMatch] if sent.orig.is_empty() => fallback(sent.orig, sent.resp),
        [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// Whether a stream may begin with a command.
fn first_header(bytes: &[u8]) -> Probe {
    let begins = |magic: [u8; 2]| bytes.iter().zip(magic).all(|(a, b)| *a == b);
    if !begins(OLD) && !begins(NEW) {
        return Probe::NoMatch;
    }
    match header(bytes) {
        Header::Command { .. } => Probe::Match,
        Header::Short => Probe::NeedMore,
        Header::Other => Probe::NoMatch,
    }
}

/// The HTTP fallback: `GET /din.aspx?s=…&client=DynGate&…`, `POST /dout.aspx?…`. The server answers as HTTP does.
fn fallback(orig: &[u8], resp: &[u8]) -> Probe {
    const REQUESTS: [&[u8]; 4] = [b"GET /din.aspx?", b"POST /din.aspx?", b"GET /dout.aspx?", b"POST /dout.aspx?"];
    let answered = resp.iter().zip(b"HTTP/1.").all(|(a, b)| a == b);
    let begins = |request: &&[u8]| orig.iter().zip(*request).all(|(a, b)| a == b);
    if !answered || !REQUESTS.iter().any(begins) {
        return Probe::NoMatch;
    }
    let window = orig.get(..LINE_LIMIT).unwrap_or(orig);
    let line = window.split(|b| *b == b'\r').next().unwrap_or_default();
    if line.windows(14).any(|part| part.eq_ignore_ascii_case(b"client=DynGate")) {
        Probe::Match
    } else if line.len() < window.len() || window.len() == LINE_LIMIT {
        Probe::NoMatch
    } else {
        Probe::NeedMore
    }
}

/// What stands at the beginning of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    /// The command, and its length with the header, in bytes.
    Command { command: u8, len: usize },
    /// It may be a command.
    Short,
    /// It is none.
    Other,
}

fn header(bytes: &[u8]) -> Header {
    let mut reader = Reader::new(bytes);
    let Some(magic) = reader.array::<2>() else { return Header::Short };
    if magic != OLD && magic != NEW {
        return Header::Other;
    }
    let Some(command) = reader.u8() else { return Header::Short };
    if !(LOWEST_COMMAND..=HIGHEST_COMMAND).contains(&command) {
        return Header::Other;
    }
    if magic == OLD {
        return match reader.array().map(u16::from_le_bytes) {
            Some(len) => Header::Command { command, len: OLD_HEADER + usize::from(len) },
            None => Header::Short,
        };
    }
    let Some((flags, len)) = reader.u8().zip(reader.array().map(u32::from_le_bytes)) else { return Header::Short };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    // Behind the length: two counters and a word.
    match reader.take(12).and_then(|_| reader.array()).map(u32::from_le_bytes) {
        _ if flags != 0 || len > LENGTH_LIMIT => Header::Other,
        Some(own) if usize::try_from(own) == Ok(NEW_HEADER) => Header::Command { command, len: NEW_HEADER + len },
        Some(_) => Header::Other,
        None => Header::Short,
    }
}

/// The command of a datagram, and whether its length is the datagram's.
fn datagram(bytes: &[u8]) -> Option<(u8, bool)> {
    let old = bytes.get(DATAGRAM_HEAD..)?;
    if !old.starts_with(&OLD) {
        return None;
    }
    match header(old) {
        Header::Command { command, len } => Some((command, len == old.len())),
        _ => None,
    }
}

/// What one end's stream holds next.
#[derive(Debug)]
struct End {
    inbox: Inbox,
    /// Bytes of a command's content that are still to come.
    skip: usize,
    /// Whole commands of this end.
    commands: u16,
}

impl Default for End {
    fn default() -> Self {
        Self { inbox: Inbox::new(INBOX_LIMIT), skip: 0, commands: 0 }
    }
}

#[derive(Debug, Default)]
struct TeamViewer {
    ends: Ends<End>,
    /// Different commands, in the order they came.
    seen: Vec<u8>,
    confirmed: bool,
    done: bool,
}

impl Analyzer for TeamViewer {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || pdu.bytes.is_empty() {
            return;
        }
        if pdu.carrier == Carrier::Datagram {
            self.on_datagram(pdu, events);
        } else {
            self.on_stream(pdu, events);
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, len: u64, events: &mut Events) {
        // What is lost may lie within a command's content.
        let end = self.ends.of_mut(dir);
        match usize::try_from(len) {
            Ok(len) if len <= end.skip => end.skip -= len,
            _ => self.settle(at, dir, events),
        }
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        self.settle(at, Direction::Orig, events);
    }
}

impl TeamViewer {
    fn on_stream(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let end = self.ends.of_mut(pdu.dir);
        let skipped = end.skip.min(pdu.bytes.len());
        end.skip -= skipped;
        let rest = pdu.bytes.get(skipped..).unwrap_or_default();
        if !end.inbox.push(pdu.at, rest) {
            return self.fault(pdu.at, pdu.dir, "teamviewer.beyond-buffer", events);
        }
        while !self.done {
            let end = self.ends.of_mut(pdu.dir);
            match header(end.inbox.bytes()) {
                Header::Short => return,
                Header::Command { command, len } => {
                    let have = len.min(end.inbox.bytes().len());
                    end.inbox.consume(have);
                    end.skip = len - have;
                    end.commands += 1;
                    self.on_command(pdu.at, pdu.dir, command, events);
                    if self.ends.of(pdu.dir).skip > 0 {
                        return;
                    }
                }
                Header::Other if self.is_fallback() => return self.hand_over(pdu, events),
                Header::Other => return self.fault(pdu.at, pdu.dir, "teamviewer.no-command", events),
            }
        }
    }

    /// Nothing but the HTTP fallback's request has come: the probe let nothing else in.
    fn is_fallback(&self) -> bool {
        let request = self.ends.orig.inbox.bytes();
        self.seen.is_empty() && (request.starts_with(b"GE") || request.starts_with(b"PO"))
    }

    fn hand_over(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let inboxes = Ends {
            orig: std::mem::replace(&mut self.ends.orig.inbox, Inbox::new(0)),
            resp: std::mem::replace(&mut self.ends.resp.inbox, Inbox::new(0)),
        };
        self.done = true;
        events.application(pdu.at, pdu.dir, TEAMVIEWER.name);
        events.handover(pdu.at, pdu.dir, "http", true, unused(&inboxes));
    }

    fn on_datagram(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        match datagram(pdu.bytes) {
            Some((command, whole)) if whole || pdu.missing > 0 => {
                self.ends.of_mut(pdu.dir).commands += 1;
                self.on_command(pdu.at, pdu.dir, command, events);
            }
            // A flow may hold other things, such as what punches a hole.
            _ => {}
        }
    }

    fn on_command(&mut self, at: Timestamp, dir: Direction, command: u8, events: &mut Events) {
        if self.seen.len() < TOLD && !self.seen.contains(&command) {
            self.seen.push(command);
        }
        let (orig, resp) = (self.ends.orig.commands, self.ends.resp.commands);
        if !self.confirmed && orig > 0 && resp > 0 {
            self.confirmed = true;
            events.confirmed(at, dir);
            events.application(at, dir, TEAMVIEWER.name);
        }
        if orig.saturating_add(resp) >= READ {
            self.settle(at, dir, events);
        }
    }

    fn fault(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        events.violation(at, dir, fault);
        if self.confirmed {
            return self.settle(at, dir, events);
        }
        self.done = true;
        events.settled(at, dir);
    }

    /// Tells the commands, and that nothing more is to come.
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        if !self.seen.is_empty() {
            let names: Vec<_> = self.seen.iter().map(|command| command_name(*command)).collect();
            events.attribute(at, dir, COMMANDS, names.join(","));
        }
        events.settled(at, dir);
    }
}

/// The word for a command. The numbers as in bettercap's table of them.
fn command_name(command: u8) -> String {
    let name = match command {
        10 => "identify",
        11 => "request-connect",
        13 => "disconnect",
        16 => "ping",
        17 => "ping-ok",
        18 => "master-command",
        19 => "master-response",
        22 => "connect-to-waiting-thread",
        23 => "session-mode",
        24 => "request-routing-session",
        27 => "keepalive-beep",
        28 => "request-keepalive",
        35 => "keepalive-request",
        40 => "request-keepalive-2",
        41 => "disconnect-switched-to-udp",
        43 => "keepalive-answer",
        46 => "buddy",
        47 => "accept-routing-session",
        53 => "end-session",
        54 => "session-id",
        55 => "reconnect-to-session",
        58 => "carrier-switch",
        60 => "router-command",
        61 => "partner-reconnect",
        62 => "congestion-control",
        63 => "ack",
        70 => "udp-request-connect",
        71 => "udp-ping",
        72 => "udp-request-connect-vpn",
        90 => "data",
        91 => "data-2",
        92 => "data-encrypted",
        93 => "request-encryption",
        94 => "confirm-encryption",
        97 => "udp-flow-control",
        98 => "data-3",
        99 => "data-3-encrypted",
        102 => "auth-challenge",
        103 => "auth-response",
        104 => "auth-result",
        106 => "data-4",
        107 => "data-stream",
        108 => "udp-heartbeat",
        109 => "data-directed",
        110 => "udp-resend",
        111 => "udp-ack",
        112 => "udp-protected",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn, said};
    use proptest::prelude::*;

    fn old(command: u8, len: u16) -> Vec<u8> {
        let mut out = vec![0x17, 0x24, command];
        out.extend(len.to_le_bytes());
        out.resize(OLD_HEADER + usize::from(len), 0xaa);
        out
    }

    fn new(command: u8, counter: u32, len: u32) -> Vec<u8> {
        let mut out = vec![0x11, 0x30, command, 0];
        for word in [len, counter, 0, 0x1b, 0x18] {
            out.extend(word.to_le_bytes());
        }
        out.resize(NEW_HEADER + usize::try_from(len).unwrap(), 0xbb);
        out
    }

    fn udp(command: u8, len: u16) -> Vec<u8> {
        [&[0; 10][..], &[3], &old(command, len)].concat()
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&TEAMVIEWER, Carrier::Stream, orig, resp)
    }

    /// As in the capture: identify, two more, then the router's answer in the long form.
    fn dialogue() -> (Vec<u8>, Vec<u8>) {
        ([old(10, 32), old(40, 24), old(60, 1833)].concat(), [new(54, 1, 24), new(60, 2, 123)].concat())
    }

    #[test]
    fn commands_of_both_ends_confirm() {
        let (orig, resp) = dialogue();
        let events = testkit::stream(&TEAMVIEWER, &[(Orig, &orig), (Resp, &resp), (Orig, &new(63, 1, 0))], 9_000);
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
        assert_eq!(said(&events, COMMANDS), Some("identify,request-keepalive-2,router-command,session-id,ack"));
    }

    #[test]
    fn one_end_alone_is_not_certain() {
        let (orig, _) = dialogue();
        assert_eq!(probe(&orig, b""), Probe::Match);
        let events = testkit::stream(&TEAMVIEWER, &[(Orig, &orig)], 9_000);
        assert!(events.iter().all(|e| e.kind != EventKind::Confirmed));
    }

    #[test]
    fn what_only_begins_like_a_command_is_none() {
        for other in [
            &b"\x17\x03\x03\0\x20"[..],
            b"\x17\x24\x01\x20\0",
            b"\x17\x24\xc0\x20\0",
            b"\x11\x30\x36\x01\x18\0\0\0",
            b"\x11\x30\x36\0\x18\0\0\0\x01\0\0\0\0\0\0\0\x1b\0\0\0\x19\0\0\0",
            b"GET / HTTP/1.1\r\n",
            b"SSH-2.0-x\r\n",
        ] {
            assert_eq!(probe(other, b""), Probe::NoMatch, "{other:02x?}");
        }
        // A command and something that is none: the name is taken back.
        let wrong = [&old(10, 32)[..], b"hello"].concat();
        let events = testkit::stream(&TEAMVIEWER, &[(Orig, &wrong)], 9_000);
        assert!(matches!(events[0].kind, EventKind::Violation(_)), "{events:?}");
        assert_eq!(probe(&old(10, 32), b"HTTP/1.1 400 Bad Request\r\n"), Probe::NoMatch);
    }

    #[test]
    fn a_datagram_has_the_length_it_says() {
        let probe = |bytes: &[u8]| testkit::probe(&TEAMVIEWER, Carrier::Datagram, bytes, b"");
        assert_eq!(probe(&udp(71, 80)), Probe::Match);
        assert_eq!(probe(&udp(71, 80)[..95]), Probe::NoMatch);
        assert_eq!(probe(&[&udp(71, 80)[..], b"x"].concat()), Probe::NoMatch);
        assert_eq!(probe(&[0; 64]), Probe::NoMatch);
        let events =
            testkit::datagrams(&TEAMVIEWER, &[(Orig, &udp(71, 80)), (Resp, &udp(71, 80)), (Resp, &udp(107, 9))]);
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
    }

    #[test]
    fn the_fallback_is_handed_to_http() {
        let request =
            b"GET /din.aspx?s=00000000&id=0&client=DynGate&rnd=1&p=10000001 HTTP/1.1\r\nHost: 192.0.2.9\r\n\r\n";
        assert_eq!(probe(request, b""), Probe::Match);
        assert_eq!(probe(&request[..20], b""), Probe::NeedMore);
        assert_eq!(probe(b"GET /din.aspx?s=1 HTTP/1.1\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(b"GET /dinner.aspx?client=DynGate HTTP/1.1\r\n", b""), Probe::NoMatch);
        for piece in [1, 7, 500] {
            let events = testkit::stream(&TEAMVIEWER, &[(Orig, request)], piece);
            let to = events.iter().find_map(|e| match &e.kind {
                EventKind::Handover { to, as_carrier: true, .. } => Some(*to),
                _ => None,
            });
            assert_eq!(to, Some("http"));
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_commands(piece in 1usize..3_000) {
            let (orig, resp) = dialogue();
            let turns: [Turn<'_>; 3] = [(Orig, &orig), (Resp, &resp), (Orig, b"\x11\x30\x3f")];
            prop_assert_eq!(testkit::stream(&TEAMVIEWER, &turns, piece), testkit::stream(&TEAMVIEWER, &turns, 9_000));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), new_form in any::<bool>()) {
            let begins: &[u8] = if new_form { &NEW } else { &OLD };
            let bytes = [begins, &bytes].concat();
            probe(&bytes, &bytes);
            testkit::stream(&TEAMVIEWER, &[(Orig, &bytes), (Resp, &bytes)], 7);
            testkit::datagrams(&TEAMVIEWER, &[(Orig, &bytes), (Resp, &bytes)]);
        }
    }
}

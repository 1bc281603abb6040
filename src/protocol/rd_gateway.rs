//! Remote Desktop Gateway, where its HTTP is in clear: behind a proxy that ends TLS.
//!
//! Reads: the heads of requests and responses of one channel, and in the client's direction the gateway's packets, in
//! chunks or WebSocket frames, up to the one that names the desktop. Emits: transport, connection id (which joins the two
//! channels), the target. Does not: see inside TLS or the DTLS of the UDP side channel, read the RPC transport beyond its
//! head, or keep credentials.
//!
//! Reference: [MS-TSGU] 2.2.3 (HTTP), 2.2.10 (packets), 1.3 (RPC over HTTP); RFC 6455 (WebSocket).

use crate::base::{Direction, Ends, Link, Reader, Timestamp};
use crate::protocol::codec::{Inbox, printable, text_utf16le};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry. Ports: the RPC endpoint's, then those of HTTP, so that a gateway's methods are looked for before
/// HTTP takes the flow; in a place where no port alone names a gateway.
pub(crate) static RD_GATEWAY: Protocol = Protocol {
    name: "rd-gateway",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[3388, 80, 8080, 8000, 3128, 5985],
    attributes: &[TRANSPORT, CONNECTION, TARGET, METHOD, HOST, USER_AGENT, STATUS, SERVER],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Gateway::default()),
};

const TRANSPORT: Key = "rd_gateway.transport";
const CONNECTION: Key = "rd_gateway.connection_id";
const TARGET: Key = "rd_gateway.target";
const METHOD: Key = "http.method";
const HOST: Key = "http.host";
const USER_AGENT: Key = "http.user_agent";
const STATUS: Key = "http.status";
const SERVER: Key = "http.server";

/// Bytes of a head, and of packets, that are held.
const HELD: usize = 16 * 1024;
/// Bytes of a request line within which it must be known.
const LINE_LIMIT: usize = 1_024;
/// Characters of a value that are kept.
const TEXT_KEPT: usize = 512;
/// Requests of one connection that are read: each round of authentication costs one.
const ROUNDS: u8 = 8;

/// The gateway's RPC endpoint, as RPC over HTTP names it; Exchange uses 6001 to 6004.
const RPC_ENDPOINT: &[u8] = b":3388";
/// `HTTP_CHANNEL_PACKET` ([MS-TSGU] 2.2.10.2).
const CHANNEL_CREATE: u16 = 8;
/// A packet's type, reserved bytes and length.
const PACKET_HEADER: usize = 8;

fn probe(opening: &Opening<'_>) -> Probe {
    const STATUS_LINE: &[u8] = b"HTTP/1.";
    if !opening.sent.resp.iter().zip(STATUS_LINE).all(|(a, b)| a == b) {
        return Probe::NoMatch;
    }
    request_line(opening.sent.orig)
}

fn request_line(bytes: &[u8]) -> Probe {
    const OWN: [&[u8]; 3] = [b"RDG_OUT_DATA /", b"RDG_IN_DATA /", b"GET /remoteDesktopGateway"];
    const RPC: [&[u8]; 2] = [b"RPC_IN_DATA /", b"RPC_OUT_DATA /"];
    let begins = |head: &&[u8]| bytes.iter().zip(*head).all(|(a, b)| a.eq_ignore_ascii_case(b));
    if let Some(head) = OWN.iter().find(|head| begins(head)) {
        return if bytes.len() < head.len() { Probe::NeedMore } else { Probe::Match };
    }
    if !RPC.iter().any(begins_any(bytes)) {
        return Probe::NoMatch;
    }
    let window = bytes.get(..LINE_LIMIT).unwrap_or(bytes);
    match window.iter().position(|byte| *byte == b'\n') {
        Some(end) if is_rpc_target(window.get(..end).unwrap_or_default()) => Probe::Match,
        None if window.len() < LINE_LIMIT => Probe::NeedMore,
        _ => Probe::NoMatch,
    }
}

fn begins_any(bytes: &[u8]) -> impl Fn(&&[u8]) -> bool {
    move |head| bytes.iter().zip(*head).all(|(a, b)| a == b)
}

/// `/rpc/rpcproxy.dll?localhost:3388`, or the path for smart cards.
fn is_rpc_target(line: &[u8]) -> bool {
    let has = |part: &[u8]| line.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    has(b"/rpcproxy.dll?") && has(RPC_ENDPOINT)
}

/// The values of a head that are used.
#[derive(Debug, Default)]
struct Head {
    first: String,
    host: Option<String>,
    user_agent: Option<String>,
    server: Option<String>,
    connection: Option<String>,
    length: usize,
    chunked: bool,
    upgrade: bool,
}

impl Head {
    /// Reads a head that ends in an empty line, and says how many bytes it takes.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let size = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let mut lines = bytes.get(..size)?.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let mut head = Self { first: printable(lines.next()?, TEXT_KEPT), ..Self::default() };
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let name = line.get(..colon).unwrap_or_default().to_ascii_lowercase();
            let value = printable(line.get(colon + 1..).unwrap_or_default().trim_ascii(), TEXT_KEPT);
            match &*name {
                b"host" => head.host = Some(value),
                b"user-agent" => head.user_agent = Some(value),
                b"server" => head.server = Some(value),
                b"rdg-connection-id" => head.connection = Some(value),
                b"content-length" => head.length = value.parse().unwrap_or(0),
                b"transfer-encoding" => head.chunked = value.eq_ignore_ascii_case("chunked"),
                b"upgrade" => head.upgrade = value.eq_ignore_ascii_case("websocket"),
                _ => {}
            }
        }
        Some((head, size))
    }
}

/// How the bytes of one end are to be read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A head.
    #[default]
    Head,
    /// A body of so many bytes more, of no interest.
    Body(usize),
    /// A body in chunks, which holds packets.
    Chunks,
    /// WebSocket frames, which hold packets.
    Frames,
    /// No more of this end.
    Closed,
}

#[derive(Debug)]
struct Gateway {
    inboxes: Ends<Inbox>,
    stages: Ends<Stage>,
    /// The first request, told when it is answered as a gateway does.
    request: Option<Head>,
    /// The newest request wants a WebSocket.
    upgrading: bool,
    answered: bool,
    /// Requests read of which the response was not.
    open: u8,
    rounds: u8,
    /// Packets of the client, without what wraps them.
    packets: Vec<u8>,
    done: bool,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(HELD), resp: Inbox::new(HELD) },
            stages: Ends::default(),
            request: None,
            upgrading: false,
            answered: false,
            open: 0,
            rounds: 0,
            packets: Vec::new(),
            done: false,
        }
    }
}

impl Analyzer for Gateway {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || *self.stages.of(pdu.dir) == Stage::Closed {
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.settle(pdu.at, pdu.dir, events);
            return;
        }
        // What the other end had to wait with is read after each unit of this one, however many came at once.
        while !self.done {
            while !self.done && self.step(pdu.dir.flip(), events) {}
            if self.done || !self.step(pdu.dir, events) {
                return;
            }
        }
    }
}

impl Gateway {
    /// Reads the next unit of one end; `false` if there is none.
    fn step(&mut self, dir: Direction, events: &mut Events) -> bool {
        if self.inboxes.of(dir).bytes().is_empty() {
            return false;
        }
        match *self.stages.of(dir) {
            // What stands behind a request for a WebSocket belongs to whatever the answer makes of it.
            Stage::Head if dir == Direction::Orig && self.upgrading => false,
            Stage::Head if dir == Direction::Orig => self.on_request(events),
            Stage::Head => self.on_response(events),
            Stage::Body(left) => {
                let inbox = self.inboxes.of_mut(dir);
                let taken = left.min(inbox.bytes().len());
                inbox.consume(taken);
                *self.stages.of_mut(dir) = if taken == left { Stage::Head } else { Stage::Body(left - taken) };
                true
            }
            Stage::Chunks => self.on_wrapped(chunk, events),
            Stage::Frames => self.on_wrapped(frame, events),
            Stage::Closed => {
                let held = self.inboxes.of(dir).bytes().len();
                self.inboxes.of_mut(dir).consume(held);
                false
            }
        }
    }

    fn on_request(&mut self, events: &mut Events) -> bool {
        let inbox = &mut self.inboxes.orig;
        let Some((head, size)) = Head::read(inbox.bytes()) else { return false };
        let at = inbox.time_of(size - 1);
        inbox.consume(size);
        self.rounds += 1;
        if self.rounds > ROUNDS || request_line(format!("{}\n", head.first).as_bytes()) != Probe::Match {
            if !self.answered {
                events.violation(at, Direction::Orig, "rd-gateway.another-request");
            }
            self.settle(at, Direction::Orig, events);
            return false;
        }
        self.open += 1;
        self.upgrading = head.upgrade;
        self.stages.orig = match head.length {
            _ if head.first.starts_with("RPC_") && head.length > HELD => Stage::Closed,
            _ if head.chunked => Stage::Chunks,
            0 => Stage::Head,
            length => Stage::Body(length),
        };
        self.request.get_or_insert(head);
        true
    }

    fn on_response(&mut self, events: &mut Events) -> bool {
        let inbox = &mut self.inboxes.resp;
        let Some((head, size)) = Head::read(inbox.bytes()) else { return false };
        let at = inbox.time_of(size - 1);
        let Some(request) = self.request.as_ref().filter(|_| self.open > 0) else {
            // The answer was overtaken by its request, or the request was never captured.
            return false;
        };
        let status: u16 = head.first.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        if !matches!(status, 101 | 200 | 401) {
            // A gateway lets in or asks who it is; anything else is a web server that was asked by mistake.
            if !self.answered {
                events.violation(at, Direction::Resp, "rd-gateway.refused");
            }
            self.settle(at, Direction::Resp, events);
            return false;
        }
        if !self.answered {
            tell(at, request, &head, status, events);
            self.answered = true;
        }
        self.inboxes.resp.consume(size);
        self.stages.resp = match status {
            101 | 200 => Stage::Closed,
            _ if head.length > 0 => Stage::Body(head.length),
            _ => Stage::Head,
        };
        if status == 101 {
            self.stages.orig = Stage::Frames;
        }
        self.open -= 1;
        // An answer to an earlier request says nothing of a WebSocket.
        self.upgrading &= self.open > 0;
        true
    }

    /// Takes what wraps the packets off, and reads those that are whole.
    fn on_wrapped(&mut self, unwrap: Unwrap, events: &mut Events) -> bool {
        let inbox = &mut self.inboxes.orig;
        let Some((bytes, size)) = unwrap(inbox.bytes()) else { return false };
        let at = inbox.time_of(size - 1);
        inbox.consume(size);
        if self.packets.len() + bytes.len() > HELD {
            self.settle(at, Direction::Orig, events);
            return false;
        }
        self.packets.extend_from_slice(&bytes);
        while let Some((kind, body)) = next_packet(&mut self.packets) {
            if kind == CHANNEL_CREATE {
                if let Some(target) = target(&body) {
                    events.attribute(at, Direction::Orig, TARGET, target);
                }
                self.settle(at, Direction::Orig, events);
                return false;
            }
        }
        true
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.done, true) {
            events.settled(at, dir);
        }
    }
}

fn tell(at: Timestamp, request: &Head, response: &Head, status: u16, events: &mut Events) {
    let (asks, answers) = (Direction::Orig, Direction::Resp);
    events.confirmed(at, answers);
    let method = request.first.split(' ').next().unwrap_or_default();
    let transport = match method {
        _ if request.upgrade => "websocket",
        "RPC_IN_DATA" | "RPC_OUT_DATA" => "rpc",
        _ => "http",
    };
    events.attribute(at, asks, TRANSPORT, transport);
    events.attribute(at, asks, METHOD, method);
    for (key, value) in [(HOST, &request.host), (USER_AGENT, &request.user_agent), (CONNECTION, &request.connection)] {
        if let Some(value) = value {
            events.attribute(at, asks, key, value.as_str());
        }
    }
    events.attribute(at, answers, STATUS, status.to_string());
    if let Some(server) = &response.server {
        events.attribute(at, answers, SERVER, server.as_str());
    }
    events.link(
        at,
        asks,
        match &request.connection {
            Some(id) => Link::token("rd-gateway", id.to_ascii_lowercase().as_bytes()),
            None => Link::Pair("rd-gateway"),
        },
    );
}

/// What takes one wrapper off: its content, and the bytes it takes.
type Unwrap = fn(&[u8]) -> Option<(Vec<u8>, usize)>;

/// One chunk of a chunked body (RFC 9112 7.1), and the bytes it takes.
fn chunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    let digits = bytes.get(..end)?.split(|byte| *byte == b';').next()?;
    let len = usize::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()?;
    let content = bytes.get(end + 2..)?.get(..len)?;
    let size = end + 2 + len + 2;
    (bytes.len() >= size).then(|| (content.to_vec(), size))
}

/// One WebSocket frame, unmasked, and the bytes it takes. Control frames hold nothing of ours.
fn frame(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut reader = Reader::new(bytes);
    let (kind, len) = (reader.u8()? & 0xf, reader.u8()?);
    let masked = len & 0x80 != 0;
    let len = match len & 0x7f {
        126 => usize::from(reader.u16()?),
        127 => usize::try_from(reader.u64()?).ok()?,
        short => usize::from(short),
    };
    let mask = if masked { reader.array::<4>()? } else { [0; 4] };
    let content = reader.take(len)?;
    let plain = content.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
    let plain = if kind < 8 { plain.collect() } else { Vec::new() };
    Some((plain, bytes.len() - reader.len()))
}

/// Takes the first whole packet out: its type and body.
fn next_packet(packets: &mut Vec<u8>) -> Option<(u16, Vec<u8>)> {
    let [a, b, _, _, len @ ..] = *packets.first_chunk::<PACKET_HEADER>()?;
    let len = usize::try_from(u32::from_le_bytes(len)).ok()?.max(PACKET_HEADER);
    let body = packets.get(PACKET_HEADER..len)?.to_vec();
    packets.drain(..len);
    Some((u16::from_le_bytes([a, b]), body))
}

/// The first resource of a channel: counts of names, port, protocol, then names with their lengths.
fn target(body: &[u8]) -> Option<String> {
    let mut reader = Reader::new(body);
    reader.take(2)?;
    let port = reader.array().map(u16::from_le_bytes)?;
    reader.take(2)?;
    let len = reader.array().map(u16::from_le_bytes)?;
    let name = text_utf16le(reader.take(usize::from(len))?, TEXT_KEPT);
    Some(format!("{name}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const OUT: &[u8] =
        b"RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1\r\nHost: gw.example\r\nUser-Agent: MS-RDGateway/1.0\r\n\
        RDG-Connection-Id: {958F92D8-DA20-467A-BBE3-65E7E9B4EDCF}\r\n\r\n";
    const IN: &[u8] = b"RDG_IN_DATA /remoteDesktopGateway/ HTTP/1.1\r\nHost: gw.example\r\n\
        RDG-Connection-Id: {958f92d8-da20-467a-bbe3-65e7e9b4edcf}\r\nContent-Length: 0\r\n\r\n";
    const IN_OPEN: &[u8] = b"RDG_IN_DATA /remoteDesktopGateway/ HTTP/1.1\r\nHost: gw.example\r\n\
        Authorization: NTLM secret\r\nTransfer-Encoding: chunked\r\n\r\n";
    const GET: &[u8] = b"GET /remoteDesktopGateway/ HTTP/1.1\r\nHost: gw.example\r\nUpgrade: websocket\r\n\r\n";
    const WHO: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nServer: Microsoft-HTTPAPI/2.0\r\nContent-Length: 3\r\n\r\nwho";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n";

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u8::try_from(body.len() + 8).unwrap();
        [&[kind, 0, 0, 0, len, 0, 0, 0][..], body].concat()
    }

    /// A handshake and a channel to `pc.local:3389`.
    fn packets() -> Vec<u8> {
        let name: Vec<u8> = "pc.local\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let create = [&[1, 0, 0x3d, 0x0d, 3, 0, u8::try_from(name.len()).unwrap(), 0][..], &name].concat();
        [packet(1, &[1, 0, 0, 0, 0, 0]), packet(8, &create)].concat()
    }

    fn chunked(bytes: &[u8]) -> Vec<u8> {
        [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
    }

    fn masked(bytes: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let content: Vec<u8> = bytes.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
        [&[0x82, 0x80 | u8::try_from(bytes.len()).unwrap()][..], &mask, &content].concat()
    }

    fn run(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&RD_GATEWAY, &turns, piece)
    }

    fn inward() -> Vec<(Direction, Vec<u8>)> {
        vec![
            (Orig, IN.to_vec()),
            (Resp, WHO.to_vec()),
            (Orig, IN_OPEN.to_vec()),
            (Resp, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
            (Orig, chunked(&packets())),
        ]
    }

    #[test]
    fn the_two_channels_bear_one_connection_and_name_the_desktop() {
        let events = run(&inward(), 4096);
        for (key, value) in [
            (TRANSPORT, "http"),
            (TARGET, "pc.local:3389"),
            (METHOD, "RDG_IN_DATA"),
            (STATUS, "401"),
            (SERVER, "Microsoft-HTTPAPI/2.0"),
        ] {
            assert_eq!(testkit::said(&events, key), Some(value), "{key}");
        }
        assert!(!format!("{events:?}").contains("secret"));
        let outward = run(&[(Orig, OUT.to_vec()), (Resp, OK.to_vec()), (Resp, vec![7; 90])], 4096);
        assert_eq!(testkit::said(&outward, USER_AGENT), Some("MS-RDGateway/1.0"));
        let link = |events: &[Event]| {
            events.iter().find_map(|e| if let EventKind::Link(link) = e.kind { Some(link) } else { None })
        };
        assert!(link(&events).is_some() && link(&events) == link(&outward));
    }

    #[test]
    fn a_websocket_holds_the_same_packets() {
        let accept = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
        let events = run(&[(Orig, GET.to_vec()), (Resp, accept), (Orig, masked(&packets()))], 4096);
        assert_eq!(testkit::said(&events, TRANSPORT), Some("websocket"));
        assert_eq!(testkit::said(&events, TARGET), Some("pc.local:3389"));
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn a_web_server_asked_by_mistake_is_no_gateway() {
        let no = b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n\r\n".to_vec();
        let events = run(&[(Orig, OUT.to_vec()), (Resp, no)], 4096);
        assert!(events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
        assert!(!events.iter().any(|e| matches!(e.kind, EventKind::Attribute { .. } | EventKind::Confirmed)));
    }

    #[test]
    fn other_requests_are_left_to_http() {
        let probe = |orig: &[u8]| testkit::probe(&RD_GATEWAY, Carrier::Stream, orig, b"");
        let rpc = b"RPC_IN_DATA /rpc/rpcproxy.dll?localhost:3388 HTTP/1.1\r\n";
        assert_eq!((probe(rpc), probe(&rpc[..30])), (Probe::Match, Probe::NeedMore));
        assert_eq!(probe(b"RPC_IN_DATA /rpc/rpcproxy.dll?mail.example:6001 HTTP/1.1\r\n"), Probe::NoMatch);
        assert_eq!(probe(b"GET /remote HTTP/1.1\r\n"), Probe::NoMatch);
        assert_eq!(probe(b"GET / HTTP/1.1\r\nReferer: /remoteDesktopGateway/\r\n"), Probe::NoMatch);
        assert_eq!(probe(b"RDG_OUT_DATA"), Probe::NeedMore);
        assert_eq!(testkit::probe(&RD_GATEWAY, Carrier::Stream, OUT, b"SSH-2.0"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..60) {
            prop_assert_eq!(run(&inward(), piece), run(&inward(), usize::MAX));
        }

        /// Requests and answers in any order, several in one piece: an answer may overtake the end of its request.
        #[test]
        fn any_cut_gives_the_same_events_in_any_order(
            turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(0usize..6, 1..3)), 1..6),
            split in 0usize..300,
            piece in 1usize..60,
        ) {
            let accept: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
            let asks = [OUT, IN, GET, IN_OPEN, b"GET / HTTP/1.1\r\n\r\n", b"2\r\nab\r\n"];
            let answers = [WHO, OK, accept, b"HTTP/1.1 401 x\r\n\r\n", b"HTTP/1.1 404 x\r\n\r\n", b"x"];
            let turn = |(orig, parts): &(bool, Vec<usize>)| {
                let (dir, of) = if *orig { (Orig, asks) } else { (Resp, answers) };
                (dir, parts.iter().flat_map(|i| of[*i]).copied().collect::<Vec<u8>>())
            };
            let mut turns: Vec<_> = [(Orig, OUT.to_vec())].into_iter().chain(turns.iter().map(turn)).collect();
            // The end of the first request comes after what follows it.
            let tail = turns[0].1.split_off(split.min(OUT.len()));
            turns.insert(2, (Orig, tail));
            prop_assert_eq!(run(&turns, piece), run(&turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            kept in 0usize..5,
            turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..8),
        ) {
            let mut all = inward();
            all.truncate(kept);
            all.extend(turns.iter().map(|(orig, bytes)| (if *orig { Orig } else { Resp }, bytes.clone())));
            run(&all, 3);
            for (_, bytes) in &turns {
                testkit::probe(&RD_GATEWAY, Carrier::Stream, bytes, bytes);
                let _ = (frame(bytes), chunk(bytes), target(bytes), next_packet(&mut bytes.clone()));
            }
        }
    }
}

//! MeshCentral: agents, consoles and relays of a server that anybody can run.
//!
//! Reads: request line and head of a WebSocket to one of its three paths (in clear, as behind a proxy that ends TLS);
//! the server's own certificate by its signs. Emits: what the connection is for, the server's name, the relay session's
//! link. Does not: read the WebSocket, or see anything in TLS 1.3 or under a bought certificate: the server has no name
//! of its own.
//!
//! Reference: Ylianst/MeshCentral 1.1.55: `webserver.js` (paths), `certoperations.js` (root certificate
//! `MeshCentralRoot-` and six hexadecimal digits); "MeshCentral2 Design & Architecture", 9 (relay).

use crate::base::{Direction, Ends, Link, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol, Said, Shows, Sign};

/// The registry's entry.
pub(crate) static MESHCENTRAL: Protocol = Protocol {
    name: "meshcentral",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[443, 80, 8080, 8000],
    attributes: &[ROLE, HOST],
    signs: &[
        Sign::new("tls.cert_issuer", Said::Contains("CN=MeshCentralRoot-"), Shows::Certain),
        Sign::new("tls.cert_subject", Said::Contains("CN=MeshCentralRoot-"), Shows::Certain),
        // The project's own public server and its site share one name.
        Sign::new("tls.sni", Said::Domain("meshcentral.com"), Shows::Mention),
        Sign::new("http.host", Said::Domain("meshcentral.com"), Shows::Mention),
        Sign::new("proxy.target", Said::Domain("meshcentral.com"), Shows::Mention),
        Sign::new("dns.query", Said::Domain("meshcentral.com"), Shows::Mention),
    ],
    lasting: false,
    probe,
    analyzer: || Box::new(Mesh::default()),
};

/// `agent` (the device that can be controlled), `console` (who may control), `relay` (a session of both).
const ROLE: Key = "meshcentral.role";
/// HTTP's own word for it.
const HOST: Key = "http.host";
const LINK: &str = "meshcentral";
/// How a server agrees to a WebSocket.
const ACCEPTED: &[u8] = b"HTTP/1.1 101";
/// Characters of a name that are kept.
const HOST_KEPT: usize = 255;

/// Bytes of a head that are looked at. Cookies and tokens make heads of consoles about 1 kB.
const HEAD_LIMIT: usize = 2_000;
const INBOX_LIMIT: usize = 64 * 1024;

/// The last part of the path, and what connects there.
const PATHS: [(&[u8], &str); 3] =
    [(b"/agent.ashx", "agent"), (b"/control.ashx", "console"), (b"/meshrelay.ashx", "relay")];

/// Other servers may have pages of such names; only here they are WebSockets.
fn probe(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    let begins = |bytes: &[u8], with: &[u8]| bytes.iter().zip(with).all(|(a, b)| a == b);
    if !begins(orig, b"GET /") || !begins(resp, ACCEPTED) {
        return Probe::NoMatch;
    }
    let window = orig.get(..HEAD_LIMIT).unwrap_or(orig);
    let line = window.split(|b| *b == b'\r').next().unwrap_or_default();
    let whole_line = line.len() < window.len();
    if whole_line && path(line).is_none() {
        return Probe::NoMatch;
    }
    // What stands behind the head is somebody else's, whatever it says.
    let head = head(window);
    if whole_line && upgrades(head.unwrap_or(window)) {
        return Probe::Match;
    }
    if head.is_some() || window.len() == HEAD_LIMIT { Probe::NoMatch } else { Probe::NeedMore }
}

/// What a request line's path is for, and its parameters.
fn path(line: &[u8]) -> Option<(&'static str, &[u8])> {
    let target = line.strip_prefix(b"GET ")?.strip_suffix(b" HTTP/1.1")?;
    let at = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
    let (path, parameters) = target.split_at_checked(at)?;
    let (_, role) = PATHS.iter().find(|(name, _)| path.ends_with(name))?;
    Some((role, parameters.get(1..).unwrap_or_default()))
}

/// Whether a whole line of the head asks for WebSocket.
fn upgrades(head: &[u8]) -> bool {
    const LINE: &[u8] = b"\r\nupgrade: websocket\r\n";
    head.windows(LINE.len()).any(|window| window.eq_ignore_ascii_case(LINE))
}

#[derive(Debug)]
struct Mesh {
    inboxes: Ends<Inbox>,
    done: bool,
}

impl Default for Mesh {
    fn default() -> Self {
        Self { inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) }, done: false }
    }
}

impl Analyzer for Mesh {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || pdu.bytes.is_empty() {
            return;
        }
        let room = self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes);
        let answer = self.inboxes.resp.bytes();
        if !room || (answer.len() >= ACCEPTED.len() && !answer.starts_with(ACCEPTED)) {
            events.violation(pdu.at, pdu.dir, "meshcentral.no-websocket");
            self.settle(pdu.at, pdu.dir, events);
        } else if answer.starts_with(ACCEPTED) && head(self.inboxes.orig.bytes()).is_some() {
            self.tell(events);
            events.confirmed(self.inboxes.resp.time_of(ACCEPTED.len() - 1), Direction::Resp);
            self.settle(pdu.at, pdu.dir, events);
        }
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        if !self.done {
            self.tell(events);
            self.settle(at, Direction::Orig, events);
        }
    }
}

impl Mesh {
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.settled(at, dir);
    }

    fn tell(&self, events: &mut Events) {
        let (asked, at) = (self.inboxes.orig.bytes(), self.inboxes.orig.time_of(0));
        let head = head(asked).unwrap_or(asked);
        let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
        let Some((role, parameters)) = path(line) else { return };
        events.attribute(at, Direction::Orig, ROLE, role);
        if let Some(host) = host(head) {
            events.attribute(at, Direction::Orig, HOST, printable(host, HOST_KEPT));
        }
        events.application(at, Direction::Orig, MESHCENTRAL.name);
        if role == "relay" {
            // Agent and console come to the relay with the same random number.
            let id = parameters.split(|b| *b == b'&').find_map(|parameter| parameter.strip_prefix(b"id="));
            if let Some(id) = id.filter(|id| id.len() >= 8) {
                events.link(at, Direction::Orig, Link::at_server(LINK, id));
            }
        }
    }
}

/// The head of a request, the empty line at its end included, once it is whole.
fn head(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    bytes.get(..end + 4)
}

/// The server's name, as the request says it.
fn host(head: &[u8]) -> Option<&[u8]> {
    head.split(|b| *b == b'\n').skip(1).find_map(|line| {
        let (name, value) = line.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"host:").then(|| value.trim_ascii()).filter(|value| !value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const RELAY: &[u8] =
        b"GET /meshrelay.ashx?browser=1&p=2&id=k8d7f6s5a4&auth=x HTTP/1.1\r\nHost: mesh.example.com\r\n\
        Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&MESHCENTRAL, Carrier::Stream, orig, resp)
    }

    fn role_of(path: &str) -> Option<String> {
        let head = format!("GET {path} HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
        if probe(head.as_bytes(), b"") != Probe::Match {
            return None;
        }
        said(&testkit::stream(&MESHCENTRAL, &[(Orig, head.as_bytes())], 9), ROLE).map(str::to_owned)
    }

    #[test]
    fn a_path_tells_what_the_connection_is_for() {
        assert_eq!(role_of("/agent.ashx").as_deref(), Some("agent"));
        assert_eq!(role_of("/customer/agent.ashx").as_deref(), Some("agent"));
        assert_eq!(role_of("/control.ashx?auth=x").as_deref(), Some("console"));
        assert_eq!(role_of("/meshrelay.ashx?id=0123456789").as_deref(), Some("relay"));
        assert_eq!(role_of("/agent.ashx.bak"), None);
        assert_eq!(role_of("/secret-agent"), None);
    }

    #[test]
    fn a_page_of_that_name_is_a_page() {
        assert_eq!(probe(b"GET /control.ashx HTTP/1.1\r\nHost: www.example.com\r\n\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(RELAY, b"HTTP/1.1 200 OK\r\n"), Probe::NoMatch);
        assert_eq!(probe(&RELAY[..40], b""), Probe::NeedMore);
        assert_eq!(probe(b"GET /agent.ashx?upgrade: websocket HTTP/1.1\r\n\r\n", b""), Probe::NoMatch);
        let behind = b"GET /agent.ashx HTTP/1.1\r\n\r\nHost: body\r\nUpgrade: websocket\r\n";
        assert_eq!(probe(behind, b""), Probe::NoMatch);
        let told = testkit::stream(&MESHCENTRAL, &[(Orig, behind), (Resp, b"HTTP/1.1 101 x\r\n\r\n")], 9_000);
        assert_eq!(testkit::said(&told, HOST), None);
    }

    #[test]
    fn it_is_confirmed_by_who_agrees_and_taken_back_by_who_does_not() {
        let yes = testkit::stream(&MESHCENTRAL, &[(Orig, RELAY), (Resp, b"HTTP/1.1 101 x\r\n\r\n")], 9_000);
        assert!(yes.iter().any(|e| e.kind == EventKind::Confirmed));
        assert_eq!((said(&yes, ROLE), said(&yes, HOST)), (Some("relay"), Some("mesh.example.com")));
        let no = testkit::stream(&MESHCENTRAL, &[(Orig, RELAY), (Resp, b"HTTP/1.1 404 x\r\n\r\n")], 9_000);
        assert!(matches!(no[0].kind, EventKind::Violation(_)));
        assert_eq!(said(&no, ROLE), None);
    }

    #[test]
    fn both_ends_of_a_relay_meet_at_its_number() {
        let link = |events: &[Event]| {
            events.iter().find_map(|e| match e.kind {
                EventKind::Link(link) => Some(link),
                _ => None,
            })
        };
        let console = testkit::stream(&MESHCENTRAL, &[(Orig, RELAY)], 9_000);
        let agent = b"GET /meshrelay.ashx?id=k8d7f6s5a4 HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        let agent = testkit::stream(&MESHCENTRAL, &[(Orig, agent)], 9_000);
        assert!(link(&console).is_some());
        assert_eq!(link(&console), link(&agent));
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_role(piece in 1usize..300) {
            let turns: [Turn<'_>; 2] = [(Orig, RELAY), (Resp, b"HTTP/1.1 101 x\r\n\r\n")];
            let told = testkit::stream(&MESHCENTRAL, &turns, piece);
            prop_assert_eq!(told, testkit::stream(&MESHCENTRAL, &turns, 9_000));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&b"GET /"[..], &bytes].concat();
            probe(&bytes, &bytes);
            testkit::stream(&MESHCENTRAL, &[(Orig, &bytes), (Resp, &bytes)], 7);
        }
    }
}

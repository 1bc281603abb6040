//! The BSD r-commands: rlogin (a terminal), rsh (a command, also rcp and rdist) and rexec (a command, with a password).
//!
//! Reads: the strings that the client begins with, and the server's first byte. Emits: user names, terminal type, result.
//! Does not: keep the command or the password, follow the connection for errors, or time anything: servers look names up
//! before they answer.
//!
//! rsh and rexec look the same. rsh proves who asks by a port that only root may use, so the client's port decides.
//!
//! Reference: RFC 1282 (rlogin); rshd(8) and rexecd(8) of 4.4BSD.

use crate::base::{Direction, Ends, IdentityKind, Timestamp, Whereabouts};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry for rlogin.
pub(crate) static RLOGIN: Protocol = Protocol {
    name: "rlogin",
    category: Category::RemoteShell,
    carriers: &[Carrier::Stream],
    ports: &[513],
    attributes: &[RLOGIN_CLIENT_USER, RLOGIN_USER, RLOGIN_TERMINAL, RLOGIN_RESULT],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Kind::Rlogin),
    analyzer: || Box::new(Strings::of(Kind::Rlogin)),
};

/// The registry's entry for rsh. Its port, 514, hints at nothing: more often than not it is syslog's.
pub(crate) static RSH: Protocol = Protocol {
    name: "rsh",
    category: Category::RemoteShell,
    carriers: &[Carrier::Stream],
    ports: &[],
    attributes: &[RSH_CLIENT_USER, RSH_USER, RSH_RESULT],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Kind::Rsh),
    analyzer: || Box::new(Strings::of(Kind::Rsh)),
};

/// The registry's entry for rexec.
pub(crate) static REXEC: Protocol = Protocol {
    name: "rexec",
    category: Category::RemoteShell,
    carriers: &[Carrier::Stream],
    ports: &[512],
    attributes: &[REXEC_USER, REXEC_RESULT],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Kind::Rexec),
    analyzer: || Box::new(Strings::of(Kind::Rexec)),
};

const RLOGIN_CLIENT_USER: Key = "rlogin.client_user";
const RLOGIN_USER: Key = "rlogin.user";
const RLOGIN_TERMINAL: Key = "rlogin.terminal";
const RLOGIN_RESULT: Key = "rlogin.result";
const RSH_CLIENT_USER: Key = "rsh.client_user";
const RSH_USER: Key = "rsh.user";
const RSH_RESULT: Key = "rsh.result";
const REXEC_USER: Key = "rexec.user";
const REXEC_RESULT: Key = "rexec.result";

/// The longest user name, terminal or password taken (4.4BSD allows 16; systems of today 32).
const NAME_LIMIT: usize = 64;
/// The longest command taken.
const COMMAND_LIMIT: usize = 1_024;
const INBOX_LIMIT: usize = 2_048;
/// Ports below this one belong to root.
const RESERVED_PORTS: std::ops::Range<u16> = 512..1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rlogin,
    Rsh,
    Rexec,
}

fn probe(opening: &Opening<'_>, kind: Kind) -> Probe {
    // The server says nothing but one byte before the login: 0, or 1 with a complaint.
    if opening.sent.resp.first().is_some_and(|byte| *byte > 1) {
        return Probe::NoMatch;
    }
    if kind != Kind::Rlogin && RESERVED_PORTS.contains(&opening.ports.orig) != (kind == Kind::Rsh) {
        return Probe::NoMatch;
    }
    match Four::read(opening.sent.orig) {
        Unit::More => Probe::NeedMore,
        Unit::Whole(four) if four.is(kind) => Probe::Match,
        Unit::Whole(_) | Unit::Not => Probe::NoMatch,
    }
}

enum Unit<'a> {
    More,
    Not,
    Whole(Four<'a>),
}

/// Four strings, each ended by a NUL. The first is the port for errors, in digits, or nothing.
#[derive(Debug, Clone, Copy)]
struct Four<'a> {
    port: &'a [u8],
    one: &'a [u8],
    two: &'a [u8],
    /// The command, or terminal type and speed.
    last: &'a [u8],
    size: usize,
}

impl<'a> Four<'a> {
    fn read(bytes: &'a [u8]) -> Unit<'a> {
        if bytes.first().is_some_and(|byte| *byte != 0 && !byte.is_ascii_digit()) {
            return Unit::Not;
        }
        let mut found = [&[][..]; 4];
        let mut rest = bytes;
        for (i, place) in found.iter_mut().enumerate() {
            let (text, whole) = match rest.iter().position(|byte| *byte == 0) {
                Some(end) => (rest.get(..end).unwrap_or_default(), true),
                None => (rest, false),
            };
            let fits = match i {
                0 => text.len() <= 5 && text.iter().all(u8::is_ascii_digit),
                1 | 2 => {
                    text.len() <= NAME_LIMIT && text.iter().all(u8::is_ascii_graphic) && !(whole && text.is_empty())
                }
                _ => text.len() <= COMMAND_LIMIT && text.iter().all(|b| !b.is_ascii_control() || *b == b'\t'),
            };
            if !fits {
                return Unit::Not;
            }
            if !whole {
                return Unit::More;
            }
            *place = text;
            rest = rest.get(text.len() + 1..).unwrap_or_default();
        }
        let [port, one, two, last] = found;
        if last.is_empty() {
            return Unit::Not;
        }
        Unit::Whole(Self { port, one, two, last, size: bytes.len() - rest.len() })
    }

    fn is(&self, kind: Kind) -> bool {
        match kind {
            Kind::Rlogin => self.port.is_empty() && is_terminal(self.last),
            Kind::Rsh => !(self.port.is_empty() && is_terminal(self.last)),
            // Without the port of a rsh nothing else is left that would tell it.
            Kind::Rexec => !self.port.is_empty(),
        }
    }
}

/// `type/speed`.
fn is_terminal(text: &[u8]) -> bool {
    let Some(slash) = text.iter().rposition(|byte| *byte == b'/') else { return false };
    let (name, speed) = text.split_at(slash);
    let digits = speed.get(1..).unwrap_or_default();
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'+');
    name.iter().all(named) && !name.is_empty() && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[derive(Debug)]
struct Strings {
    kind: Kind,
    inboxes: Ends<Inbox>,
    asked: bool,
    done: bool,
}

impl Strings {
    fn of(kind: Kind) -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self { kind, inboxes, asked: false, done: false }
    }
}

impl Analyzer for Strings {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || (self.asked && pdu.dir == Direction::Orig) {
            return;
        }
        // Only the server's first byte is of interest, however much it says before it was asked.
        let first = pdu.bytes.get(..1).filter(|_| self.inboxes.resp.bytes().is_empty()).unwrap_or_default();
        // The four strings end, or break a rule, well before what is held is full: what is behind them is nobody's.
        let room = INBOX_LIMIT.saturating_sub(self.inboxes.orig.bytes().len());
        let asked = pdu.bytes.get(..room).unwrap_or(pdu.bytes);
        let part = if pdu.dir == Direction::Resp { first } else { asked };
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, part) {
            self.give_up(pdu.at, pdu.dir, events);
            return;
        }
        if !self.asked {
            self.on_strings(events);
        }
        if self.asked {
            self.on_verdict(events);
        }
    }
}

impl Strings {
    fn on_strings(&mut self, events: &mut Events) {
        let inbox = &self.inboxes.orig;
        match Four::read(inbox.bytes()) {
            Unit::More => {}
            Unit::Whole(four) if four.is(self.kind) => {
                tell(inbox.time_of(four.size - 1), self.kind, &four, events);
                self.asked = true;
            }
            Unit::Whole(_) | Unit::Not => {
                let at = inbox.time_of(0);
                self.give_up(at, Direction::Orig, events);
            }
        }
    }

    fn on_verdict(&mut self, events: &mut Events) {
        let inbox = &self.inboxes.resp;
        let (at, dir) = (inbox.time_of(0), Direction::Resp);
        let result = match inbox.bytes().first() {
            None => return,
            Some(0) => "accepted",
            Some(1) => "refused",
            Some(_) => {
                self.give_up(at, dir, events);
                return;
            }
        };
        let key = match self.kind {
            Kind::Rlogin => RLOGIN_RESULT,
            Kind::Rsh => RSH_RESULT,
            Kind::Rexec => REXEC_RESULT,
        };
        events.confirmed(at, dir);
        events.attribute(at, dir, key, result);
        self.done = true;
        events.settled(at, dir);
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        events.violation(at, dir, "rlogin.not-its-strings");
        self.done = true;
        events.settled(at, dir);
    }
}

fn tell(at: Timestamp, kind: Kind, four: &Four<'_>, events: &mut Events) {
    let told: &[(Key, &[u8])] = match kind {
        Kind::Rlogin => &[(RLOGIN_CLIENT_USER, four.one), (RLOGIN_USER, four.two), (RLOGIN_TERMINAL, four.last)],
        Kind::Rsh => &[(RSH_CLIENT_USER, four.one), (RSH_USER, four.two)],
        // The second string is the password.
        Kind::Rexec => &[(REXEC_USER, four.one)],
    };
    for (key, value) in told {
        events.attribute(at, Direction::Orig, key, printable(value, NAME_LIMIT));
    }
    // The first name is the one at the client; rexec has only the account at the server, which the client says is its.
    let source = match kind {
        Kind::Rlogin => "rlogin",
        Kind::Rsh => "rsh",
        Kind::Rexec => "rexec",
    };
    let name = printable(four.one, NAME_LIMIT);
    if !name.is_empty() {
        let claim = Claim::new(source, Whereabouts::End(Direction::Orig), IdentityKind::User, name);
        events.claim(at, Direction::Orig, claim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn ask(protocol: &Protocol, from: u16, orig: &[u8], resp: &[u8]) -> Probe {
        let ports = Ends { orig: from, resp: 50_001 };
        let newest = if resp.is_empty() { Orig } else { Resp };
        (protocol.probe)(&Opening { carrier: Carrier::Stream, sent: Ends { orig, resp }, before: &[], newest, ports })
    }

    fn names(events: &[Event]) -> Vec<(Key, &str)> {
        let told = |e: &'_ Event| match &e.kind {
            EventKind::Attribute { key, value } => Some((*key, &*value.clone().leak())),
            _ => None,
        };
        events.iter().filter_map(told).collect()
    }

    /// Found by fuzzing: a server that talks before it was asked filled the inbox a byte a piece.
    #[test]
    fn a_server_that_talks_first_reads_the_same_however_it_is_cut() {
        let talk = vec![b'x'; 3 * INBOX_LIMIT];
        let turns: [Turn<'_>; 1] = [(Resp, &talk)];
        assert_eq!(testkit::stream(&RLOGIN, &turns, 1), testkit::stream(&RLOGIN, &turns, usize::MAX));
    }

    #[test]
    fn rlogin_says_users_and_terminal() {
        // The example of RFC 1282.
        let turns: [Turn<'_>; 3] = [(Orig, b"\0bostic\0kbostic\0vt100/9600\0"), (Resp, b"\0"), (Resp, b"\x80% ")];
        let events = testkit::stream(&RLOGIN, &turns, 4096);
        let expected = [
            (RLOGIN_CLIENT_USER, "bostic"),
            (RLOGIN_USER, "kbostic"),
            (RLOGIN_TERMINAL, "vt100/9600"),
            (RLOGIN_RESULT, "accepted"),
        ];
        assert_eq!(names(&events), expected);
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        let claim = Claim::new("rlogin", Whereabouts::End(Orig), IdentityKind::User, "bostic");
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Claim(Box::new(claim.clone()))).count(), 1);
        assert_eq!(ask(&RLOGIN, 1_023, turns[0].1, b""), Probe::Match);
        assert_eq!(ask(&RLOGIN, 1_023, b"\0bostic\0kbos", b""), Probe::NeedMore);
    }

    #[test]
    fn rsh_and_rexec_differ_by_the_clients_port() {
        let said = b"1022\0ann\0root\0cat /etc/motd\0";
        assert_eq!((ask(&RSH, 1_023, said, b""), ask(&REXEC, 1_023, said, b"")), (Probe::Match, Probe::NoMatch));
        assert_eq!((ask(&RSH, 50_000, said, b""), ask(&REXEC, 50_000, said, b"")), (Probe::NoMatch, Probe::Match));
        let events = testkit::stream(&RSH, &[(Orig, said), (Resp, b"\x01Permission denied.\n")], 4096);
        assert_eq!(names(&events), [(RSH_CLIENT_USER, "ann"), (RSH_USER, "root"), (RSH_RESULT, "refused")]);
        let events = testkit::stream(&REXEC, &[(Orig, said), (Resp, b"\0ok\n")], 4096);
        assert_eq!(names(&events), [(REXEC_USER, "ann"), (REXEC_RESULT, "accepted")]);
        assert!(!format!("{events:?}").contains("root"), "the password is kept");
        // rcp wants no second connection.
        assert_eq!(ask(&RSH, 1_000, b"\0ann\0root\0rcp -f /tmp/x\0", b""), Probe::Match);
        assert_eq!(ask(&RLOGIN, 1_000, b"\0ann\0root\0rcp -f /tmp/x\0", b""), Probe::NoMatch);
        assert_eq!(ask(&RSH, 1_000, b"\0ann\0root\0xterm/38400\0", b""), Probe::NoMatch);
    }

    #[test]
    fn others_that_begin_alike_are_not_r_commands() {
        for no in [
            &b"\0\0\0\x2b\x01"[..],
            b"\0\x01\0\0\0\x06\x01\x03\0\0\0\x01",
            b"1022\0\0root\0ls\0",
            b"123456\0a\0b\0c\0",
            b"220 mail.example ESMTP\r\n",
            b"\0ann\0r\xc3\xb6t\0xterm/38400\0",
            b"\0ann\0root\0\0",
            b"\0ann\0root\0ls\n\0",
        ] {
            for protocol in [&RLOGIN, &RSH, &REXEC] {
                for from in [1_000, 50_000] {
                    assert_eq!(ask(protocol, from, no, b""), Probe::NoMatch, "{} {no:x?}", protocol.name);
                }
            }
        }
        assert_eq!(ask(&RLOGIN, 1_023, b"\0a\0b\0vt/9\0", b"HTTP"), Probe::NoMatch);
        let other = testkit::stream(&RLOGIN, &[(Orig, b"\0a\0b\0vt/9\0"), (Resp, b"500 what?\r\n")], 4096);
        assert!(!other.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn strings_with_much_behind_them_are_read_the_same_however_cut() {
        let said = [&b"\0root\0guest\0xterm/38400\0"[..], &[b'x'; INBOX_LIMIT]].concat();
        let turns: [Turn<'_>; 2] = [(Orig, &said), (Resp, b"\0")];
        let whole = testkit::stream(&RLOGIN, &turns, usize::MAX);
        assert_eq!(testkit::said(&whole, "rlogin.user"), Some("guest"));
        for piece in [1, 100, 1_460] {
            assert_eq!(testkit::stream(&RLOGIN, &turns, piece), whole, "{piece}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..40) {
            let turns: [Turn<'_>; 3] = [(Orig, b"0\0ann\0root\0uptime\0"), (Resp, b"\0 10:00 up\n"), (Resp, b"more")];
            prop_assert_eq!(testkit::stream(&RSH, &turns, piece), testkit::stream(&RSH, &turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>(), b'0'..=b'9'], 0..60)), 0..8,
        )) {
            let turns: Vec<Turn<'_>> =
                turns.iter().map(|(orig, bytes)| (if *orig { Orig } else { Resp }, bytes.as_slice())).collect();
            for protocol in [&RLOGIN, &RSH, &REXEC] {
                testkit::stream(protocol, &turns, 3);
                turns.iter().for_each(|(_, bytes)| { let _ = ask(protocol, 1_000, bytes, b""); });
            }
        }
    }
}

//! Guacamole, between its web application and `guacd`, which speaks RDP, VNC, SSH or Telnet to the desktop itself.
//!
//! Reads: the first instructions of both ends. Emits: which protocol is asked for, the version, and the host that
//! `guacd` is told to go to. Does not: read passwords, what is drawn or typed, or Guacamole in the browser's WebSocket.
//!
//! Reference: Apache Guacamole manual, "The Guacamole protocol" and "Guacamole protocol reference".

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Link, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static GUACAMOLE: Protocol = Protocol {
    name: "guacamole",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[4822],
    attributes: &[ASKED, JOINED, VERSION, TARGET],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Guacamole::default()),
};

const ASKED: Key = "guacamole.protocol";
const JOINED: Key = "guacamole.joined_connection";
const VERSION: Key = "guacamole.version";
const TARGET: Key = "guacamole.target";

/// How a client begins: the length of the word, the word, and the next element.
const SELECT: &[u8] = b"6.select,";
/// How the server answers.
const ARGS: &[u8] = b"4.args,";
/// `guacd` itself takes no longer instruction.
const INSTRUCTION_LIMIT: usize = 8_192;
/// The longest element of SELECT: a connection's id has 37 characters.
const SELECTED_LIMIT: usize = 64;
/// Elements of one instruction that are read: RDP takes about 80 parameters.
const ELEMENTS: usize = 128;
/// Instructions of the client before CONNECT: size, audio, video, image, timezone, name, and some to come.
const PATIENCE: u8 = 16;
const TEXT_KEPT: usize = 256;

fn probe(opening: &Opening<'_>) -> Probe {
    match [begins(opening.sent.orig, SELECT), begins(opening.sent.resp, ARGS)] {
        [Probe::NoMatch, _] | [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// The instruction must begin with `opening`, and go on as an element does.
fn begins(bytes: &[u8], opening: &[u8]) -> Probe {
    if !bytes.iter().zip(opening).all(|(byte, wanted)| byte == wanted) {
        return Probe::NoMatch;
    }
    match bytes.get(opening.len()) {
        None => Probe::NeedMore,
        Some(b'1'..=b'9') => Probe::Match,
        Some(_) => Probe::NoMatch,
    }
}

enum Unit<'a> {
    More,
    Not,
    /// The elements, and the bytes they take.
    Whole(Vec<&'a [u8]>, usize),
}

/// Reads `LENGTH.VALUE,LENGTH.VALUE,…;`, whose lengths count characters of UTF-8, not bytes.
fn instruction(bytes: &[u8]) -> Unit<'_> {
    let mut elements = Vec::new();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let length = match (digits, rest.get(digits)) {
            (0..=4, None) => return Unit::More,
            (1..=4, Some(b'.')) => rest.iter().take(digits).fold(0, |n, byte| n * 10 + usize::from(byte - b'0')),
            _ => return Unit::Not,
        };
        let value = rest.get(digits + 1..).unwrap_or_default();
        let Some(size) = size_of(value, length) else { return Unit::More };
        let Some(end) = value.get(size) else { return Unit::More };
        elements.push(value.get(..size).unwrap_or_default());
        at += digits + 1 + size + 1;
        match end {
            b';' => return Unit::Whole(elements, at),
            b',' if elements.len() < ELEMENTS => {}
            _ => return Unit::Not,
        }
    }
}

/// The bytes that so many characters take; `None` if they are not all there.
fn size_of(value: &[u8], characters: usize) -> Option<usize> {
    let is_first = |byte: &u8| byte & 0xc0 != 0x80;
    let starts = value.iter().enumerate().filter(|(_, byte)| is_first(byte)).map(|(at, _)| at);
    starts.chain([value.len()]).nth(characters).filter(|_| value.iter().filter(|b| is_first(b)).count() >= characters)
}

#[derive(Debug)]
struct Guacamole {
    inboxes: Ends<Inbox>,
    selected: bool,
    /// Where host and port stand among the parameters; set by ARGS.
    places: Option<(Option<usize>, Option<usize>)>,
    patience: u8,
    done: bool,
}

impl Default for Guacamole {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INSTRUCTION_LIMIT), resp: Inbox::new(INSTRUCTION_LIMIT) };
        Self { inboxes, selected: false, places: None, patience: PATIENCE, done: false }
    }
}

impl Analyzer for Guacamole {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        // The server's instructions are read up to its ARGS only.
        if self.done || (pdu.dir == Direction::Resp && self.places.is_some()) {
            return;
        }
        for part in pdu.bytes.chunks(INSTRUCTION_LIMIT / 4) {
            if self.done || (pdu.dir == Direction::Resp && self.places.is_some()) {
                return;
            }
            if !self.inboxes.of_mut(pdu.dir).push(pdu.at, part) {
                self.refuse(pdu.at, pdu.dir, "guacamole.beyond-buffer", events);
                return;
            }
            self.read(pdu.dir, events);
            // The client may have gone on before the server's answer was seen.
            if pdu.dir == Direction::Resp {
                self.read(Direction::Orig, events);
            }
        }
    }
}

impl Guacamole {
    fn read(&mut self, dir: Direction, events: &mut Events) {
        while !self.done {
            let waits = dir == Direction::Orig && self.selected && self.places.is_none();
            if waits || (dir == Direction::Resp && self.places.is_some()) {
                return;
            }
            let bytes = self.inboxes.of(dir).bytes().to_vec();
            match instruction(&bytes) {
                Unit::More => return,
                Unit::Not => {
                    let at = self.inboxes.of(dir).time_of(bytes.len());
                    self.refuse(at, dir, "guacamole.malformed-instruction", events);
                }
                Unit::Whole(elements, size) => {
                    let at = self.inboxes.of(dir).time_of(size - 1);
                    self.inboxes.of_mut(dir).consume(size);
                    self.on_instruction(at, dir, &elements, events);
                }
            }
        }
    }

    fn on_instruction(&mut self, at: Timestamp, dir: Direction, elements: &[&[u8]], events: &mut Events) {
        match (dir, elements) {
            (Direction::Orig, [b"select", what]) if !self.selected && what.len() <= SELECTED_LIMIT => {
                self.selected = true;
                let key = if what.starts_with(b"$") { JOINED } else { ASKED };
                events.attribute(at, dir, key, printable(what, SELECTED_LIMIT));
            }
            (Direction::Resp, [b"args", names @ ..]) => {
                let place = |wanted: &[u8]| names.iter().position(|name| *name == wanted);
                self.places = Some((place(b"hostname"), place(b"port")));
                if let Some(version) = names.first().filter(|name| name.starts_with(b"VERSION_")) {
                    events.attribute(at, dir, VERSION, printable(version, SELECTED_LIMIT));
                }
                events.confirmed(at, dir);
                events.link(at, dir, Link::Pair("guacamole"));
            }
            (Direction::Orig, [b"connect", values @ ..]) if self.selected => {
                self.on_connect(at, values, events);
                self.settle(at, dir, events);
            }
            (Direction::Orig, _) if self.selected && self.patience > 0 => self.patience -= 1,
            (Direction::Orig, _) if self.selected => self.settle(at, dir, events),
            _ => self.refuse(at, dir, "guacamole.unexpected-instruction", events),
        }
    }

    /// Only host and port are taken: the parameters hold passwords as well.
    fn on_connect(&self, at: Timestamp, values: &[&[u8]], events: &mut Events) {
        let (host, port) = self.places.unwrap_or_default();
        let value = |place: Option<usize>| place.and_then(|i| values.get(i)).copied().filter(|v| !v.is_empty());
        if let Some(host) = value(host) {
            let mut target = printable(host, TEXT_KEPT);
            if let Some(port) = value(port) {
                target.push(':');
                target.push_str(&printable(port, 5));
            }
            events.attribute(at, Direction::Orig, TARGET, target);
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.settled(at, dir);
    }

    fn refuse(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        events.violation(at, dir, fault);
        self.settle(at, dir, events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const DIALOGUE: [Turn<'static>; 4] = [
        (Orig, b"6.select,3.rdp;"),
        (Resp, b"4.args,13.VERSION_1_5_0,8.hostname,4.port,8.password;"),
        (Orig, b"4.size,4.1024,3.768,2.96;5.audio;7.connect,13.VERSION_1_5_0,9.192.0.2.9,4.3389,7.gehe\xc3\xafmX;"),
        (Resp, b"5.ready,37.$260d01da-779b-4ee9-afc1-c16bae885cc7;"),
    ];

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    #[test]
    fn the_target_is_told_and_the_password_is_not() {
        let events = testkit::stream(&GUACAMOLE, &DIALOGUE, 4096);
        assert!(confirmed(&events));
        assert_eq!(said(&events, ASKED), Some("rdp"));
        assert_eq!(said(&events, VERSION), Some("VERSION_1_5_0"));
        assert_eq!(said(&events, TARGET), Some("192.0.2.9:3389"));
        assert!(!format!("{events:?}").contains("gehe"));
    }

    #[test]
    fn a_watcher_joins_a_connection() {
        let events = testkit::stream(&GUACAMOLE, &[(Orig, b"6.select,5.$a-b0;"), (Resp, b"4.args;")], 4096);
        assert_eq!(said(&events, JOINED), Some("$a-b0"));
    }

    #[test]
    fn lengths_count_characters() {
        let Unit::Whole(elements, size) = instruction("2.é,,1.b;".as_bytes()) else { panic!("not read") };
        assert_eq!((elements, size), (vec!["é,".as_bytes(), b"b"], 10));
        assert!(matches!(instruction(b"4.abc"), Unit::More));
        assert!(matches!(instruction(b"4.abcdX"), Unit::Not));
        assert!(matches!(instruction(b"x.a;"), Unit::Not));
        assert!(matches!(instruction(b"12345.a;"), Unit::Not));
    }

    #[test]
    fn look_alikes_do_not_match() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&GUACAMOLE, Carrier::Stream, orig, resp);
        assert_eq!(probe(b"6.select,3.vnc;", b""), Probe::Match);
        for orig in [&b"6.select *"[..], b"6.select,x", b"select * from t;", b"4.args,3.rdp;", b"220 x"] {
            assert_eq!(probe(orig, b""), Probe::NoMatch);
        }
        assert_eq!(probe(b"6.select,3.vnc;", b"220 ready"), Probe::NoMatch);
        let events = testkit::stream(&GUACAMOLE, &[(Orig, b"6.select,3.vnc,1.x;")], 4096);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..60) {
            let kinds = |events: Vec<Event>| events.into_iter().map(|e| (e.dir, e.kind)).collect::<Vec<_>>();
            let whole = kinds(testkit::stream(&GUACAMOLE, &DIALOGUE, 4096));
            prop_assert_eq!(kinds(testkit::stream(&GUACAMOLE, &DIALOGUE, piece)), whole);
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), "[0-9.,;a-c\u{e9}]{0,30}", proptest::collection::vec(any::<u8>(), 0..20)), 0..6,
        )) {
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(orig, text, bytes)| (if orig { Orig } else { Resp }, [SELECT, text.as_bytes(), &bytes].concat()))
                .collect();
            let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
            testkit::stream(&GUACAMOLE, &turns, 5);
        }
    }
}

//! Telnet: the option negotiation of both ends, and what it says of the terminal.
//!
//! Reads: commands and subnegotiations at the beginning of a connection. Emits: the options agreed on, terminal type,
//! window, display and user name (also as a claim, `telnet`), and closed loops. Does not: keep text (names and passwords are typed in it), or see
//! a login without any negotiation: that could be anybody's text.
//!
//! Reference: RFC 854, RFC 855, RFC 860 (timing mark), RFC 1073, RFC 1079, RFC 1091, RFC 1096, RFC 1572.

use crate::base::{Direction, Ends, IdentityKind, Layer, Timestamp, Whereabouts};
use crate::protocol::codec::printable;
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static TELNET: Protocol = Protocol {
    name: "telnet",
    category: Category::RemoteShell,
    carriers: &[Carrier::Stream],
    ports: &[23, 2323, 107],
    attributes: &[OPTIONS, TERMINAL, WINDOW, DISPLAY, USER],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Telnet::default()),
};

const OPTIONS: Key = "telnet.options";
const TERMINAL: Key = "telnet.terminal_type";
const WINDOW: Key = "telnet.window_size";
const DISPLAY: Key = "telnet.x_display";
const USER: Key = "telnet.user";

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;

/// Bytes of both ends that are read: negotiations stand before the login.
const READ_LIMIT: usize = 16 * 1024;
/// The longest subnegotiation kept.
const SUB_LIMIT: usize = 512;
/// Characters of a text that are kept.
const TEXT_KEPT: usize = 128;

/// Options whose value is asked for with SEND and told with IS, and the timing mark, which answers itself.
const TIMING_MARK: u8 = 6;
const TERMINAL_TYPE: u8 = 24;
const WINDOW_SIZE: u8 = 31;
const X_DISPLAY: u8 = 35;
const NEW_ENVIRON: u8 = 39;
const SEND: u8 = 1;
const IS: u8 = 0;

fn probe(opening: &Opening<'_>) -> Probe {
    match [commands(opening.sent.orig), commands(opening.sent.resp)] {
        [None, _] | [_, None] => Probe::NoMatch,
        [Some(a), Some(b)] if a + b >= 2 => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// How many whole commands stand at the beginning; `None` if it begins with something else or they are broken.
fn commands(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let mut count = 0;
    loop {
        match rest {
            [] | [IAC] => return Some(count),
            [IAC, WILL..=DONT, tail @ ..] => match tail {
                [] => return Some(count),
                [option, tail @ ..] if is_option(*option) => rest = tail,
                _ => return None,
            },
            [IAC, SB, tail @ ..] => match tail {
                [] => return Some(count),
                [option, tail @ ..] if is_option(*option) => match tail.windows(2).position(|w| w == [IAC, SE]) {
                    Some(end) if end <= SUB_LIMIT => rest = tail.get(end + 2..).unwrap_or_default(),
                    None if tail.len() <= SUB_LIMIT => return Some(count),
                    _ => return None,
                },
                _ => return None,
            },
            [IAC, 241..=249, tail @ ..] if count > 0 => rest = tail,
            // Text may follow, but not begin.
            _ if count > 0 && rest.first() != Some(&IAC) => return Some(count),
            _ => return None,
        }
        count += 1;
    }
}

/// Options that are registered at IANA, or in wide use among games.
const fn is_option(option: u8) -> bool {
    matches!(option, 0..=49 | 69 | 70 | 85..=94 | 138..=140 | 200 | 201 | 255)
}

const fn option_name(option: u8) -> Option<&'static str> {
    Some(match option {
        0 => "binary",
        1 => "echo",
        3 => "suppress-go-ahead",
        5 => "status",
        6 => "timing-mark",
        24 => "terminal-type",
        25 => "end-of-record",
        31 => "window-size",
        32 => "terminal-speed",
        33 => "flow-control",
        34 => "linemode",
        35 => "x-display",
        36 => "environ",
        37 => "authentication",
        38 => "encryption",
        39 => "new-environ",
        40 => "tn3270e",
        42 => "charset",
        44 => "com-port",
        46 => "start-tls",
        _ => return None,
    })
}

/// Where in the stream one end is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    Command,
    Option(u8),
    Sub,
    SubCommand,
}

/// A set of options.
type Set = [u64; 4];

#[derive(Debug, Default)]
struct End {
    place: Place,
    sub: Vec<u8>,
    /// What it will do and what it wants the other to do.
    will: Set,
    wants: Set,
}

fn put(set: &mut Set, option: u8, member: bool) {
    if let Some(word) = set.get_mut(usize::from(option / 64)) {
        let bit = 1 << (option % 64);
        if member { *word |= bit } else { *word &= !bit }
    }
}

fn has(set: &Set, option: u8) -> bool {
    set.get(usize::from(option / 64)).is_some_and(|word| word >> (option % 64) & 1 == 1)
}

#[derive(Debug, Default)]
struct Telnet {
    ends: Ends<End>,
    /// Who has asked for what, and is not answered.
    asked: Option<(Direction, u8)>,
    /// What each end has offered or asked for, answered or not.
    proposed: Ends<Set>,
    confirmed: bool,
    read: usize,
    done: bool,
}

impl Analyzer for Telnet {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        for byte in pdu.bytes {
            if self.done {
                return;
            }
            self.on_byte(pdu.at, pdu.dir, *byte, events);
            self.read += 1;
            if self.read >= READ_LIMIT {
                self.settle(pdu.at, pdu.dir, events);
            }
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        self.settle(at, dir, events);
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        self.settle(at, Direction::Orig, events);
    }
}

impl Telnet {
    fn on_byte(&mut self, at: Timestamp, dir: Direction, byte: u8, events: &mut Events) {
        let end = self.ends.of_mut(dir);
        end.place = match (end.place, byte) {
            (Place::Text, IAC) => Place::Command,
            (Place::Text, _) => Place::Text,
            (Place::Command, WILL..=DONT) => Place::Option(byte),
            (Place::Command, SB) => {
                end.sub.clear();
                Place::Sub
            }
            // An escaped 255, or a command without an option.
            (Place::Command, 241..=249 | IAC) => Place::Text,
            (Place::Command, _) => {
                self.fault(at, dir, events);
                return;
            }
            (Place::Option(command), option) => {
                end.place = Place::Text;
                self.on_option(at, dir, command, option, events);
                return;
            }
            (Place::Sub, IAC) => Place::SubCommand,
            (Place::SubCommand, SE) => {
                end.place = Place::Text;
                self.on_sub(at, dir, events);
                return;
            }
            (Place::Sub, _) | (Place::SubCommand, IAC) if end.sub.len() < SUB_LIMIT => {
                end.sub.push(byte);
                Place::Sub
            }
            (Place::Sub | Place::SubCommand, _) => {
                self.fault(at, dir, events);
                return;
            }
        };
    }

    fn on_option(&mut self, at: Timestamp, dir: Direction, command: u8, option: u8, events: &mut Events) {
        let end = self.ends.of_mut(dir);
        match command {
            WILL | WONT => put(&mut end.will, option, command == WILL),
            _ => put(&mut end.wants, option, command == DO),
        }
        if !self.confirmed && has(self.proposed.of(dir.flip()), option) {
            self.confirmed = true;
            events.confirmed(at, dir);
        }
        put(self.proposed.of_mut(dir), option, true);
        if option == TIMING_MARK {
            match command {
                DO => self.ask(at, dir, option, events),
                WILL | WONT => self.answer(at, dir, option, events),
                _ => {}
            }
        }
    }

    fn on_sub(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let sub = std::mem::take(&mut self.ends.of_mut(dir).sub);
        match &*sub {
            [WINDOW_SIZE, a, b, c, d] => {
                let (width, height) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
                events.attribute(at, dir, WINDOW, format!("{width}x{height}"));
            }
            [option, SEND, ..] if is_asked_for(*option) => self.ask(at, dir, *option, events),
            [option, IS, value @ ..] if is_asked_for(*option) => {
                self.answer(at, dir, *option, events);
                tell(at, dir, *option, value, events);
            }
            _ => {}
        }
        self.ends.of_mut(dir).sub = sub;
    }

    /// One question at a time is timed: several often share a segment, and then so do their answers.
    fn ask(&mut self, at: Timestamp, dir: Direction, option: u8, events: &mut Events) {
        if self.asked.is_none() {
            self.asked = Some((dir, option));
            events.ask(at, dir, Layer::Telnet, method(option));
        }
    }

    fn answer(&mut self, at: Timestamp, dir: Direction, option: u8, events: &mut Events) {
        if self.asked == Some((dir.flip(), option)) {
            self.asked = None;
            events.answer(at, dir, Layer::Telnet, method(option));
        }
    }

    fn fault(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        events.violation(at, dir, "telnet.command-unknown");
        self.settle(at, dir, events);
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let (orig, resp) = (&self.ends.orig, &self.ends.resp);
        let agreed = |option: &u8| {
            has(&orig.will, *option) && has(&resp.wants, *option)
                || has(&resp.will, *option) && has(&orig.wants, *option)
        };
        let names: Vec<&str> = (0..=255).filter(agreed).filter_map(option_name).collect();
        if self.confirmed && !names.is_empty() {
            events.attribute(at, dir, OPTIONS, names.join(","));
        }
        events.settled(at, dir);
    }
}

/// Whether an option's IS may only follow a SEND.
const fn is_asked_for(option: u8) -> bool {
    matches!(option, TERMINAL_TYPE | 32 | X_DISPLAY | NEW_ENVIRON)
}

const fn method(option: u8) -> &'static str {
    if option == TIMING_MARK { "timing-mark" } else { "send" }
}

fn tell(at: Timestamp, dir: Direction, option: u8, value: &[u8], events: &mut Events) {
    let mut user = None;
    let mut say = |key, text: &[u8]| {
        if !text.is_empty() {
            events.attribute(at, dir, key, printable(text, TEXT_KEPT));
        }
    };
    match option {
        TERMINAL_TYPE => say(TERMINAL, value),
        X_DISPLAY => say(DISPLAY, value),
        NEW_ENVIRON => {
            for (name, text) in variables(value) {
                match name {
                    b"USER" => {
                        say(USER, text);
                        user = Some(text);
                    }
                    b"DISPLAY" => say(DISPLAY, text),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    if let Some(name) = user.map(|name| printable(name, TEXT_KEPT)).filter(|name| !name.is_empty()) {
        // What the client's system calls its user; what is typed at the prompt is not told from other text.
        events.claim(at, dir, Claim::new("telnet", Whereabouts::End(dir), IdentityKind::User, name));
    }
}

/// Names and values of NEW-ENVIRON (RFC 1572): VAR 0 or USERVAR 3, a name, VALUE 1, a value.
fn variables(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bytes.split(|byte| matches!(byte, 0 | 3)).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == 1)?;
        Some((pair.get(..at)?, pair.get(at + 1..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn dialogue() -> Vec<Turn<'static>> {
        vec![
            (Resp, b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27"),
            (Orig, b"\xff\xfb\x18\xff\xfb\x20\xff\xfb\x23\xff\xfb\x27"),
            (Resp, b"\xff\xfa\x18\x01\xff\xf0\xff\xfa\x27\x01\xff\xf0"),
            (Orig, b"\xff\xfa\x18\x00xterm\xff\xf0\xff\xfa\x27\x00\x00USER\x01ann\x03DISPLAY\x01pc:0.0\xff\xf0"),
            (Resp, b"\xff\xfb\x01\xff\xfd\x06"),
            (Orig, b"\xff\xfd\x01\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0"),
            (Orig, b"\xff\xfc\x06"),
            (Resp, b"login: "),
        ]
    }

    fn run(turns: &[Turn<'_>], piece: usize) -> Vec<Event> {
        testkit::stream(&TELNET, turns, piece)
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&TELNET, Carrier::Stream, orig, resp)
    }

    #[test]
    fn a_negotiation_tells_the_terminal() {
        let events = run(&dialogue(), 4096);
        for (key, value) in [
            (TERMINAL, "xterm"),
            (USER, "ann"),
            (DISPLAY, "pc:0.0"),
            (WINDOW, "80x24"),
            (OPTIONS, "echo,terminal-type,terminal-speed,x-display,new-environ"),
        ] {
            assert_eq!(testkit::said(&events, key), Some(value), "{key}");
        }
        let claims = events.iter().filter(|e| matches!(&e.kind, EventKind::Claim(c) if c.identity.name == "ann"));
        assert_eq!(claims.count(), 1);
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
        let at = testkit::at;
        assert_eq!(testkit::loops(&events), [(at(2), at(3), "send"), (at(4), at(6), "timing-mark")]);
    }

    #[test]
    fn what_is_not_asked_for_answers_nothing() {
        let events = run(&[(Resp, b"\xff\xfd\x18\xff\xfd\x1f"), (Orig, b"\xff\xfa\x18\x00vt100\xff\xf0")], 4096);
        assert!(testkit::loops(&events).is_empty());
        assert!(!events.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn one_command_is_not_enough_and_broken_ones_are_none() {
        assert_eq!(probe(b"", b"\xff\xfd\x18"), Probe::NeedMore);
        assert_eq!(probe(b"", b"\xff\xfd\x18\xff\xfb\x01"), Probe::Match);
        assert_eq!(probe(b"\xff\xfb\x18", b"\xff\xfd\x18\r\nlogin: "), Probe::Match);
        assert_eq!(probe(b"", b"\xff\xfa\x18\x01\xff\xf0\xff\xfd"), Probe::NeedMore);
        for no in [
            &b"\xff\xfd\x80\xff\xfd\x18"[..],
            b"\xff\xd8\xff\xe0\0\x10JFIF",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\x1d\x01",
            b"\xff\xfe<\0?\0x\0m\0l\0",
            b"\xff\xfbP\xc4\0\0",
            b"login: ",
            b"\xff\xf1\xff\xfd\x18",
        ] {
            assert_eq!(probe(b"", no), Probe::NoMatch, "{no:x?}");
        }
        let faulty = run(&[(Resp, b"\xff\xfd\x18\xff\xfd\x1f\xff\x01")], 4096);
        assert!(faulty.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..40) {
            prop_assert_eq!(run(&dialogue(), piece), run(&dialogue(), usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            kept in 0usize..8,
            turns in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec(prop_oneof![any::<u8>(), 240u8..=255], 0..60)), 0..8),
        ) {
            let mut all = dialogue();
            all.truncate(kept);
            all.extend(turns.iter().map(|(orig, bytes)| (if *orig { Orig } else { Resp }, bytes.as_slice())));
            run(&all, 3);
            for (_, bytes) in &turns {
                probe(bytes, bytes);
            }
        }
    }
}

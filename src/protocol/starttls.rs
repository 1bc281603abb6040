//! Protocols that begin in clear and go over to TLS: SMTP, IMAP, POP3, FTP, XMPP, PostgreSQL and MySQL.
//!
//! Reads: the greeting and the first commands, up to the byte at which TLS begins. Emits: the server's greeting, and
//! the handover to `tls`. Does not: keep names, passwords or mail: the first command that is about them ends the
//! reading, as does anything unexpected.
//!
//! Reference: RFC 3207 (SMTP), RFC 9051 6.2.1 (IMAP), RFC 2595 4 (POP3), RFC 4217 (FTP), RFC 6120 5 (XMPP), the
//! PostgreSQL manual 55.2.10 (SSL session encryption), MySQL's `Protocol::SSLRequest`.

use crate::base::{Direction, Ends, Reader, Timestamp};
use crate::protocol::codec::tls_record::{Shape, shape};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry for SMTP.
pub(crate) static SMTP: Protocol = Protocol {
    name: "smtp",
    category: Category::Other,
    carriers: &[Carrier::Stream],
    ports: &[25, 587, 2525],
    attributes: &["smtp.server"],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Dialect::Smtp),
    analyzer: || Box::new(StartTls::new(Dialect::Smtp)),
};

/// The registry's entry for IMAP.
pub(crate) static IMAP: Protocol = Protocol {
    name: "imap",
    ports: &[143],
    attributes: &["imap.server"],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Dialect::Imap),
    analyzer: || Box::new(StartTls::new(Dialect::Imap)),
    ..SMTP
};

/// The registry's entry for POP3.
pub(crate) static POP3: Protocol = Protocol {
    name: "pop3",
    ports: &[110],
    attributes: &["pop3.server"],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Dialect::Pop3),
    analyzer: || Box::new(StartTls::new(Dialect::Pop3)),
    ..SMTP
};

/// The registry's entry for FTP's control connection.
pub(crate) static FTP: Protocol = Protocol {
    name: "ftp",
    ports: &[21],
    attributes: &["ftp.server"],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Dialect::Ftp),
    analyzer: || Box::new(StartTls::new(Dialect::Ftp)),
    ..SMTP
};

/// The registry's entry for XMPP.
pub(crate) static XMPP: Protocol = Protocol {
    name: "xmpp",
    ports: &[5222, 5269],
    attributes: &["xmpp.server"],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Dialect::Xmpp),
    analyzer: || Box::new(StartTls::new(Dialect::Xmpp)),
    ..SMTP
};

/// The registry's entry for PostgreSQL, whose server greets nobody.
pub(crate) static POSTGRESQL: Protocol = Protocol {
    name: "postgresql",
    ports: &[5432],
    attributes: &[],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Dialect::PostgreSql),
    analyzer: || Box::new(StartTls::new(Dialect::PostgreSql)),
    ..SMTP
};

/// The registry's entry for MySQL and MariaDB.
pub(crate) static MYSQL: Protocol = Protocol {
    name: "mysql",
    ports: &[3306],
    attributes: &["mysql.server"],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, Dialect::MySql),
    analyzer: || Box::new(StartTls::new(Dialect::MySql)),
    ..SMTP
};

/// Bytes of dialogue in clear that are read.
const CLEAR_LIMIT: usize = 16 * 1024;
/// The longest line, tag or packet in clear.
const UNIT_LIMIT: usize = 4 * 1024;
/// Room for the dialogue and for a large segment behind it.
const INBOX_LIMIT: usize = 128 * 1024;
/// Characters of a greeting that are kept.
const TEXT_KEPT: usize = 255;
/// The longest IMAP tag that is followed.
const TAG_LIMIT: usize = 32;

/// PostgreSQL's codes in place of a protocol version.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const STARTUP_3_0: u32 = 0x0003_0000;
/// A startup packet is no longer (`MAX_STARTUP_PACKET_LENGTH`).
const STARTUP_LIMIT: usize = 10_000;

/// MySQL's packet header: length and sequence number.
const MYSQL_HEADER: usize = 4;
/// How a MySQL client's SSLRequest begins: 32 bytes, the second packet.
const MYSQL_SSL_REQUEST: [u8; MYSQL_HEADER] = [32, 0, 0, 1];
/// Its capability to go over to TLS.
const MYSQL_CLIENT_SSL: u32 = 0x800;
/// Versions and what follows them never fill a greeting of this size.
const MYSQL_GREETING: std::ops::RangeInclusive<u32> = 32..=512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Smtp,
    Imap,
    Pop3,
    Ftp,
    Xmpp,
    PostgreSql,
    MySql,
}

impl Dialect {
    /// The key of the greeting, and the fault that takes the name back.
    const fn names(self) -> (Key, &'static str) {
        match self {
            Self::Smtp => ("smtp.server", "smtp.unexpected"),
            Self::Imap => ("imap.server", "imap.unexpected"),
            Self::Pop3 => ("pop3.server", "pop3.unexpected"),
            Self::Ftp => ("ftp.server", "ftp.unexpected"),
            Self::Xmpp => ("xmpp.server", "xmpp.unexpected"),
            Self::PostgreSql => ("postgresql.server", "postgresql.unexpected"),
            Self::MySql => ("mysql.server", "mysql.unexpected"),
        }
    }

    const fn server_speaks_first(self) -> bool {
        !matches!(self, Self::Xmpp | Self::PostgreSql)
    }

    /// Whether a server, and not its client, opens a connection with this byte. Some clients don't wait for the greeting.
    const fn is_servers(self, first: u8) -> bool {
        match self {
            Self::Smtp | Self::Ftp => first == b'2',
            Self::Imap => first == b'*',
            Self::Pop3 => first == b'+',
            Self::Xmpp | Self::PostgreSql => false,
            Self::MySql => true,
        }
    }

    /// Commands that ask for TLS, that leave the way to it open, and that close it, as far as a probe may see them.
    const fn verbs(self) -> Verbs {
        match self {
            Self::Smtp => {
                Verbs { upgrade: b"STARTTLS", harmless: &[b"EHLO", b"HELO", b"NOOP", b"RSET", b"HELP"], last: &[] }
            }
            Self::Ftp => Verbs {
                upgrade: b"AUTH",
                harmless: &[b"FEAT", b"OPTS", b"HOST", b"SYST", b"CLNT", b"NOOP", b"PBSZ", b"PROT"],
                last: &[b"USER"],
            },
            Self::Imap => Verbs {
                upgrade: b"STARTTLS",
                harmless: &[b"CAPABILITY", b"ID", b"NOOP", b"ENABLE"],
                last: &[b"LOGIN", b"AUTHENTICATE", b"LOGOUT", b"SELECT", b"LIST"],
            },
            _ => Verbs {
                upgrade: b"STLS",
                harmless: &[b"CAPA", b"NOOP", b"UTF8", b"LANG"],
                last: &[b"USER", b"APOP", b"AUTH", b"QUIT"],
            },
        }
    }
}

struct Verbs {
    upgrade: &'static [u8],
    harmless: &'static [&'static [u8]],
    last: &'static [&'static [u8]],
}

impl Verbs {
    fn all(&self) -> impl Iterator<Item = &'static [u8]> {
        [self.upgrade].into_iter().chain(self.harmless.iter().copied()).chain(self.last.iter().copied())
    }
}

/// Either end may be the client: a capture may begin with the server's greeting.
fn probe(opening: &Opening<'_>, dialect: Dialect) -> Probe {
    let Ends { orig, resp } = opening.sent;
    match (fits(dialect, orig, resp), fits(dialect, resp, orig)) {
        (Probe::Match, _) | (_, Probe::Match) => Probe::Match,
        (Probe::NoMatch, Probe::NoMatch) => Probe::NoMatch,
        _ => Probe::NeedMore,
    }
}

fn fits(dialect: Dialect, client: &[u8], server: &[u8]) -> Probe {
    let of_server = server_fits(dialect, server);
    if of_server == Probe::NoMatch {
        return Probe::NoMatch;
    }
    let of_client = client_fits(dialect, client);
    let tells = match dialect {
        Dialect::Xmpp | Dialect::PostgreSql => of_client == Probe::Match,
        Dialect::MySql => of_server == Probe::Match,
        _ => of_client == Probe::Match && of_server == Probe::Match,
    };
    match of_client {
        Probe::NoMatch => Probe::NoMatch,
        _ if tells => Probe::Match,
        _ => Probe::NeedMore,
    }
}

fn server_fits(dialect: Dialect, bytes: &[u8]) -> Probe {
    match dialect {
        Dialect::Smtp | Dialect::Ftp => begins(bytes, &[b"220 ", b"220-"]),
        Dialect::Imap => begins(bytes, &[b"* OK ", b"* PREAUTH "]),
        Dialect::Pop3 => begins(bytes, &[b"+OK"]),
        Dialect::Xmpp => begins(bytes, &[b"<?xml", b"<stream:stream"]),
        // One letter, and what may stand behind it: TLS, the next answer, or the length of a message.
        Dialect::PostgreSql => match bytes {
            [] | [b'S' | b'N' | b'G' | b'E' | b'R' | b'v'] => Probe::NeedMore,
            [b'S', 0x15 | 0x16, ..] | [b'N', b'S' | b'N' | b'E' | b'R' | b'v', ..] => Probe::NeedMore,
            [b'G' | b'E' | b'R' | b'v', 0, ..] => Probe::NeedMore,
            _ => Probe::NoMatch,
        },
        Dialect::MySql => mysql_greeting(bytes),
    }
}

fn client_fits(dialect: Dialect, bytes: &[u8]) -> Probe {
    match dialect {
        Dialect::Smtp => command(bytes, [&b"EHLO"[..], b"HELO"].into_iter()),
        Dialect::Ftp | Dialect::Pop3 => command(bytes, dialect.verbs().all()),
        Dialect::Imap => match bytes.iter().position(|b| !is_tag(*b)) {
            None if bytes.len() <= TAG_LIMIT => Probe::NeedMore,
            Some(at) if (1..=TAG_LIMIT).contains(&at) && bytes.get(at) == Some(&b' ') => {
                command(bytes.get(at + 1..).unwrap_or_default(), dialect.verbs().all())
            }
            _ => Probe::NoMatch,
        },
        Dialect::Xmpp => xmpp_opening(bytes),
        Dialect::PostgreSql => postgresql_opening(bytes),
        Dialect::MySql if bytes.get(3).is_some_and(|sequence| *sequence != 1) => Probe::NoMatch,
        Dialect::MySql => Probe::NeedMore,
    }
}

/// Whether bytes begin with one of these, in any case of letters.
fn begins(bytes: &[u8], texts: &[&[u8]]) -> Probe {
    let same = |text: &&&[u8]| bytes.iter().zip(text.iter()).all(|(a, b)| a.eq_ignore_ascii_case(b));
    match texts.iter().filter(same).map(|text| text.len()).min() {
        None => Probe::NoMatch,
        Some(len) if bytes.len() >= len => Probe::Match,
        Some(_) => Probe::NeedMore,
    }
}

/// Whether bytes begin with one of these words and the end of a word.
fn command(bytes: &[u8], verbs: impl Iterator<Item = &'static [u8]>) -> Probe {
    let mut answer = Probe::NoMatch;
    for verb in verbs {
        let (word, next) = bytes.split_at_checked(verb.len()).unwrap_or((bytes, &[]));
        if !verb.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word)) {
            continue;
        }
        match next.first() {
            None => answer = Probe::NeedMore,
            Some(b' ' | b'\r' | b'\n') => return Probe::Match,
            Some(_) => {}
        }
    }
    answer
}

const fn is_tag(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b'+')
}

/// A stream's opening tag, with or without the declaration before it.
fn xmpp_opening(bytes: &[u8]) -> Probe {
    const DECLARATION: &[u8] = b"<?xml";
    const DECLARATION_LIMIT: usize = 128;
    let window = bytes.get(..DECLARATION_LIMIT).unwrap_or(bytes);
    match begins(bytes, &[DECLARATION]) {
        Probe::NeedMore => Probe::NeedMore,
        Probe::NoMatch => begins(bytes, &[b"<stream:stream"]),
        Probe::Match => match window.windows(2).position(|pair| pair == b"?>") {
            None if window.len() == DECLARATION_LIMIT => Probe::NoMatch,
            None => Probe::NeedMore,
            Some(at) => begins(bytes.get(at + 2..).unwrap_or_default().trim_ascii_start(), &[b"<stream:stream"]),
        },
    }
}

/// A request for encryption, or a whole startup packet.
fn postgresql_opening(bytes: &[u8]) -> Probe {
    if bytes.iter().zip([0, 0]).any(|(a, b)| *a != b) {
        return Probe::NoMatch;
    }
    let mut reader = Reader::new(bytes);
    let (Some(length), Some(code)) = (reader.u32(), reader.u32()) else { return Probe::NeedMore };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match (length, code) {
        (8, SSL_REQUEST | GSS_REQUEST) => Probe::Match,
        (9..=STARTUP_LIMIT, STARTUP_3_0) => match begins(reader.rest(), &[b"user\0", b"database\0"]) {
            Probe::Match if length < 8 + 5 => Probe::NoMatch,
            answer => answer,
        },
        _ => Probe::NoMatch,
    }
}

/// The first packet of a MySQL server, up to the end of its version.
fn mysql_greeting(bytes: &[u8]) -> Probe {
    let Some(&[a, b, c, sequence]) = bytes.first_chunk::<MYSQL_HEADER>() else {
        return if bytes.get(2).is_none_or(|high| *high == 0) { Probe::NeedMore } else { Probe::NoMatch };
    };
    if sequence != 0 || !MYSQL_GREETING.contains(&u32::from_le_bytes([a, b, c, 0])) {
        return Probe::NoMatch;
    }
    let rest = bytes.get(MYSQL_HEADER..).unwrap_or_default();
    let Some((version, 10)) = rest.split_first().map(|(protocol, version)| (version, *protocol)) else {
        return if rest.is_empty() { Probe::NeedMore } else { Probe::NoMatch };
    };
    let end = version.iter().position(|b| *b == 0);
    let text = version.get(..end.unwrap_or(version.len())).unwrap_or_default();
    let plausible = text.len() <= TEXT_KEPT
        && text.first().is_none_or(u8::is_ascii_digit)
        && text.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    match end {
        _ if !plausible => Probe::NoMatch,
        None => Probe::NeedMore,
        Some(_) if text.contains(&b'.') => Probe::Match,
        Some(_) => Probe::NoMatch,
    }
}

/// Where the dialogue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Talking,
    /// The client waits for the server's leave; what it sends meanwhile waits too.
    Asked,
    /// The client's next byte is TLS.
    Upgraded,
    Done,
}

/// What a line, tag or packet leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is as the protocol says.
    Stay(Stage),
    /// It is nothing by which the protocol could be told.
    Pass,
    /// It is as the protocol says, and no way to TLS.
    Over,
    /// It is not of this protocol.
    Broken,
}

#[derive(Debug)]
struct StartTls {
    dialect: Dialect,
    inboxes: Ends<Inbox>,
    client: Option<Direction>,
    stage: Stage,
    /// The ends that spoke as the protocol says.
    spoke: Ends<bool>,
    /// The server's greeting is whole.
    greeted: bool,
    /// Commands without their reply.
    owed: u16,
    /// SMTP, FTP: the code of a reply of many lines that has not ended.
    open: Option<[u8; 3]>,
    /// IMAP: the tag of STARTTLS.
    tag: Vec<u8>,
    /// PostgreSQL: the code of the request.
    request: u32,
    /// Bytes in clear that were read.
    clear: usize,
}

impl Analyzer for StartTls {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.stage == Stage::Done || pdu.bytes.is_empty() {
            return;
        }
        let dialect = self.dialect;
        let of_server = || pdu.bytes.first().is_some_and(|first| dialect.is_servers(*first));
        self.client.get_or_insert_with(|| if of_server() { pdu.dir.flip() } else { pdu.dir });
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            return self.settle(pdu.at, pdu.dir, events);
        }
        // What the other end had to wait with is read after each line of this one, however many came at once.
        loop {
            while self.step(pdu.dir.flip(), events) {}
            if !self.step(pdu.dir, events) {
                return;
            }
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        if self.stage != Stage::Done {
            self.settle(at, dir, events);
        }
    }
}

impl StartTls {
    fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) },
            client: None,
            stage: Stage::Talking,
            spoke: Ends::default(),
            greeted: false,
            owed: 0,
            open: None,
            tag: Vec::new(),
            request: 0,
            clear: 0,
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.stage = Stage::Done;
        events.settled(at, dir);
    }

    /// Reads one line, tag or packet of `dir`, if it is whole and its turn.
    fn step(&mut self, dir: Direction, events: &mut Events) -> bool {
        let of_client = self.client == Some(dir);
        let waits = match self.stage {
            Stage::Done => true,
            Stage::Upgraded => {
                if of_client {
                    self.on_cargo(dir, events);
                }
                true
            }
            Stage::Asked => of_client,
            Stage::Talking => {
                of_client && self.dialect.server_speaks_first() && !self.greeted
                    || !of_client && self.dialect == Dialect::PostgreSql
            }
        };
        if waits || self.inboxes.of(dir).bytes().is_empty() {
            return false;
        }
        let mut inbox = std::mem::replace(self.inboxes.of_mut(dir), Inbox::new(0));
        let size = unit_size(self.dialect, of_client, inbox.bytes());
        let at = inbox.time_of(size.unwrap_or(UNIT_LIMIT) - 1);
        if let Some(unit) = size.and_then(|size| inbox.bytes().get(..size)) {
            let next = if of_client { self.on_client(unit) } else { self.on_server(at, dir, unit, events) };
            self.follow(at, dir, next, events);
            self.clear += unit.len();
            inbox.consume(unit.len());
        } else if inbox.bytes().len() >= UNIT_LIMIT {
            self.settle(at, dir, events);
        }
        let read = size.is_some();
        *self.inboxes.of_mut(dir) = inbox;
        if read && self.clear > CLEAR_LIMIT && self.stage != Stage::Done {
            self.settle(at, dir, events);
        }
        read
    }

    fn follow(&mut self, at: Timestamp, dir: Direction, next: Next, events: &mut Events) {
        let agreed = |spoke: Ends<bool>| spoke.orig && spoke.resp;
        let before = agreed(self.spoke);
        if matches!(next, Next::Stay(_) | Next::Over) {
            *self.spoke.of_mut(dir) = true;
        }
        if agreed(self.spoke) && !before {
            events.confirmed(at, dir);
        }
        match next {
            Next::Pass => {}
            Next::Stay(stage) => self.stage = stage,
            Next::Over => self.settle(at, dir, events),
            Next::Broken => {
                if !before {
                    events.violation(at, dir, self.dialect.names().1);
                }
                self.settle(at, dir, events);
            }
        }
    }

    /// The client's first bytes behind the server's leave.
    fn on_cargo(&mut self, dir: Direction, events: &mut Events) {
        let inbox = self.inboxes.of_mut(dir);
        if self.dialect == Dialect::Xmpp {
            let spaces = inbox.bytes().iter().take_while(|b| b.is_ascii_whitespace()).count();
            inbox.consume(spaces);
        }
        let at = inbox.time_of(inbox.bytes().len());
        match shape(inbox.bytes()) {
            Shape::Open if inbox.bytes().len() < UNIT_LIMIT => return,
            Shape::Hello => events.handover(at, dir, "tls", true, unused(&self.inboxes)),
            Shape::Open | Shape::Other => {}
        }
        self.settle(at, dir, events);
    }

    fn on_client(&mut self, unit: &[u8]) -> Next {
        match self.dialect {
            Dialect::Smtp | Dialect::Ftp | Dialect::Pop3 => self.on_command(unit.trim_ascii_end()),
            Dialect::Imap => {
                let at = unit.iter().position(|b| *b == b' ').unwrap_or(unit.len());
                let (tag, rest) = unit.split_at_checked(at).unwrap_or((unit, &[]));
                if tag.is_empty() || tag.len() > TAG_LIMIT || unit.trim_ascii_end().ends_with(b"}") {
                    return Next::Broken;
                }
                self.tag = tag.to_vec();
                self.on_command(rest.trim_ascii())
            }
            Dialect::Xmpp => self.on_client_tag(unit),
            Dialect::PostgreSql => {
                self.request = Reader::new(unit.get(4..).unwrap_or_default()).u32().unwrap_or_default();
                let known = matches!(self.request, SSL_REQUEST | GSS_REQUEST | STARTUP_3_0);
                if known { Next::Stay(Stage::Asked) } else { Next::Broken }
            }
            Dialect::MySql => {
                let capabilities = unit.get(MYSQL_HEADER..).and_then(|b| b.first_chunk::<4>());
                match capabilities.map(|b| u32::from_le_bytes(*b) & MYSQL_CLIENT_SSL) {
                    Some(MYSQL_CLIENT_SSL) => Next::Stay(Stage::Upgraded),
                    _ if unit.get(3) == Some(&1) => Next::Over,
                    _ => Next::Broken,
                }
            }
        }
    }

    fn on_command(&mut self, line: &[u8]) -> Next {
        let verbs = self.dialect.verbs();
        let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let (verb, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
        let is = |known: &[u8]| known.eq_ignore_ascii_case(verb);
        let rest = rest.trim_ascii();
        self.owed = self.owed.saturating_add(1);
        // FTP's AUTH names what it asks for; POP3's AUTH without a name asks for a list.
        let names_tls = || [&b"TLS"[..], b"SSL", b"TLS-C", b"TLS-P"].iter().any(|name| name.eq_ignore_ascii_case(rest));
        let lists = self.dialect == Dialect::Pop3 && is(b"AUTH") && rest.is_empty();
        if is(verbs.upgrade) {
            let asks = self.dialect != Dialect::Ftp || names_tls();
            return if asks { Next::Stay(Stage::Asked) } else { Next::Over };
        }
        if lists || verbs.harmless.iter().any(|known| is(known)) {
            return Next::Stay(Stage::Talking);
        }
        let known = verbs.last.iter().any(|known| is(known));
        if known { Next::Over } else { Next::Broken }
    }

    fn on_client_tag(&self, unit: &[u8]) -> Next {
        match tag_name(unit) {
            Some(b"?xml") => Next::Pass,
            Some(b"stream:stream") => Next::Stay(Stage::Talking),
            Some(b"starttls") if !unit.ends_with(b"/>") => Next::Pass,
            Some(b"starttls" | b"/starttls") if self.greeted => Next::Stay(Stage::Asked),
            Some(_) if self.greeted => Next::Over,
            _ => Next::Broken,
        }
    }

    fn on_server(&mut self, at: Timestamp, dir: Direction, unit: &[u8], events: &mut Events) -> Next {
        let was_open = self.open.is_some();
        let next = match self.dialect {
            Dialect::Smtp | Dialect::Ftp => self.on_reply(unit.trim_ascii_end()),
            Dialect::Imap => self.on_imap_line(unit.trim_ascii_end()),
            Dialect::Pop3 => self.on_pop3_line(unit),
            Dialect::Xmpp => self.on_server_tag(unit),
            Dialect::PostgreSql => return self.on_postgresql_answer(unit),
            Dialect::MySql => match mysql_greeting(unit) {
                Probe::Match => Next::Stay(Stage::Talking),
                _ => Next::Broken,
            },
        };
        if !self.greeted && matches!(next, Next::Stay(_)) {
            if let Some(text) = greeting(self.dialect, unit).filter(|text| !text.is_empty() && !was_open) {
                events.attribute(at, dir, self.dialect.names().0, printable(text, TEXT_KEPT));
            }
            self.greeted = self.open.is_none();
        }
        next
    }

    /// A line of an SMTP or FTP reply, which may have many.
    fn on_reply(&mut self, line: &[u8]) -> Next {
        let code = line.first_chunk::<3>().filter(|code| code.iter().all(u8::is_ascii_digit)).copied();
        let more = line.get(3) == Some(&b'-');
        match (self.open, code) {
            (Some(open), Some(code)) if open == code && !more => self.open = None,
            // FTP lets any text stand within.
            (Some(_), _) => return Next::Stay(self.stage),
            (None, None) => return Next::Broken,
            (None, Some(_)) if more => {
                self.open = code;
                return if self.greeted || line.starts_with(b"220") { Next::Stay(self.stage) } else { Next::Broken };
            }
            (None, Some(_)) => {}
        }
        let leave: &[u8; 3] = if self.dialect == Dialect::Ftp { b"234" } else { b"220" };
        match code {
            Some(code) if self.greeted => self.replied(&code == leave),
            Some([b'2', b'2', b'0']) => Next::Stay(Stage::Talking),
            _ => Next::Broken,
        }
    }

    /// The reply to the oldest command is whole.
    fn replied(&mut self, leave: bool) -> Next {
        let Some(owed) = self.owed.checked_sub(1) else { return Next::Over };
        self.owed = owed;
        match self.stage {
            Stage::Asked if owed == 0 && leave => Next::Stay(Stage::Upgraded),
            Stage::Asked if owed == 0 => Next::Stay(Stage::Talking),
            stage => Next::Stay(stage),
        }
    }

    fn on_imap_line(&self, line: &[u8]) -> Next {
        if !self.greeted {
            let greets = server_fits(Dialect::Imap, line) == Probe::Match;
            return if greets { Next::Stay(Stage::Talking) } else { Next::Broken };
        }
        let answer = line.strip_prefix(self.tag.as_slice()).and_then(|rest| rest.strip_prefix(b" "));
        match (answer, self.stage) {
            _ if line.starts_with(b"+") => Next::Over,
            (Some(status), Stage::Asked) if command(status, [&b"OK"[..]].into_iter()) != Probe::NoMatch => {
                Next::Stay(Stage::Upgraded)
            }
            (Some(_), Stage::Asked) => Next::Stay(Stage::Talking),
            (_, stage) => Next::Stay(stage),
        }
    }

    /// Lines of a list, which begin with neither word, are passed over.
    fn on_pop3_line(&mut self, line: &[u8]) -> Next {
        let good = line.starts_with(b"+OK");
        match self.greeted {
            false if good => Next::Stay(Stage::Talking),
            false => Next::Broken,
            true if good || line.starts_with(b"-ERR") => self.replied(good),
            true if line.starts_with(b"+") => Next::Over,
            true => Next::Stay(self.stage),
        }
    }

    fn on_server_tag(&self, unit: &[u8]) -> Next {
        match (tag_name(unit), self.stage) {
            (Some(b"stream:stream"), stage) if !self.greeted => Next::Stay(stage),
            (Some(b"?xml"), _) => Next::Pass,
            (None, _) => Next::Broken,
            _ if !self.greeted => Next::Broken,
            (Some(b"proceed"), Stage::Asked) if !unit.ends_with(b"/>") => Next::Pass,
            (Some(b"proceed" | b"/proceed"), Stage::Asked) => Next::Stay(Stage::Upgraded),
            (Some(b"proceed" | b"failure" | b"/stream:stream"), _) => Next::Over,
            _ => Next::Pass,
        }
    }

    fn on_postgresql_answer(&self, unit: &[u8]) -> Next {
        match (self.request, unit.first()) {
            (SSL_REQUEST, Some(b'S')) => Next::Stay(Stage::Upgraded),
            (SSL_REQUEST | GSS_REQUEST, Some(b'N')) => Next::Stay(Stage::Talking),
            (GSS_REQUEST, Some(b'G')) | (STARTUP_3_0, Some(b'R' | b'v')) | (_, Some(b'E')) => Next::Over,
            _ => Next::Broken,
        }
    }
}

/// How many bytes the next line, tag or packet has; `None` while that can't be told or it is not whole.
fn unit_size(dialect: Dialect, of_client: bool, bytes: &[u8]) -> Option<usize> {
    let size = match dialect {
        Dialect::Smtp | Dialect::Ftp | Dialect::Imap | Dialect::Pop3 => bytes.iter().position(|b| *b == b'\n')? + 1,
        Dialect::Xmpp => tag_end(bytes)?,
        // A startup packet's head is enough: names stand behind it.
        Dialect::PostgreSql => {
            if of_client {
                8
            } else {
                1
            }
        }
        Dialect::MySql if of_client => match *bytes.first_chunk::<MYSQL_HEADER>()? {
            MYSQL_SSL_REQUEST => MYSQL_HEADER + 32,
            _ => MYSQL_HEADER,
        },
        Dialect::MySql => {
            let [a, b, c, _] = *bytes.first_chunk::<MYSQL_HEADER>()?;
            usize::try_from(u32::from_le_bytes([a, b, c, 0])).ok()? + MYSQL_HEADER
        }
    };
    (size <= bytes.len().min(UNIT_LIMIT)).then_some(size)
}

/// Where the first tag ends; a `>` within quotes is none.
fn tag_end(bytes: &[u8]) -> Option<usize> {
    let start = bytes.iter().position(|b| *b == b'<')?;
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match (quote, *byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// The name in a tag that only spaces may stand before.
fn tag_name(unit: &[u8]) -> Option<&[u8]> {
    let inner = unit.trim_ascii_start().strip_prefix(b"<")?;
    let ends = |b: &u8| b.is_ascii_whitespace() || *b == b'>';
    let name = inner.split(ends).next()?;
    Some(if name.len() > 1 { name.strip_suffix(b"/").unwrap_or(name) } else { name })
}

/// What a greeting says of the server.
fn greeting(dialect: Dialect, unit: &[u8]) -> Option<&[u8]> {
    let line = unit.trim_ascii_end();
    match dialect {
        Dialect::Smtp | Dialect::Ftp => line.get(4..).map(<[u8]>::trim_ascii),
        Dialect::Imap => line.get(2..).map(<[u8]>::trim_ascii),
        Dialect::Pop3 => line.get(3..).map(<[u8]>::trim_ascii),
        Dialect::Xmpp => {
            let at = unit.windows(6).position(|w| matches!(w, [b' ', b'f', b'r', b'o', b'm', b'=']))?;
            let (quote, rest) = unit.get(at + 6..)?.split_first()?;
            rest.split(|b| b == quote).next()
        }
        Dialect::PostgreSql => None,
        Dialect::MySql => unit.get(MYSQL_HEADER + 1..)?.split(|b| *b == 0).next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const HELLO: &[u8] =
        b"\x16\x03\x01\x00\x31\x01\x00\x00\x2d\x03\x03abcdefghijklmnopqrstuvwxyz012345\0\0\x02\x13\x01\x01\0\0\0";
    const PASS: &[u8] = b"hunter2";

    fn mysql_server() -> Vec<u8> {
        [&[74, 0, 0, 0, 10][..], b"8.0.36\0", &[7; 66]].concat()
    }

    fn mysql_upgrade() -> Vec<u8> {
        [&MYSQL_SSL_REQUEST[..], &[0x05, 0xae, 0xff, 0x01], &[0; 28]].concat()
    }

    /// A protocol, its dialogue, and what the greeting says.
    type Upgrade = (&'static Protocol, Vec<(Direction, Vec<u8>)>, Option<&'static str>);

    /// A dialogue of each protocol up to the ClientHello, and what the server's greeting says.
    fn upgrades() -> Vec<Upgrade> {
        let turns = |list: &[Turn<'_>]| list.iter().map(|(dir, bytes)| (*dir, bytes.to_vec())).collect::<Vec<_>>();
        let mut mysql = turns(&[(Resp, &mysql_server())]);
        mysql.push((Orig, [&mysql_upgrade()[..], HELLO].concat()));
        vec![
            (
                &SMTP,
                turns(&[
                    (Resp, b"220-mail.example ESMTP\r\n220 go\r\n"),
                    (Orig, b"EHLO a\r\n"),
                    (Resp, b"250-mail.example\r\n250 STARTTLS\r\n"),
                    (Orig, b"starttls\r\n"),
                    (Resp, b"220 2.0.0 Ready\r\n"),
                    (Orig, HELLO),
                ]),
                Some("mail.example ESMTP"),
            ),
            (
                &IMAP,
                turns(&[
                    (Resp, b"* OK [CAPABILITY STARTTLS] ready\r\n"),
                    (Orig, b"a1 CAPABILITY\r\n"),
                    (Resp, b"* CAPABILITY STARTTLS\r\na1 OK done\r\n"),
                    (Orig, b"a2 STARTTLS\r\n"),
                    (Resp, b"a2 OK begin\r\n"),
                    (Orig, HELLO),
                ]),
                Some("OK [CAPABILITY STARTTLS] ready"),
            ),
            (
                &POP3,
                turns(&[
                    (Resp, b"+OK ready\r\n"),
                    (Orig, b"CAPA\r\n"),
                    (Resp, b"+OK list\r\nSTLS\r\n.\r\n"),
                    (Orig, b"STLS\r\n"),
                    (Resp, b"+OK begin\r\n"),
                    (Orig, HELLO),
                ]),
                Some("ready"),
            ),
            (
                &FTP,
                turns(&[
                    (Resp, b"220-hi\r\n any text\r\n220 there\r\n"),
                    (Orig, b"AUTH TLS\r\n"),
                    (Resp, b"234 go\r\n"),
                    (Orig, HELLO),
                ]),
                Some("hi"),
            ),
            (
                &XMPP,
                turns(&[
                    (Orig, b"<?xml version='1.0'?><stream:stream to='a>b'>"),
                    (Resp, b"<?xml version='1.0'?><stream:stream from='chat.example'><stream:features><starttls/></stream:features>"),
                    (Orig, b"<starttls xmlns='x'></starttls>"),
                    (Resp, b"<proceed xmlns='x'/>"),
                    (Orig, HELLO),
                ]),
                Some("chat.example"),
            ),
            (
                &POSTGRESQL,
                turns(&[
                    (Orig, b"\0\0\0\x08\x04\xd2\x16\x30"),
                    (Resp, b"N"),
                    (Orig, b"\0\0\0\x08\x04\xd2\x16\x2f"),
                    (Resp, b"S"),
                    (Orig, HELLO),
                ]),
                None,
            ),
            (&MYSQL, mysql, Some("8.0.36")),
        ]
    }

    fn borrowed(turns: &[(Direction, Vec<u8>)]) -> Vec<Turn<'_>> {
        turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect()
    }

    /// Greeting, confirmed, and the client's bytes handed over (with the analyzer fed until it hands over).
    fn read(
        protocol: &Protocol,
        turns: &[(Direction, Vec<u8>)],
        piece: usize,
    ) -> (Option<String>, bool, Option<Vec<u8>>, Vec<Event>) {
        let mut analyzer = (protocol.analyzer)();
        let mut events = Events::default();
        let (mut told, mut handed): (Vec<Event>, Option<Vec<u8>>) = (Vec::new(), None);
        for (i, (dir, bytes)) in turns.iter().enumerate() {
            for part in bytes.chunks(piece.max(1)) {
                if let Some(cargo) = &mut handed {
                    assert_eq!(*dir, Orig);
                    cargo.extend_from_slice(part);
                    continue;
                }
                let pdu = Pdu { at: testkit::at(i), dir: *dir, bytes: part, carrier: Carrier::Stream, missing: 0 };
                analyzer.on_pdu(&pdu, &mut events);
                for mut event in events.drain() {
                    if let EventKind::Handover { to: "tls", as_carrier: true, rest } = &mut event.kind {
                        handed = Some(rest.drain(..).flat_map(|piece| piece.bytes).collect());
                    }
                    told.push(event);
                }
            }
        }
        let greeting = told.iter().find_map(|e| match &e.kind {
            EventKind::Attribute { value, .. } => Some(value.clone()),
            _ => None,
        });
        let confirmed = told.iter().any(|e| e.kind == EventKind::Confirmed);
        (greeting, confirmed, handed, told)
    }

    #[test]
    fn the_hello_is_handed_over_from_its_first_byte_for_any_cut() {
        for (protocol, turns, says) in upgrades() {
            let whole = read(protocol, &turns, usize::MAX);
            for piece in [1, 2, 3, 5, 7, 16, 40, usize::MAX] {
                let (greeting, confirmed, handed, told) = read(protocol, &turns, piece);
                assert_eq!(greeting.as_deref(), says, "{} by {piece}", protocol.name);
                assert!(confirmed, "{} by {piece}: {told:?}", protocol.name);
                assert_eq!(handed.as_deref(), Some(HELLO), "{} by {piece}: {told:?}", protocol.name);
                assert_eq!(told, whole.3.iter().map(|e| strip(e, &told)).collect::<Vec<_>>(), "{}", protocol.name);
            }
        }
    }

    /// The handed pieces depend on the cut; everything else must not.
    fn strip(event: &Event, told: &[Event]) -> Event {
        let handed = told.iter().find(|e| matches!(e.kind, EventKind::Handover { .. }));
        match event.kind {
            EventKind::Handover { .. } => handed.unwrap_or(event).clone(),
            _ => event.clone(),
        }
    }

    #[test]
    fn each_protocol_is_told_apart_from_the_others() {
        let all = upgrades();
        for (protocol, turns, _) in &all {
            let said = |wanted: Direction| {
                let of_end = turns.iter().filter(|(dir, _)| *dir == wanted);
                of_end.flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<u8>>()
            };
            for (other, ..) in &all {
                let answer = testkit::probe(other, Carrier::Stream, &said(Orig), &said(Resp));
                let wanted = if other.name == protocol.name { Probe::Match } else { Probe::NoMatch };
                assert_eq!(answer, wanted, "{} asked of {}", other.name, protocol.name);
            }
        }
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], HELLO, b"SSH-2.0-x\r\n", b"*1\r\n$4\r\nPING\r\n", b"\0\x2a\x38abc"] {
            for (protocol, ..) in &all {
                assert_eq!(testkit::probe(protocol, Carrier::Stream, bytes, b""), Probe::NoMatch, "{}", protocol.name);
            }
        }
    }

    #[test]
    fn secrets_end_the_reading_and_are_not_told() {
        let logins: [(&Protocol, &[u8], &[u8]); 5] = [
            (&SMTP, b"220 x\r\n", b"EHLO a\r\nMAIL FROM:<hunter2>\r\n"),
            (&FTP, b"220 x\r\n", b"USER hunter2\r\n"),
            (&IMAP, b"* OK x\r\n", b"a LOGIN hunter2 y\r\n"),
            (&POP3, b"+OK x\r\n", b"USER hunter2\r\n"),
            (&POSTGRESQL, b"", b"\0\0\0\x20\0\x03\0\0user\0hunter2\0"),
        ];
        for (protocol, server, client) in logins {
            let mut turns = vec![(Resp, server.to_vec()), (Orig, client.to_vec())];
            if server.is_empty() {
                turns = vec![(Orig, client.to_vec()), (Resp, b"R".to_vec())];
            }
            let (_, confirmed, handed, told) = read(protocol, &turns, usize::MAX);
            assert!(confirmed && handed.is_none(), "{}", protocol.name);
            assert!(told.iter().any(|e| e.kind == EventKind::Settled), "{}", protocol.name);
            assert!(!format!("{told:?}").contains(std::str::from_utf8(PASS).unwrap()));
        }
    }

    #[test]
    fn a_refusal_is_no_leave() {
        let mut turns = upgrades().remove(0).1;
        turns[4].1 = b"454 not now\r\n".to_vec();
        assert_eq!(read(&SMTP, &turns, usize::MAX).2, None);
        let mut eager = upgrades().remove(0).1;
        eager.swap(0, 1);
        assert_eq!(read(&SMTP, &eager, usize::MAX).2.as_deref(), Some(HELLO));
        // The reply to EHLO, sent after STARTTLS, is not the one to STARTTLS.
        let early = [
            (Resp, b"220 x\r\n".to_vec()),
            (Orig, b"EHLO a\r\nSTARTTLS\r\n".to_vec()),
            (Resp, b"220 odd\r\n".to_vec()),
            (Orig, HELLO.to_vec()),
        ];
        assert_eq!(read(&SMTP, &early, usize::MAX).2, None);
        let mut late = early.to_vec();
        late.insert(3, (Resp, b"220 go\r\n".to_vec()));
        assert_eq!(read(&SMTP, &late, usize::MAX).2.as_deref(), Some(HELLO));
    }

    #[test]
    fn clear_dialogue_is_bounded() {
        for filler in [&b"NOOP\r\n"[..], b"x"] {
            let mut turns = upgrades().remove(0).1;
            let long = filler.repeat(CLEAR_LIMIT / filler.len() + 1);
            turns.insert(2, (Orig, long));
            let whole = read(&SMTP, &turns, usize::MAX);
            assert_eq!((&whole.2, whole.3.last().map(|e| &e.kind)), (&None, Some(&EventKind::Settled)));
            assert_eq!(read(&SMTP, &turns, 11).3, whole.3);
        }
    }

    proptest! {
        #[test]
        fn random_dialogues_never_panic_and_no_cut_changes_them(
            which in 0usize..7,
            keep in 0usize..7,
            tail in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..5),
            piece in 1usize..30,
        ) {
            let (protocol, mut turns, _) = upgrades().remove(which);
            turns.truncate(keep);
            turns.extend(tail.into_iter().map(|(orig, bytes)| (if orig { Orig } else { Resp }, bytes)));
            let kinds = |piece| {
                let told = testkit::stream(protocol, &borrowed(&turns), piece);
                told.into_iter().filter(|e| !matches!(e.kind, EventKind::Handover { .. })).collect::<Vec<_>>()
            };
            prop_assert_eq!(kinds(piece), kinds(usize::MAX));
        }
    }
}

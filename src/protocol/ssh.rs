//! SSH: who talks to whom with which software and algorithms, and the round trips of the key exchange.
//!
//! Reads: version lines, the binary packets before encryption (KEXINIT, the key exchange, NEWKEYS), and the times of
//! the first encrypted bytes. Emits: banners, negotiated algorithms, HASSH of both ends, closed loops of the key
//! exchange and of the service request. Does not: decrypt, or time keystrokes.
//!
//! A loop is told only where the answer cannot have left before the ask arrived, whatever the timing at the capture
//! point; so each round trip is an upper bound of the path's.
//!
//! Reference: RFC 4253, RFC 4419 (group exchange), RFC 5656 (ECDH), RFC 8308 (EXT_INFO), HASSH (github.com/salesforce/hassh).

use crate::base::{Direction, Ends, Layer, Reader, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Gait, Key, Opening, Pdu, Probe, Protocol, Shape};
use md5::{Digest, Md5};
use std::collections::HashSet;

/// The registry's entry.
pub(crate) static SSH: Protocol = Protocol {
    name: "ssh",
    category: Category::RemoteShell,
    carriers: &[Carrier::Stream],
    ports: &[22, 2222],
    attributes: &[CLIENT_BANNER, SERVER_BANNER, PRE_BANNER, KEX, HOST_KEY, CIPHER, MAC, HASSH, HASSH_SERVER, BEHAVIOUR],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Ssh::default()),
};

const CLIENT_BANNER: Key = "ssh.client_banner";
const SERVER_BANNER: Key = "ssh.server_banner";
const PRE_BANNER: Key = "ssh.pre_banner";
const KEX: Key = "ssh.kex";
const HOST_KEY: Key = "ssh.host_key_algorithm";
const CIPHER: Key = "ssh.cipher";
const MAC: Key = "ssh.mac";
const HASSH: Key = "ssh.hassh";
const HASSH_SERVER: Key = "ssh.hassh_server";
const BEHAVIOUR: Key = "ssh.behaviour";

/// A version line is at most 255 bytes (RFC 4253, 4.2); other lines and long banners of odd servers get room.
const LINE_LIMIT: usize = 8192;
/// Lines a server may say before its version; the RFC sets no limit, so ours is generous.
const PRE_BANNER_LINES: u16 = 1024;
/// The largest packet everyone must take has 35,000 bytes (RFC 4253, 6.1); the buffer leaves room for what stands
/// behind it.
const PACKET_LIMIT: u32 = 35_000;
const INBOX_LIMIT: usize = 128 * 1024;
/// Characters of a banner that are kept.
const BANNER_KEPT: usize = 255;

/// Clients that send nothing but their version line before they have the server's: OpenSSH
/// (`kex_exchange_identification` returns before `ssh_kex2` begins), PuTTY (`got_ssh_version` comes after the remote
/// line), paramiko (`_check_banner` before `_send_kex_init`). Others may wait too, but were not looked up; a client that
/// sends its KEXINIT blind would give samples that are too short.
const WAITS_FOR_VERSION: [&str; 3] = ["OpenSSH", "PuTTY", "paramiko"];
/// Clients that send no authentication request before the service is accepted: OpenSSH (`userauth_none` is called by
/// `input_userauth_service_accept`).
const WAITS_FOR_SERVICE: [&str; 1] = ["OpenSSH"];

/// What a connection was used for, by the sizes and times of its encrypted packets.
pub(crate) static GAIT: Gait = Gait { protocol: "ssh", key: BEHAVIOUR, packets: None, of: |shape, _| behaviour(shape) };

/// Nothing where the packets do not tell; the order is from the plainest sign to the faintest.
fn behaviour(shape: &Shape) -> Option<&'static str> {
    let (up, down) = (&shape.sent.orig, &shape.sent.resp);
    let seconds = shape.lasted.as_secs();
    let typed = shape.strokes >= 8 && shape.echoes * 3 >= shape.strokes * 2 && shape.strokes * 3 >= up.packets;
    let Ends { orig, resp } = shape.openings;
    Some(match shape.opener {
        _ if typed => "interactive",
        Some(Direction::Resp) if resp >= 2 || shape.strokes < 3 => "reverse-forward",
        Some(Direction::Orig) if orig >= 2 => "forward",
        _ if up.full >= 30 && shape.share(Direction::Orig) >= 85 => "bulk-up",
        _ if down.full >= 30 && shape.share(Direction::Resp) >= 85 => "bulk-down",
        _ if seconds >= 20 && u64::from(shape.packets()) <= 20 + seconds && up.full + down.full == 0 => "idle",
        _ => return None,
    })
}

fn probe(opening: &Opening<'_>) -> Probe {
    match [version_line(opening.sent.orig), server_lines(opening.sent.resp)] {
        [Probe::NoMatch, _] | [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// Whether these are the first bytes of a version line: `SSH-2.` or `SSH-1.`.
fn version_line(bytes: &[u8]) -> Probe {
    match bytes.split_at_checked(6) {
        Some((b"SSH-2." | b"SSH-1.", _)) => Probe::Match,
        Some(_) => Probe::NoMatch,
        None if b"SSH-2.".starts_with(bytes) || b"SSH-1.".starts_with(bytes) => Probe::NeedMore,
        None => Probe::NoMatch,
    }
}

/// Whether a server says its version, at once or after other lines of text.
fn server_lines(bytes: &[u8]) -> Probe {
    let first = version_line(bytes);
    if first != Probe::NoMatch {
        return first;
    }
    let version = bytes.windows(7).position(|w| matches!(w, b"\nSSH-2." | b"\nSSH-1."));
    let lines = version.and_then(|at| bytes.get(..at)).unwrap_or(bytes);
    let plain = lines.iter().all(|b| matches!(b, b'\t' | b'\r' | b'\n' | 0x20..=0x7e | 0x80..));
    match version {
        _ if !plain || lines.len() >= LINE_LIMIT => Probe::NoMatch,
        Some(_) => Probe::Match,
        None => Probe::NeedMore,
    }
}

/// What has been read of a stream so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Version,
    Packets,
    Encrypted,
}

/// One end of the connection.
#[derive(Debug)]
struct End {
    inbox: Inbox,
    stage: Stage,
    lines: u16,
    pre_banner: Option<String>,
    banner: Option<String>,
    /// When the version line's last byte passed.
    banner_end: Timestamp,
    kexinit: Option<KexInit>,
    /// When the KEXINIT's first byte passed.
    kexinit_began: Timestamp,
    /// When the first encrypted byte passed.
    encrypted: Option<Timestamp>,
}

impl Default for End {
    fn default() -> Self {
        Self {
            inbox: Inbox::new(INBOX_LIMIT),
            stage: Stage::Version,
            lines: 0,
            pre_banner: None,
            banner: None,
            banner_end: Timestamp::default(),
            kexinit: None,
            kexinit_began: Timestamp::default(),
            encrypted: None,
        }
    }
}

/// A clear packet: its message number and when its first and last byte passed.
#[derive(Debug, Clone, Copy)]
struct Message {
    number: u8,
    first: Timestamp,
    last: Timestamp,
}

/// What the service request has come to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Service {
    #[default]
    Idle,
    /// The client has sent its first encrypted bytes.
    Requested(Timestamp),
    /// The server has answered them.
    Accepted(Timestamp),
}

#[derive(Debug, Default)]
struct Ssh {
    ends: Ends<End>,
    /// The end that acts as SSH client, once known; not always the one that opened the connection.
    client: Option<Direction>,
    kex: Exchange,
    /// The client's next key exchange packet is a wrong guess that the server will ignore.
    guess_wrong: bool,
    service: Service,
    confirmed: bool,
    told: bool,
    done: bool,
}

/// How the messages of the negotiated key exchange follow each other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Exchange {
    /// INIT (30), REPLY (31): Diffie-Hellman, ECDH, hybrids.
    #[default]
    Direct,
    /// REQUEST (34 or 30), GROUP (31), INIT (32), REPLY (33): RFC 4419.
    Group,
    /// RSA, GSSAPI: read past, not timed.
    Other,
}

impl Analyzer for Ssh {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done || pdu.bytes.is_empty() {
            return;
        }
        let end = self.ends.of_mut(pdu.dir);
        if end.stage == Stage::Encrypted {
            self.on_encrypted(pdu.at, pdu.dir, events);
            return;
        }
        if !end.inbox.push(pdu.at, pdu.bytes) {
            events.violation(pdu.at, pdu.dir, "ssh.beyond-buffer");
            self.finish(pdu.at, pdu.dir, events);
            return;
        }
        while !self.done && self.step(pdu.dir, events) {}
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        if !self.done {
            self.finish(at, dir, events);
        }
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        if !self.done {
            self.tell(at, events);
        }
    }
}

impl Ssh {
    /// Reads one unit of what `dir` has sent; whether there was one.
    fn step(&mut self, dir: Direction, events: &mut Events) -> bool {
        match self.ends.of(dir).stage {
            Stage::Version => self.on_line(dir, events),
            Stage::Packets => self.on_packet(dir, events),
            Stage::Encrypted => {
                let inbox = &mut self.ends.of_mut(dir).inbox;
                let (waiting, at) = (inbox.bytes().len(), inbox.time_of(0));
                inbox.consume(waiting);
                if waiting > 0 {
                    self.on_encrypted(at, dir, events);
                }
                false
            }
        }
    }

    fn on_line(&mut self, dir: Direction, events: &mut Events) -> bool {
        let end = self.ends.of_mut(dir);
        let bytes = end.inbox.bytes();
        let window = bytes.get(..LINE_LIMIT).unwrap_or(bytes);
        let newline = window.iter().position(|b| *b == b'\n');
        // Only a server may say other lines first, so a client's first bytes decide, whole line or not.
        let stray = dir == Direction::Orig && version_line(window) == Probe::NoMatch;
        let Some(newline) = newline.filter(|_| !stray) else {
            let (at, hopeless) = (end.inbox.time_of(window.len()), window.len() == LINE_LIMIT);
            if hopeless || stray {
                events.violation(at, dir, "ssh.no-version-line");
                self.finish(at, dir, events);
            }
            return false;
        };
        let at = end.inbox.time_of(newline);
        let line = bytes.get(..newline).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if version_line(line) == Probe::Match {
            end.banner = Some(printable(line, BANNER_KEPT));
            end.banner_end = at;
            end.stage = Stage::Packets;
        } else {
            if end.lines == 0 {
                end.pre_banner = Some(printable(line, BANNER_KEPT));
            }
            end.lines += 1;
            if end.lines > PRE_BANNER_LINES {
                events.violation(at, dir, "ssh.no-version-line");
                self.finish(at, dir, events);
                return false;
            }
        }
        end.inbox.consume(newline + 1);
        self.on_versions(at, dir, events);
        true
    }

    /// Both ends have said their version: it is SSH. Version 1 is encrypted in another way and not read further.
    fn on_versions(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let (Some(orig), Some(resp)) = (&self.ends.orig.banner, &self.ends.resp.banner) else { return };
        if std::mem::replace(&mut self.confirmed, true) {
            return;
        }
        events.confirmed(at, dir);
        if is_version_1(orig) || is_version_1(resp) {
            self.finish(at, dir, events);
        }
    }

    fn on_packet(&mut self, dir: Direction, events: &mut Events) -> bool {
        let end = self.ends.of_mut(dir);
        if end.banner.as_deref().is_some_and(is_version_1) {
            // Wait for the other version line, if there is one; what this end goes on to say is not read.
            let size = end.inbox.bytes().len();
            end.inbox.consume(size);
            return false;
        }
        let mut reader = Reader::new(end.inbox.bytes());
        let (Some(length), at) = (reader.u32(), end.inbox.time_of(3)) else { return false };
        if !(2..=PACKET_LIMIT).contains(&length) {
            // A lone direction may speak version 1 without having said so: 1.99 allows both.
            if !end.banner.as_deref().is_some_and(|banner| banner.starts_with("SSH-1.99")) {
                events.violation(at, dir, "ssh.packet-length-out-of-range");
            }
            self.finish(at, dir, events);
            return false;
        }
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(packet) = reader.take(size) else { return false };
        let message_end = size.saturating_add(4);
        let payload = packet.split_first().and_then(|(padding, rest)| {
            let kept = rest.len().checked_sub(usize::from(*padding))?;
            rest.get(..kept)?.split_first()
        });
        let first = end.inbox.time_of(0);
        let last = end.inbox.time_of(message_end.saturating_sub(1));
        let Some((number, body)) = payload else {
            events.violation(last, dir, "ssh.padding-beyond-packet");
            self.finish(last, dir, events);
            return false;
        };
        let message = Message { number: *number, first, last };
        let offer = if message.number == KEXINIT && end.kexinit.is_none() { KexInit::read(body) } else { None };
        end.inbox.consume(message_end);
        self.on_message(dir, message, offer, events);
        true
    }

    fn on_message(&mut self, dir: Direction, message: Message, offer: Option<KexInit>, events: &mut Events) {
        let end = self.ends.of_mut(dir);
        match message.number {
            DISCONNECT => self.finish(message.last, dir, events),
            KEXINIT => {
                let Some(offer) = offer else {
                    events.violation(message.last, dir, "ssh.kexinit-malformed");
                    self.finish(message.last, dir, events);
                    return;
                };
                end.kexinit = Some(offer);
                end.kexinit_began = message.first;
            }
            NEWKEYS => {
                end.stage = Stage::Encrypted;
                if self.client == Some(dir) && self.kex != Exchange::Other {
                    events.answer(message.first, dir, Layer::Ssh, "kex-reply");
                }
            }
            KEX_FIRST..=KEX_LAST => self.on_exchange(dir, message, events),
            _ => {}
        }
    }

    /// A message of the key exchange method itself (30 to 49).
    fn on_exchange(&mut self, dir: Direction, message: Message, events: &mut Events) {
        if !self.told {
            self.meet(dir, message.number);
            self.tell(message.last, events);
            self.tell_opening(events);
        }
        let (first, last) = (message.first, message.last);
        let from_client = self.client == Some(dir);
        if from_client && std::mem::take(&mut self.guess_wrong) {
            return;
        }
        let (answer, ask) = match (self.kex, from_client, message.number) {
            (Exchange::Direct, true, 30) => (None, "kex-init"),
            (Exchange::Direct, false, 31) | (Exchange::Group, false, 33) => (Some("kex-init"), "kex-reply"),
            (Exchange::Group, true, 30 | 34) => (None, "gex-request"),
            (Exchange::Group, false, 31) => (Some("gex-request"), "gex-group"),
            (Exchange::Group, true, 32) => (Some("gex-group"), "kex-init"),
            _ => return,
        };
        if let Some(method) = answer {
            events.answer(first, dir, Layer::Ssh, method);
        }
        events.ask(last, dir, Layer::Ssh, ask);
    }

    /// Finds out who is the client: by the markers of RFC 8308 and of strict key exchange, else by who begins the
    /// exchange, which is the client except with RSA (RFC 4432).
    fn meet(&mut self, dir: Direction, number: u8) {
        let rsa = self.ends.of(dir).kexinit.as_ref().is_some_and(|k| k.kex().starts_with("rsa"));
        let begins = if matches!(number, 30 | 34) == rsa { dir.flip() } else { dir };
        let marked = [Direction::Orig, Direction::Resp].into_iter().find_map(|dir| {
            let kex = self.ends.of(dir).kexinit.as_ref()?.kex();
            match (has(kex, "ext-info-c") || has(kex, "kex-strict-c-v00@openssh.com"), has(kex, "ext-info-s")) {
                (true, false) => Some(dir),
                (false, true) => Some(dir.flip()),
                _ => None,
            }
        });
        self.client = Some(marked.unwrap_or(begins));
    }

    /// Tells what both ends have said in clear, once. Without a key exchange the originator counts as the client.
    fn tell(&mut self, at: Timestamp, events: &mut Events) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let client = self.client.unwrap_or(Direction::Orig);
        for (dir, banner_key, hassh_key) in
            [(client, CLIENT_BANNER, HASSH), (client.flip(), SERVER_BANNER, HASSH_SERVER)]
        {
            let end = self.ends.of_mut(dir);
            if let Some(line) = end.pre_banner.take() {
                events.attribute(at, dir, PRE_BANNER, line);
            }
            if let Some(banner) = &end.banner {
                events.attribute(at, dir, banner_key, banner.as_str());
            }
            if let Some(offer) = &end.kexinit {
                events.attribute(at, dir, hassh_key, offer.hassh(dir == client));
            }
        }
        self.tell_agreement(at, client, events);
    }

    fn tell_agreement(&mut self, at: Timestamp, client: Direction, events: &mut Events) {
        let (Some(ours), Some(theirs)) = (&self.ends.of(client).kexinit, &self.ends.of(client.flip()).kexinit) else {
            return;
        };
        let kex = agree(ours.kex(), theirs.kex()).unwrap_or_default();
        let host_key = agree(ours.host_key(), theirs.host_key()).unwrap_or_default();
        let cipher = agree(ours.cipher(true), theirs.cipher(true)).unwrap_or_default();
        let aead = cipher.contains("gcm") || cipher.contains("poly1305");
        let mac = if aead { "implicit" } else { agree(ours.mac(true), theirs.mac(true)).unwrap_or_default() };
        for (key, value) in [(KEX, kex), (HOST_KEY, host_key), (CIPHER, cipher), (MAC, mac)] {
            if !value.is_empty() {
                events.attribute(at, client, key, value);
            }
        }
        self.kex = match kex {
            name if name.contains("group-exchange") => Exchange::Group,
            name if name.starts_with("rsa") || name.starts_with("gss") => Exchange::Other,
            _ => Exchange::Direct,
        };
        let same_first = |a: &str, b: &str| a.split(',').next() == b.split(',').next();
        self.guess_wrong =
            ours.guesses && !(same_first(ours.kex(), theirs.kex()) && same_first(ours.host_key(), theirs.host_key()));
    }

    /// Tells the loop that the client's KEXINIT closes, now that it is known who the client is. A client that says its
    /// version only after the server's sends two small segments in a row, and Nagle's algorithm then holds the KEXINIT
    /// for a round trip to the server: such samples are left out. So is the loop from the server's KEXINIT to the
    /// client's first key exchange message, which is held by the client's own KEXINIT in the same way.
    fn tell_opening(&self, events: &mut Events) {
        let Some(client_dir) = self.client else { return };
        let (client, server) = (self.ends.of(client_dir), self.ends.of(client_dir.flip()));
        let (Some(banner), Some(_), Some(_)) = (&client.banner, &client.kexinit, &server.banner) else { return };
        let waited = client.banner_end < server.banner_end && client.kexinit_began > server.banner_end;
        if waited && is_one_of(&WAITS_FOR_VERSION, banner) {
            events.ask(server.banner_end, client_dir.flip(), Layer::Ssh, "banner");
            events.answer(client.kexinit_began, client_dir, Layer::Ssh, "banner");
        }
    }

    /// Encrypted bytes: only who and when. The client's first hold the service request, the server's next its answer.
    fn on_encrypted(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let Some(client) = self.client else {
            self.finish(at, dir, events);
            return;
        };
        let earlier = self.ends.of(client.flip()).encrypted;
        self.ends.of_mut(dir).encrypted.get_or_insert(at);
        match (self.service, dir == client) {
            (Service::Idle, true) => {
                // A server that got "ext-info-c" may send EXT_INFO unasked; its first packet then answers nothing.
                let offer = self.ends.of(client).kexinit.as_ref();
                let unasked = offer.is_none_or(|k| has(k.kex(), "ext-info-c")) && earlier.is_none();
                if unasked {
                    self.finish(at, dir, events);
                } else {
                    self.service = Service::Requested(at);
                }
            }
            (Service::Requested(asked), false) if at > asked => {
                events.ask(asked, client, Layer::Ssh, "service-request");
                events.answer(at, dir, Layer::Ssh, "service-request");
                self.service = Service::Accepted(at);
            }
            (Service::Accepted(asked), true) if at > asked => {
                if self.ends.of(client).banner.as_deref().is_some_and(|b| is_one_of(&WAITS_FOR_SERVICE, b)) {
                    events.ask(asked, client.flip(), Layer::Ssh, "service-accept");
                    events.answer(at, dir, Layer::Ssh, "service-accept");
                }
                self.finish(at, dir, events);
            }
            _ => {}
        }
    }

    fn finish(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.tell(at, events);
        self.done = true;
        events.settled(at, dir);
    }
}

fn is_version_1(banner: &str) -> bool {
    banner.starts_with("SSH-1.") && !banner.starts_with("SSH-1.99")
}

/// Whether a version line names one of these programs.
fn is_one_of(programs: &[&str], banner: &str) -> bool {
    let software = banner.splitn(3, '-').nth(2).unwrap_or_default();
    let mut versions = programs.iter().filter_map(|name| software.strip_prefix(name));
    versions.any(|version| version.starts_with('_'))
}

/// Whether a name-list holds a name.
fn has(list: &str, name: &str) -> bool {
    list.split(',').any(|entry| entry == name)
}

/// The first of the client's names that the server has too (RFC 4253, 7.1). A set, because an attacker's lists may hold
/// thousands of names each.
fn agree<'a>(client: &'a str, server: &str) -> Option<&'a str> {
    let offered: HashSet<&str> = server.split(',').collect();
    client.split(',').filter(|name| !is_marker(name)).find(|name| offered.contains(name))
}

fn is_marker(name: &str) -> bool {
    name.starts_with("ext-info-") || name.starts_with("kex-strict-")
}

/// What one end offers: the ten name-lists of KEXINIT, in order.
#[derive(Debug)]
struct KexInit {
    lists: [String; 10],
    /// The next packet is a guessed key exchange message.
    guesses: bool,
}

impl KexInit {
    fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        reader.take(16)?;
        let mut lists: [String; 10] = Default::default();
        for list in &mut lists {
            let length = usize::try_from(reader.u32()?).ok()?;
            *list = printable(reader.take(length)?, usize::MAX);
        }
        let guesses = reader.u8()? != 0;
        reader.u32()?;
        Some(Self { lists, guesses })
    }

    fn list(&self, index: usize) -> &str {
        self.lists.get(index).map_or("", String::as_str)
    }

    fn kex(&self) -> &str {
        self.list(0)
    }

    fn host_key(&self) -> &str {
        self.list(1)
    }

    fn cipher(&self, to_server: bool) -> &str {
        self.list(if to_server { 2 } else { 3 })
    }

    fn mac(&self, to_server: bool) -> &str {
        self.list(if to_server { 4 } else { 5 })
    }

    fn compression(&self, to_server: bool) -> &str {
        self.list(if to_server { 6 } else { 7 })
    }

    /// HASSH (client) or hasshServer: MD5 of key exchange, cipher, MAC and compression lists in the own direction.
    fn hassh(&self, client: bool) -> String {
        let mut md5 = Md5::new();
        for (i, list) in
            [self.kex(), self.cipher(client), self.mac(client), self.compression(client)].iter().enumerate()
        {
            if i > 0 {
                md5.update(b";");
            }
            md5.update(list.as_bytes());
        }
        format!("{:032x}", u128::from_be_bytes(md5.finalize().into()))
    }
}

const DISCONNECT: u8 = 1;
const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;
/// Numbers of the key exchange method (RFC 4250, 4.1.1).
const KEX_FIRST: u8 = 30;
const KEX_LAST: u8 = 49;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let padding = 4 + (8 - (payload.len() + 9) % 8) % 8;
        let length = u32::try_from(1 + payload.len() + padding).unwrap();
        let mut out = length.to_be_bytes().to_vec();
        out.push(u8::try_from(padding).unwrap());
        out.extend_from_slice(payload);
        out.extend(std::iter::repeat_n(0, padding));
        out
    }

    fn kexinit(kex: &str, guesses: bool) -> Vec<u8> {
        let mut body = vec![KEXINIT];
        body.extend([7; 16]);
        let lists =
            [kex, "ssh-ed25519", "aes128-ctr", "aes128-ctr", "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""];
        for list in lists {
            body.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
            body.extend(list.as_bytes());
        }
        body.push(u8::from(guesses));
        body.extend([0; 4]);
        packet(&body)
    }

    /// A whole handshake as OpenSSH does it, the client in `client`'s direction.
    fn handshake(client: Direction, banner: &str, kex: &str) -> Vec<(Direction, Vec<u8>)> {
        let server = client.flip();
        let group = kex.contains("group-exchange");
        let mut turns = vec![
            (client, format!("{banner}\r\n").into_bytes()),
            (server, b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
            (client, kexinit(kex, false)),
            (server, kexinit(kex, false)),
        ];
        if group {
            turns.extend([(client, packet(&[34, 1])), (server, packet(&[31, 2])), (client, packet(&[32, 3]))]);
            turns.push((server, [packet(&[33, 4]), packet(&[NEWKEYS])].concat()));
        } else {
            turns.push((client, packet(&[30, 1])));
            turns.push((server, [packet(&[31, 2]), packet(&[NEWKEYS])].concat()));
        }
        turns.extend([
            (client, packet(&[NEWKEYS])),
            (client, vec![0xa5; 44]),
            (server, vec![0x5a; 44]),
            (client, vec![0xc3; 60]),
        ]);
        turns
    }

    fn run(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&SSH, &turns, piece)
    }

    fn attribute(events: &[Event], wanted: Key) -> Option<&str> {
        events.iter().find_map(|e| match &e.kind {
            EventKind::Attribute { key, value } if *key == wanted => Some(value.as_str()),
            _ => None,
        })
    }

    /// Each closed loop in order of its answer: method, who answered, milliseconds.
    fn loops(events: &[Event]) -> Vec<(&'static str, Direction, u128)> {
        let mut asked = std::collections::HashMap::new();
        let mut closed = Vec::new();
        for event in events {
            match event.kind {
                EventKind::Ask(l) => assert!(asked.insert(l, event.at).is_none(), "asked twice: {l:?}"),
                EventKind::Answer(l) => {
                    if let Some(at) = asked.remove(&l) {
                        closed.push((l.method, event.dir, event.at.since(at).unwrap().as_millis()));
                    }
                }
                _ => {}
            }
        }
        closed
    }

    #[test]
    fn a_handshake_tells_names_algorithms_and_closed_loops() {
        let events = run(&handshake(Orig, "SSH-2.0-OpenSSH_8.9", "curve25519-sha256"), 4096);
        assert_eq!(attribute(&events, CLIENT_BANNER), Some("SSH-2.0-OpenSSH_8.9"));
        assert_eq!(attribute(&events, SERVER_BANNER), Some("SSH-2.0-OpenSSH_9.6"));
        assert_eq!(attribute(&events, KEX), Some("curve25519-sha256"));
        assert_eq!(attribute(&events, MAC), Some("hmac-sha2-256"));
        // md5 of "curve25519-sha256;aes128-ctr;hmac-sha2-256;none", by md5sum.
        assert_eq!(attribute(&events, HASSH), Some("e97d07603350d1111ec2b64bf25413c9"));
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        let expected = [
            ("banner", Orig, 1),
            ("kex-init", Resp, 1),
            ("kex-reply", Orig, 1),
            ("service-request", Resp, 1),
            ("service-accept", Orig, 1),
        ];
        assert_eq!(loops(&events), expected);
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Settled).count(), 1);
    }

    #[test]
    fn the_end_that_accepted_the_connection_may_be_the_client() {
        let events = run(&handshake(Resp, "SSH-2.0-OpenSSH_8.9", "curve25519-sha256"), 4096);
        assert_eq!(attribute(&events, CLIENT_BANNER), Some("SSH-2.0-OpenSSH_8.9"));
        assert!(loops(&events).contains(&("kex-reply", Resp, 1)));
    }

    #[test]
    fn group_exchange_closes_two_loops_more() {
        let events = run(&handshake(Orig, "SSH-2.0-OpenSSH_8.9", "diffie-hellman-group-exchange-sha256"), 4096);
        let methods: Vec<_> = loops(&events).iter().map(|l| l.0).collect();
        let expected =
            ["banner", "gex-request", "gex-group", "kex-init", "kex-reply", "service-request", "service-accept"];
        assert_eq!(methods, expected);
    }

    #[test]
    fn a_client_that_need_not_wait_gives_no_round_trip() {
        // Unknown software: it may send KEXINIT and authentication blind, so only cryptographic loops count.
        let methods = |banner| loops(&run(&handshake(Orig, banner, "curve25519-sha256"), 4096)).len();
        assert_eq!((methods("SSH-2.0-OpenSSH_8.9"), methods("SSH-2.0-dropbear_2022.83")), (5, 3));
        assert_eq!(
            (methods("SSH-2.0-PuTTY_Release_0.74"), methods("SSH-2.0-OpenSSHish"), methods("SSH-2.0-Go")),
            (4, 3, 3)
        );
        // KEXINIT on its way before the server's version passed.
        let mut turns = handshake(Orig, "SSH-2.0-OpenSSH_8.9", "curve25519-sha256");
        turns.swap(1, 2);
        assert!(!loops(&run(&turns, 4096)).iter().any(|l| l.0 == "banner"));
        // A version said only after the server's.
        turns = handshake(Orig, "SSH-2.0-OpenSSH_8.9", "curve25519-sha256");
        turns.swap(0, 1);
        assert!(!loops(&run(&turns, 4096)).iter().any(|l| l.0 == "banner"));
        // A wrong guess is ignored by the server, so it asks nothing.
        turns = handshake(Orig, "SSH-2.0-OpenSSH_8.9", "curve25519-sha256");
        turns[2].1 = kexinit("ecdh-sha2-nistp256,curve25519-sha256", true);
        turns.insert(4, (Orig, packet(&[30, 0])));
        assert!(loops(&run(&turns, 4096)).contains(&("kex-init", Resp, 1)));
    }

    #[test]
    fn unasked_ext_info_closes_no_loop() {
        let kex = "curve25519-sha256,ext-info-c";
        let methods: Vec<_> =
            loops(&run(&handshake(Orig, "SSH-2.0-OpenSSH_8.9", kex), 4096)).iter().map(|l| l.0).collect();
        assert!(methods.contains(&"kex-reply") && !methods.contains(&"service-request"), "{methods:?}");
        let mut turns = handshake(Orig, "SSH-2.0-OpenSSH_8.9", kex);
        turns[5].1.extend([9; 50]);
        assert_eq!(loops(&run(&turns, 4096)).len(), 5);
    }

    #[test]
    fn lines_before_the_version_are_told() {
        let mut turns = handshake(Orig, "SSH-2.0-OpenSSH_8.9", "curve25519-sha256");
        turns[1].1 = b"Authorised use only\r\n\r\nSSH-2.0-X\r\n".to_vec();
        let events = run(&turns, 4096);
        assert_eq!(attribute(&events, PRE_BANNER), Some("Authorised use only"));
        assert_eq!(attribute(&events, SERVER_BANNER), Some("SSH-2.0-X"));
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&SSH, Carrier::Stream, orig, resp);
        assert_eq!(probe(b"", b"hello\r\nSSH-2.0-X\r\n"), Probe::Match);
        assert_eq!(probe(b"", b"220 mail"), Probe::NeedMore);
        assert_eq!(probe(b"EHLO x", b"220 mail"), Probe::NoMatch);
        assert_eq!(probe(b"GET / HTTP/1.1", b""), Probe::NoMatch);
        assert_eq!(probe(b"SS", b""), Probe::NeedMore);
        assert_eq!(probe(b"", b"\0\0"), Probe::NoMatch);
        // What one end has begun with rules SSH out, whatever comes later or from the other end.
        assert_eq!(probe(b"", b"\0\0\nSSH-2.0-X\r\n"), Probe::NoMatch);
        assert_eq!(probe(b"GET", b"SSH-2.0-X\r\n"), Probe::NoMatch);
        assert_eq!(probe(b"SSH-2.0-x", b"\0\0"), Probe::NoMatch);
        assert_eq!(probe(b"", b"SSH-2.0-X\r\n\0\0\x04\x14"), Probe::Match);
    }

    #[test]
    fn another_protocol_spoken_to_a_server_is_not_confirmed() {
        let events = run(&[(Resp, b"SSH-2.0-X\r\n".to_vec()), (Orig, b"GET / HTTP/1.0\r\n\r\n".to_vec())], 4096);
        assert!(!events.iter().any(|e| e.kind == EventKind::Confirmed));
        assert!(events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
    }

    #[test]
    fn long_lists_are_compared_in_good_time() {
        let list = |from: u32| {
            (from..from + 15_000).map(|i| char::from_u32(0x4e00 + i).unwrap().to_string()).collect::<Vec<_>>().join(",")
        };
        assert_eq!(agree(&list(0), &list(15_000)), None);
        assert_eq!(agree("a,kex-strict-c-v00@openssh.com,b,c", "kex-strict-c-v00@openssh.com,c,b"), Some("b"));
    }

    #[test]
    fn a_client_that_begins_with_another_line_is_told_alike_for_any_cut() {
        for said in [&b"&\0\n"[..], b"\n", b"SSH\n", b"hello\nSSH-2.0-x\n"] {
            let turns = [(Orig, said.to_vec())];
            let whole = run(&turns, usize::MAX);
            assert!(
                matches!(whole[0].kind, EventKind::Violation(_)) && whole[1].kind == EventKind::Settled,
                "{whole:?}"
            );
            assert_eq!((whole.len(), &whole), (2, &run(&turns, 1)));
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..200, group: bool) {
            let kex = if group { "diffie-hellman-group-exchange-sha256" } else { "curve25519-sha256" };
            let turns = handshake(Orig, "SSH-2.0-OpenSSH_8.9", kex);
            prop_assert_eq!(run(&turns, piece), run(&turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..12),
            greeted: bool,
        ) {
            let mut all = Vec::new();
            if greeted {
                all.extend([(Orig, b"SSH-2.0-a\n".to_vec()), (Resp, b"SSH-2.0-b\n".to_vec())]);
            }
            all.extend(turns.into_iter().map(|(orig, bytes)| (if orig { Orig } else { Resp }, bytes)));
            run(&all, 7);
        }
    }
}

//! A DTLS handshake between two ends: fragments put together, what its messages say, and its closed loops.
//!
//! Reads: the records of RFC 6347 (1.0 and 1.2) and RFC 9147 (1.3). Emits, to whoever reads the flow: the attributes
//! that TLS has too, the SRTP profiles (RFC 5764), the connection identifier (RFC 9146), and round trips. Does not:
//! decrypt, name the flow, or keep more than two unfinished messages of each end.
//!
//! Round trips (docs/protocols/dtls.md): `client-hello`, `hello-verify`, `hello-retry`, `server-hello-done`,
//! `client-finished`, `server-finished`, `server-flight`; `handshake-through-relay` for all of them where TURN lies
//! between. A message sent again keeps its number, which makes its loop ambiguous.

use super::client_hello::{ClientHello, Transport, is_tls13};
use super::dtls_record::{Fragment, Records, handshake};
use super::hello_attributes::{chosen, offered};
use super::server_hello::ServerHello;
use super::tls_record::content;
use super::x509::CertificateNames;
use crate::base::{Direction, Ends, Events, Key, Layer, Reader, Timestamp};

const SRTP_OFFERED: Key = "dtls.srtp_offered";
const SRTP: Key = "dtls.srtp";
const CONNECTION_ID: Key = "dtls.connection_id";
const COOKIE: Key = "dtls.cookie";
const CLIENT: Key = "dtls.client";

const CONNECTION_ID_EXTENSION: u16 = 54;
const USE_SRTP_EXTENSION: u16 = 14;

/// The longest message put together; chains of certificates are seldom above 10 KiB.
const MESSAGE_LIMIT: usize = 32 * 1024;
/// Unfinished messages of one end.
const SLOTS: usize = 2;
/// Separate pieces of an unfinished message.
const PIECES: usize = 8;

/// What a handshake has come to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// A hello, or a request for a cookie, was read.
    pub hello: bool,
    /// Both ends have said theirs.
    pub agreed: bool,
    /// Keys for SRTP are to come of it.
    pub srtp: bool,
    /// The client names a server, as programs with a fixed server do and browsers' calls don't.
    pub named: bool,
    /// The client says by ALPN that it is a call.
    pub call: bool,
    /// Both ends have gone over to encrypted records.
    pub finished: bool,
}

/// Reads one flow's handshake.
#[derive(Debug, Default)]
pub struct Dtls {
    ends: Ends<End>,
    client: Option<Direction>,
    tls13: bool,
    /// ServerHelloDone was seen: not an abbreviated handshake.
    full: bool,
    open: Option<Open>,
    through_relay: bool,
    /// What it has come to.
    pub progress: Progress,
}

/// A loop whose answer has not come.
#[derive(Debug, Clone, Copy)]
struct Open {
    method: &'static str,
    at: Timestamp,
    dir: Direction,
    /// Number of the message that asks.
    sequence: u16,
    repeated: bool,
}

#[derive(Debug, Default)]
struct End {
    slots: [Option<Slot>; SLOTS],
    /// Numbers of messages read, one bit each: the first 64.
    read: u64,
    changed: bool,
}

/// An unfinished message.
#[derive(Debug)]
struct Slot {
    kind: u8,
    sequence: u16,
    bytes: Vec<u8>,
    /// What has come: start and end, sorted and apart.
    have: Vec<(usize, usize)>,
}

impl Slot {
    /// Takes a fragment in; whether the message is whole.
    fn add(&mut self, fragment: &Fragment<'_>) -> bool {
        let (start, end) = (fragment.offset, fragment.offset + fragment.bytes.len());
        let Some(place) = self.bytes.get_mut(start..end) else { return false };
        place.copy_from_slice(fragment.bytes);
        self.have.push((start, end));
        self.have.sort_unstable();
        self.have.dedup_by(|next, held| {
            let joins = next.0 <= held.1;
            if joins {
                held.1 = held.1.max(next.1);
            }
            joins
        });
        self.have.truncate(PIECES);
        self.have.first() == Some(&(0, self.bytes.len()))
    }
}

/// Who sent a message, and when.
#[derive(Debug, Clone, Copy)]
struct Passed {
    at: Timestamp,
    dir: Direction,
    sequence: u16,
}

impl Dtls {
    /// A datagram of the flow that begins like a DTLS record. `through_relay` says that it comes from a peer behind a
    /// relay in the flow, so that what it answers went there and back.
    pub fn on_datagram(
        &mut self,
        at: Timestamp,
        dir: Direction,
        datagram: &[u8],
        through_relay: bool,
        events: &mut Events,
    ) {
        self.through_relay = through_relay;
        if self.progress.finished {
            return;
        }
        for record in Records::new(datagram) {
            match (record.kind, record.epoch) {
                (content::HANDSHAKE, 0) => {
                    let mut r = Reader::new(record.content);
                    while let Some(fragment) = Fragment::take(&mut r) {
                        self.on_fragment(Passed { at, dir, sequence: fragment.sequence }, &fragment, events);
                    }
                }
                (content::CHANGE_CIPHER_SPEC, 0) => self.on_change(at, dir, events),
                (content::HANDSHAKE, 1..) => self.on_protected_handshake(at, dir, events),
                (content::APPLICATION, 1..) => self.on_protected_data(dir),
                _ => {}
            }
        }
    }

    fn on_fragment(&mut self, passed: Passed, fragment: &Fragment<'_>, events: &mut Events) {
        // The client's next message answers what the server asked last.
        self.close_with(fragment.kind, passed, events);
        let end = self.ends.of_mut(passed.dir);
        let bit = 1u64.checked_shl(u32::from(fragment.sequence)).unwrap_or(0);
        if end.read & bit != 0 {
            self.on_repeat(passed);
            return;
        }
        if fragment.offset == 0 && fragment.bytes.len() == fragment.total {
            end.read |= bit;
            return self.on_message(fragment.kind, fragment.bytes, passed, events);
        }
        if fragment.total > MESSAGE_LIMIT {
            return;
        }
        let known = end.slots.iter().position(|slot| slot.as_ref().is_some_and(|s| s.sequence == fragment.sequence));
        let place = known.or_else(|| end.slots.iter().position(Option::is_none)).unwrap_or(0);
        let Some(slot) = end.slots.get_mut(place) else { return };
        let fits = slot
            .as_ref()
            .is_some_and(|s| (s.sequence, s.kind, s.bytes.len()) == (fragment.sequence, fragment.kind, fragment.total));
        if !fits {
            let bytes = vec![0; fragment.total];
            *slot = Some(Slot { kind: fragment.kind, sequence: fragment.sequence, bytes, have: Vec::new() });
        }
        if slot.as_mut().is_some_and(|slot| slot.add(fragment))
            && let Some(whole) = slot.take()
        {
            end.read |= bit;
            self.on_message(whole.kind, &whole.bytes, passed, events);
        }
    }

    fn on_message(&mut self, kind: u8, body: &[u8], passed: Passed, events: &mut Events) {
        match kind {
            handshake::CLIENT_HELLO => self.client_hello(body, passed, events),
            handshake::HELLO_VERIFY_REQUEST => self.hello_verify(passed, events),
            handshake::SERVER_HELLO => self.server_hello(body, passed, events),
            handshake::CERTIFICATE => self.certificate(body, passed, events),
            handshake::SERVER_HELLO_DONE if self.client == Some(passed.dir.flip()) => {
                self.full = true;
                events.attribute(passed.at, passed.dir, "tls.resumed", "false");
                self.ask("server-hello-done", passed);
            }
            _ => {}
        }
    }

    fn client_hello(&mut self, body: &[u8], passed: Passed, events: &mut Events) {
        let Some(hello) = ClientHello::parse(body, Transport::Dtls) else { return };
        let Passed { at, dir, .. } = passed;
        if self.client.replace(dir).is_none() {
            events.attribute(at, dir, CLIENT, if dir == Direction::Orig { "client" } else { "server" });
        }
        self.agree(self.progress.hello);
        if !self.progress.hello || self.open.is_none() {
            offered(&hello, |key, value| events.attribute(at, dir, key, value));
            self.client_extensions(&hello, passed, events);
        }
        self.progress.hello = true;
        self.progress.named |= hello.server_name.is_some();
        self.progress.call |= hello.alpn.into_iter().any(is_webrtc);
        self.ask("client-hello", passed);
    }

    fn client_extensions(&mut self, hello: &ClientHello<'_>, passed: Passed, events: &mut Events) {
        for (kind, value) in hello.extensions {
            match kind {
                USE_SRTP_EXTENSION => {
                    let mut list = Reader::new(value).block_u16().unwrap_or(Reader::new(&[]));
                    let names: Vec<String> =
                        std::iter::from_fn(|| list.u16()).take(PROFILES).map(srtp_profile).collect();
                    self.progress.srtp = true;
                    events.attribute(passed.at, passed.dir, SRTP_OFFERED, names.join(","));
                }
                CONNECTION_ID_EXTENSION => events.attribute(passed.at, passed.dir, CONNECTION_ID, "offered"),
                _ => {}
            }
        }
    }

    fn hello_verify(&mut self, passed: Passed, events: &mut Events) {
        if self.client == Some(passed.dir) {
            return;
        }
        self.client = Some(passed.dir.flip());
        events.attribute(passed.at, passed.dir, COOKIE, "true");
        self.agree(self.progress.hello);
        self.progress.hello = true;
        self.ask("hello-verify", passed);
    }

    fn server_hello(&mut self, body: &[u8], passed: Passed, events: &mut Events) {
        let Some(hello) = ServerHello::parse(body).filter(|_| self.client != Some(passed.dir)) else { return };
        let Passed { at, dir, .. } = passed;
        self.client = Some(dir.flip());
        self.agree(self.progress.hello);
        self.progress.hello = true;
        if hello.retry {
            events.attribute(at, dir, "tls.hrr", "true");
            return self.ask("hello-retry", passed);
        }
        chosen(&hello, |key, value| events.attribute(at, dir, key, value));
        self.tls13 = is_tls13(hello.version) || hello.version == DTLS13;
        for (kind, value) in hello.extensions {
            if kind == USE_SRTP_EXTENSION
                && let Some(profile) = Reader::new(value).block_u16().and_then(|mut list| list.u16())
            {
                self.progress.srtp = true;
                events.attribute(at, dir, SRTP, srtp_profile(profile));
            }
        }
        if self.tls13 {
            self.ask("server-flight", passed);
        }
    }

    fn certificate(&mut self, body: &[u8], passed: Passed, events: &mut Events) {
        let leaf = Reader::new(body).block_u24().and_then(|mut list| list.block_u24());
        let Some(names) = leaf.and_then(|leaf| CertificateNames::parse(leaf.rest())) else { return };
        let Passed { at, dir, .. } = passed;
        if self.client == Some(dir) {
            events.attribute(at, dir, "tls.client_cert_subject", names.subject);
            return;
        }
        events.attribute(at, dir, "tls.cert_subject", names.subject);
        events.attribute(at, dir, "tls.cert_issuer", names.issuer);
        if !names.alternative.is_empty() {
            events.attribute(at, dir, "tls.cert_san", names.alternative);
        }
    }

    fn on_change(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        // A resumed client changes after the server's Finished.
        self.close("server-finished", at, dir, events);
        let first = !std::mem::replace(&mut self.ends.of_mut(dir).changed, true);
        if first && self.client == Some(dir.flip()) {
            self.close("client-finished", at, dir, events);
            // In a full handshake the client changes first, whatever of it was not captured.
            if !self.full && !self.ends.of(dir.flip()).changed {
                events.attribute(at, dir, "tls.resumed", "true");
            }
        }
    }

    /// An encrypted Finished, or of DTLS 1.3 any message after the ServerHello.
    fn on_protected_handshake(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let client = self.client == Some(dir);
        if self.tls13 {
            if client {
                self.close("server-flight", at, dir, events);
            }
        } else if self.open.is_none() && self.client.is_some() && !self.ends.of(dir.flip()).changed {
            // The first Finished; its number is encrypted, and it is asked once.
            self.ask(
                if client { "client-finished" } else { "server-finished" },
                Passed { at, dir, sequence: u16::MAX },
            );
        } else if self.open.is_some_and(|open| open.dir == dir && open.sequence == u16::MAX) {
            self.on_repeat(Passed { at, dir, sequence: u16::MAX });
        }
        self.on_protected_data(dir);
    }

    fn on_protected_data(&mut self, dir: Direction) {
        self.ends.of_mut(dir).changed = true;
        self.progress.finished |=
            self.ends.orig.changed && self.ends.resp.changed && self.open.is_none() && self.progress.agreed;
    }

    fn agree(&mut self, other_end_spoke: bool) {
        self.progress.agreed |= other_end_spoke && self.client.is_some();
    }

    fn ask(&mut self, method: &'static str, passed: Passed) {
        let Passed { at, dir, sequence } = passed;
        self.open = Some(Open { method, at, dir, sequence, repeated: false });
    }

    fn on_repeat(&mut self, passed: Passed) {
        if let Some(open) = self.open.as_mut().filter(|o| o.dir == passed.dir && o.sequence == passed.sequence) {
            open.repeated = true;
        }
    }

    /// Closes the loop that a handshake message in clear answers.
    fn close_with(&mut self, kind: u8, passed: Passed, events: &mut Events) {
        let Some(open) = self.open else { return };
        let answers = match open.method {
            "client-hello" => matches!(kind, handshake::HELLO_VERIFY_REQUEST | handshake::SERVER_HELLO),
            "hello-verify" | "hello-retry" => kind == handshake::CLIENT_HELLO,
            // The client's Certificate or ClientKeyExchange.
            "server-hello-done" => kind != handshake::CLIENT_HELLO,
            _ => false,
        };
        // A hello sent again keeps its number; the one that brings the cookie has the next.
        let old = self.ends.of(passed.dir).read & 1u64.checked_shl(u32::from(passed.sequence)).unwrap_or(0) != 0;
        if answers && !old {
            self.close(open.method, passed.at, passed.dir, events);
        }
    }

    fn close(&mut self, method: &'static str, at: Timestamp, dir: Direction, events: &mut Events) {
        let Some(open) = self.open.filter(|open| open.method == method && open.dir == dir.flip()) else { return };
        self.open = None;
        let method = if self.through_relay { "handshake-through-relay" } else { method };
        events.ask(open.at, open.dir, Layer::Dtls, method);
        if open.repeated {
            events.ask(open.at, open.dir, Layer::Dtls, method);
        }
        events.answer(at, dir, Layer::Dtls, method);
    }
}

const DTLS13: u16 = 0xfefc;
/// Profiles listed.
const PROFILES: usize = 8;

/// The IANA name of an SRTP protection profile.
fn srtp_profile(number: u16) -> String {
    match number {
        0x0001 => "SRTP_AES128_CM_HMAC_SHA1_80".into(),
        0x0002 => "SRTP_AES128_CM_HMAC_SHA1_32".into(),
        0x0005 => "SRTP_NULL_HMAC_SHA1_80".into(),
        0x0006 => "SRTP_NULL_HMAC_SHA1_32".into(),
        0x0007 => "SRTP_AEAD_AES_128_GCM".into(),
        0x0008 => "SRTP_AEAD_AES_256_GCM".into(),
        other => format!("{other:#06x}"),
    }
}

/// ALPN by which a browser says that the session is a call (RFC 8833).
fn is_webrtc(name: &[u8]) -> bool {
    matches!(name, b"webrtc" | b"c-webrtc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::EventKind;
    use Direction::{Orig, Resp};
    use proptest::prelude::*;

    fn fragment(kind: u8, sequence: u8, body: &[u8], from: usize, to: usize) -> Vec<u8> {
        let three = |n: usize| u32::try_from(n).unwrap().to_be_bytes()[1..].to_vec();
        [vec![kind], three(body.len()), vec![0, sequence], three(from), three(to - from), body[from..to].to_vec()]
            .concat()
    }

    fn record(kind: u8, epoch: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        [&[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0][..], &length.to_be_bytes(), content].concat()
    }

    fn whole(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
        record(22, 0, &fragment(kind, sequence, body, 0, body.len()))
    }

    fn client_hello(cookie: &[u8]) -> Vec<u8> {
        let srtp = [0, 14, 0, 7, 0, 4, 0, 7, 0, 1, 0];
        let mut body = [&[0xfe, 0xfd][..], &[7; 32], &[0, u8::try_from(cookie.len()).unwrap()], cookie].concat();
        body.extend([0, 2, 0xc0, 0x2b, 1, 0, 0, 11]);
        body.extend(srtp);
        body
    }

    fn server_hello() -> Vec<u8> {
        [&[0xfe, 0xfd][..], &[8; 32], &[0, 0xc0, 0x2b, 0, 0, 9, 0, 14, 0, 5, 0, 2, 0, 7, 0]].concat()
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> (Progress, Vec<EventKind>) {
        let (mut dtls, mut events) = (Dtls::default(), Events::default());
        for (i, (dir, bytes)) in turns.iter().enumerate() {
            let at = Timestamp::from_nanos(i64::try_from(i).unwrap() * 1_000_000);
            dtls.on_datagram(at, *dir, bytes, false, &mut events);
        }
        (dtls.progress, events.drain().map(|event| event.kind).collect())
    }

    fn loops(events: &[EventKind]) -> Vec<&'static str> {
        let told = |kind: &EventKind| if let EventKind::Answer(of) = kind { Some(of.method) } else { None };
        events.iter().filter_map(told).collect()
    }

    fn said<'e>(events: &'e [EventKind], wanted: &str) -> Option<&'e str> {
        events.iter().find_map(|kind| match kind {
            EventKind::Attribute { key, value } if *key == wanted => Some(&value[..]),
            _ => None,
        })
    }

    fn handshake() -> Vec<(Direction, Vec<u8>)> {
        vec![
            (Orig, whole(1, 0, &client_hello(b""))),
            (Resp, whole(3, 0, &[0xfe, 0xff, 2, 1, 2])),
            (Orig, whole(1, 1, &client_hello(b"\x01\x02"))),
            (Resp, [whole(2, 1, &server_hello()), whole(14, 2, b"")].concat()),
            (Orig, [whole(16, 2, &[3; 40]), record(20, 0, &[1]), record(22, 1, &[9; 40])].concat()),
            (Resp, [record(20, 0, &[1]), record(22, 1, &[9; 40])].concat()),
        ]
    }

    #[test]
    fn a_handshake_with_cookie_closes_its_loops() {
        let (progress, events) = run(&handshake());
        assert_eq!(
            loops(&events),
            ["client-hello", "hello-verify", "client-hello", "server-hello-done", "client-finished"]
        );
        assert!(progress.agreed && progress.finished && progress.srtp && !progress.named);
        assert_eq!(said(&events, SRTP_OFFERED), Some("SRTP_AEAD_AES_128_GCM,SRTP_AES128_CM_HMAC_SHA1_80"));
        assert_eq!(said(&events, SRTP), Some("SRTP_AEAD_AES_128_GCM"));
        assert_eq!((said(&events, COOKIE), said(&events, "tls.version")), (Some("true"), Some("DTLSv1.2")));
        assert_eq!(said(&events, "tls.resumed"), Some("false"));
    }

    #[test]
    fn an_abbreviated_handshake_waits_for_the_server() {
        let (progress, events) = run(&[
            (Orig, whole(1, 0, &client_hello(b""))),
            (Resp, [whole(2, 0, &server_hello()), record(20, 0, &[1]), record(22, 1, &[9; 40])].concat()),
            (Orig, [record(20, 0, &[1]), record(22, 1, &[9; 40])].concat()),
        ]);
        assert_eq!(loops(&events), ["client-hello", "server-finished"]);
        assert_eq!(said(&events, "tls.resumed"), Some("true"));
        assert!(progress.finished);
    }

    #[test]
    fn a_hello_sent_again_makes_its_loop_ambiguous() {
        let hello = whole(1, 0, &client_hello(b""));
        let (_, events) = run(&[(Orig, hello.clone()), (Orig, hello), (Resp, whole(2, 0, &server_hello()))]);
        assert_eq!(loops(&events), ["client-hello"]);
        assert_eq!(events.iter().filter(|kind| matches!(kind, EventKind::Ask(_))).count(), 2);
    }

    #[test]
    fn fragments_are_put_together_in_any_order() {
        let hello = client_hello(b"\x05\x06");
        let part = |from, to| record(22, 0, &fragment(1, 0, &hello, from, to));
        let whole = run(&[(Orig, part(0, hello.len()))]).1;
        let cut = run(&[(Orig, part(20, 40)), (Orig, part(35, hello.len())), (Orig, part(0, 25))]).1;
        assert_eq!(cut, whole);
        assert!(run(&[(Orig, part(20, 40)), (Orig, part(0, 15))]).1.is_empty());
    }

    proptest! {
        #[test]
        fn hostile_datagrams_never_panic(
            turns in prop::collection::vec((any::<bool>(), 0usize..7, prop::collection::vec(any::<u8>(), 0..80)), 0..12),
        ) {
            let real = handshake();
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(resp, which, noise)| {
                    let mut bytes = real.get(which).map(|(_, bytes)| bytes.clone()).unwrap_or_default();
                    bytes.truncate(noise.first().map_or(13, |n| usize::from(*n)));
                    (if resp { Resp } else { Orig }, [bytes, noise].concat())
                })
                .collect();
            run(&turns);
        }
    }
}

//! Kerberos 5: who asks for a ticket, and who gets one.
//!
//! Reads: the exchanges with a key distribution center, over UDP and TCP: the names in clear in requests, replies and
//! errors. Emits: claims (`kerberos`), realm and error. Does not: decrypt, read authorization data, or follow what a
//! ticket is used for.
//!
//! Reference: RFC 4120. The messages' ASN.1 is read by the crate `kerberos-parser`.

use crate::base::{Direction, Ends, IdentityKind, Sureness, Timestamp, Whereabouts};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};
use kerberos_parser::krb5::{KrbError, PrincipalName, Realm};
use kerberos_parser::krb5_parser::{parse_as_rep, parse_as_req, parse_tgs_rep, parse_tgs_req};
use x509_parser::prelude::FromDer;

/// The registry's entry.
pub(super) static KERBEROS: Protocol = Protocol {
    name: "kerberos",
    category: Category::Identity,
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[88],
    attributes: &[REALM, ERROR],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Kerberos::default()),
};

const REALM: Key = "kerberos.realm";
const ERROR: Key = "kerberos.error";

/// A ticket with much authorization data takes some tens of kilobytes.
const INBOX_LIMIT: usize = 128 * 1024;
const MAX_NAME: usize = 256;

/// The messages with a center, by their application tags (RFC 4120, 5.4 and 5.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    AsReq,
    AsRep,
    TgsReq,
    TgsRep,
    Error,
}

impl Tag {
    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0x6a => Self::AsReq,
            0x6b => Self::AsRep,
            0x6c => Self::TgsReq,
            0x6d => Self::TgsRep,
            0x7e => Self::Error,
            _ => return None,
        })
    }

    const fn is_request(self) -> bool {
        matches!(self, Self::AsReq | Self::TgsReq)
    }
}

/// What the head of a message shows.
enum Head {
    /// The length in DER agrees with the length around it, and version 5 or a name follows.
    Fits,
    More,
    Not,
}

/// Reads the outermost two headers: an application tag, a sequence that fills it, and the first field of that.
fn head(message: &[u8], whole: Option<usize>) -> Head {
    let Some(first) = message.first() else { return Head::More };
    if Tag::of(*first).is_none() {
        return Head::Not;
    }
    let Some((outer, rest)) = length(message) else { return more_or_not(message) };
    if whole.is_some_and(|whole| outer != whole) {
        return Head::Not;
    }
    match rest.first() {
        None => return Head::More,
        Some(0x30) => {}
        Some(_) => return Head::Not,
    }
    let Some((inner, fields)) = length(rest) else { return more_or_not(rest) };
    if outer.checked_sub(inner) != Some(message.len() - rest.len()) {
        return Head::Not;
    }
    // [1] or [0] INTEGER 5: the version.
    match fields {
        [0xa0 | 0xa1, 3, 2, 1, 5, ..] => Head::Fits,
        [0xa0 | 0xa1, 3, 2, 1] | [0xa0 | 0xa1, 3, 2] | [0xa0 | 0xa1, 3] | [0xa0 | 0xa1] | [] => Head::More,
        _ => Head::Not,
    }
}

fn more_or_not(bytes: &[u8]) -> Head {
    if bytes.len() < 6 { Head::More } else { Head::Not }
}

/// The length of a DER element, header included, and what follows the header.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.get(1..)?.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(*first & 0x7f))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    Some((bytes.len() - rest.len() + len, rest))
}

fn probe(opening: &Opening<'_>) -> Probe {
    let read = |bytes: &[u8]| match opening.carrier {
        Carrier::Stream => framed(bytes),
        _ if bytes.is_empty() => Head::More,
        _ => match head(bytes, Some(bytes.len())) {
            Head::More => Head::Not,
            other => other,
        },
    };
    match (read(opening.sent.orig), read(opening.sent.resp)) {
        (Head::Not, _) | (_, Head::Not) => Probe::NoMatch,
        (Head::Fits, _) | (_, Head::Fits) => Probe::Match,
        (Head::More, Head::More) => Probe::NeedMore,
    }
}

/// Over TCP a message has its length before it (RFC 4120, 7.2.2).
fn framed(bytes: &[u8]) -> Head {
    match bytes {
        [] => Head::More,
        [0, 0..=1, _, _, message @ ..] => {
            let len = bytes.first_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b));
            head(message, usize::try_from(len).ok())
        }
        [0] | [0, 0..=1] | [0, 0..=1, _] => Head::More,
        _ => Head::Not,
    }
}

/// Reads one exchange, or several on one connection.
#[derive(Debug)]
struct Kerberos {
    inboxes: Ends<Inbox>,
    /// A request of this end waits for its answer: whose name it was.
    asked: Option<(Direction, Timestamp, Option<Named>)>,
    confirmed: bool,
    done: bool,
}

impl Default for Kerberos {
    fn default() -> Self {
        let inbox = || Inbox::new(INBOX_LIMIT);
        Self { inboxes: Ends { orig: inbox(), resp: inbox() }, asked: None, confirmed: false, done: false }
    }
}

impl Analyzer for Kerberos {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier != Carrier::Stream {
            // What the snap length cut can't be read in full; names stand at the front, but DER wants the whole.
            if pdu.missing == 0 {
                self.on_message(pdu.at, pdu.dir, pdu.bytes, events);
            }
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.give_up(pdu.at, pdu.dir, "kerberos.message-too-long", events);
            return;
        }
        while !self.done {
            let inbox = self.inboxes.of(pdu.dir);
            let Some((prefix, rest)) = inbox.bytes().split_first_chunk::<4>() else { return };
            let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
            if len == 0 || len > INBOX_LIMIT {
                self.give_up(pdu.at, pdu.dir, "kerberos.length-out-of-range", events);
                return;
            }
            let Some(message) = rest.get(..len) else { return };
            let (at, message) = (inbox.time_of(len + 3), message.to_vec());
            self.inboxes.of_mut(pdu.dir).consume(len + 4);
            self.on_message(at, pdu.dir, &message, events);
        }
    }

    fn on_close(&mut self, _at: Timestamp, events: &mut Events) {
        // Nobody answered in this capture: the name was asked for all the same.
        if let Some((dir, at, Some((kind, name)))) = self.asked.take() {
            let claim = Claim::new("kerberos", Whereabouts::End(dir), kind, name);
            events.claim(at, dir, claim.worth(Sureness::Asked));
        }
    }
}

impl Kerberos {
    fn on_message(&mut self, at: Timestamp, dir: Direction, message: &[u8], events: &mut Events) {
        let tag = message.first().and_then(|byte| Tag::of(*byte));
        let read = match tag {
            Some(Tag::AsReq) => parse_as_req(message).ok().map(|(_, req)| Said::asks(req.req_body)),
            Some(Tag::TgsReq) => parse_tgs_req(message).ok().map(|(_, req)| Said::asks(req.req_body)),
            Some(Tag::AsRep) => parse_as_rep(message).ok().map(|(_, rep)| Said::gets(&rep.cname, &rep.crealm)),
            Some(Tag::TgsRep) => parse_tgs_rep(message).ok().map(|(_, rep)| Said::gets(&rep.cname, &rep.crealm)),
            Some(Tag::Error) => KrbError::from_der(message).ok().map(|(_, error)| Said {
                realm: error.realm.0,
                name: None,
                error: Some(format!("{:?}", error.error_code)),
            }),
            None => None,
        };
        let (Some(tag), Some(said)) = (tag, read) else {
            self.give_up(at, dir, "kerberos.malformed-message", events);
            return;
        };
        events.attribute(at, dir, REALM, printable(said.realm.as_bytes(), MAX_NAME));
        if tag.is_request() {
            self.asked = Some((dir, at, said.name));
            return;
        }
        let answers = self.asked.as_ref().is_some_and(|(asker, ..)| *asker == dir.flip());
        if answers && !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(at, dir);
        }
        self.asked = None;
        if let Some(error) = said.error {
            events.attribute(at, dir, ERROR, error);
        }
        if let Some((kind, name)) = said.name {
            let claim = Claim::new("kerberos", Whereabouts::End(dir.flip()), kind, name);
            events.claim(at, dir, claim.worth(Sureness::Accepted));
        }
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        self.done = true;
        events.violation(at, dir, fault);
        events.settled(at, dir);
    }
}

/// A principal: what it is, and its name with the realm.
type Named = (IdentityKind, String);

/// What a message says in clear.
struct Said {
    realm: String,
    name: Option<Named>,
    error: Option<String>,
}

impl Said {
    fn asks(body: kerberos_parser::krb5::KdcReqBody<'_>) -> Self {
        let name = body.cname.and_then(|name| principal(&name, &body.realm));
        Self { realm: body.realm.0, name, error: None }
    }

    fn gets(name: &PrincipalName, realm: &Realm) -> Self {
        Self { realm: realm.0.clone(), name: principal(name, realm), error: None }
    }
}

/// The name with its realm; of a machine (`host/…`, or Active Directory's `NAME$`), or of a user.
fn principal(name: &PrincipalName, realm: &Realm) -> Option<Named> {
    let text = printable(name.to_string().as_bytes(), MAX_NAME);
    // Anonymous principals (RFC 8062) are nobody.
    if text.is_empty() || text.starts_with("WELLKNOWN/") {
        return None;
    }
    let machine = text.ends_with('$') || text.starts_with("host/");
    let kind = if machine { IdentityKind::Host } else { IdentityKind::User };
    // A name of a trusted enterprise carries its realm already.
    let full = if text.contains('@') { text } else { format!("{text}@{}", printable(realm.0.as_bytes(), MAX_NAME)) };
    Some((kind, full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    /// A DER element.
    fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let body = parts.concat();
        let len = u16::try_from(body.len()).unwrap();
        let head =
            if len < 128 { vec![tag, len.to_be_bytes()[1]] } else { [&[tag, 0x82][..], &len.to_be_bytes()].concat() };
        [head, body].concat()
    }

    fn int(value: u8) -> Vec<u8> {
        vec![2, 1, value]
    }

    fn text(value: &str) -> Vec<u8> {
        der(0x1b, &[value.as_bytes().to_vec()])
    }

    fn name(kind: u8, parts: &[&str]) -> Vec<u8> {
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| text(part)).collect();
        der(0x30, &[der(0xa0, &[int(kind)]), der(0xa1, &[der(0x30, &parts)])])
    }

    fn as_req(user: &str) -> Vec<u8> {
        let body = der(
            0x30,
            &[
                der(0xa0, &[vec![3, 5, 0, 0x40, 0x81, 0, 0x10]]),
                der(0xa1, &[name(1, &[user])]),
                der(0xa2, &[text("CORP.EXAMPLE")]),
                der(0xa3, &[name(2, &["krbtgt", "CORP.EXAMPLE"])]),
                der(0xa5, &[der(0x18, &[b"20370913024805Z".to_vec()])]),
                der(0xa7, &[vec![2, 4, 0x12, 0x34, 0x56, 0x78]]),
                der(0xa8, &[der(0x30, &[int(18)])]),
            ],
        );
        der(0x6a, &[der(0x30, &[der(0xa1, &[int(5)]), der(0xa2, &[int(10)]), der(0xa4, &[body])])])
    }

    fn as_rep(user: &str) -> Vec<u8> {
        let sealed = || der(0x30, &[der(0xa0, &[int(18)]), der(0xa2, &[der(4, &[vec![0xab; 40]])])]);
        let ticket = der(
            0x61,
            &[der(
                0x30,
                &[
                    der(0xa0, &[int(5)]),
                    der(0xa1, &[text("CORP.EXAMPLE")]),
                    der(0xa2, &[name(2, &["krbtgt", "CORP.EXAMPLE"])]),
                    der(0xa3, &[sealed()]),
                ],
            )],
        );
        der(
            0x6b,
            &[der(
                0x30,
                &[
                    der(0xa0, &[int(5)]),
                    der(0xa1, &[int(11)]),
                    der(0xa3, &[text("CORP.EXAMPLE")]),
                    der(0xa4, &[name(1, &[user])]),
                    der(0xa5, &[ticket]),
                    der(0xa6, &[sealed()]),
                ],
            )],
        )
    }

    fn on_tcp(message: &[u8]) -> Vec<u8> {
        [&u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
    }

    fn claims(events: &[Event]) -> Vec<(String, IdentityKind, Whereabouts, Sureness)> {
        let told = |e: &Event| match &e.kind {
            EventKind::Claim(c) => Some((c.identity.name.clone(), c.identity.kind, c.place, c.sureness)),
            _ => None,
        };
        events.iter().filter_map(told).collect()
    }

    #[test]
    fn who_gets_a_ticket_is_there_and_who_only_asks_may_be() {
        let (ask, answer) = (as_req("alice"), as_rep("alice"));
        let got = testkit::datagrams(&KERBEROS, &[(Orig, &ask), (Resp, &answer)]);
        let at_client = Whereabouts::End(Orig);
        let alice = "alice@CORP.EXAMPLE".to_owned();
        assert_eq!(claims(&got), [(alice.clone(), IdentityKind::User, at_client, Sureness::Accepted)]);
        assert!(got.iter().any(|e| e.kind == EventKind::Confirmed));
        assert_eq!(testkit::said(&got, REALM), Some("CORP.EXAMPLE"));
        let asked = testkit::stream(&KERBEROS, &[(Orig, &on_tcp(&ask))], 7);
        assert_eq!(claims(&asked), [(alice, IdentityKind::User, at_client, Sureness::Asked)]);
    }

    #[test]
    fn machines_are_not_people() {
        let machine = as_rep("LAPTOP-17$");
        let ask = as_req("LAPTOP-17$");
        let got = testkit::datagrams(&KERBEROS, &[(Orig, &ask), (Resp, &machine)]);
        assert_eq!(claims(&got)[0].1, IdentityKind::Host);
    }

    #[test]
    fn other_users_of_der_and_of_the_port_are_not_kerberos() {
        let probe = |bytes: &[u8]| testkit::probe(&KERBEROS, Carrier::Datagram, bytes, b"");
        assert_eq!(probe(&as_req("alice")), Probe::Match);
        // SNMP, LDAP, a version 4 of the tag, a length that lies.
        assert_eq!(probe(b"\x30\x26\x02\x01\x01\x04\x06public"), Probe::NoMatch);
        assert_eq!(probe(&der(0x6a, &[der(0x30, &[der(0xa1, &[int(4)])])])), Probe::NoMatch);
        assert_eq!(probe(&[as_req("alice"), vec![0]].concat()), Probe::NoMatch);
        let stream = |bytes: &[u8]| testkit::probe(&KERBEROS, Carrier::Stream, bytes, b"");
        assert_eq!(stream(&on_tcp(&as_req("alice"))), Probe::Match);
        assert_eq!(stream(b"\0\0\x01"), Probe::NeedMore);
        assert_eq!(stream(b"\0\0\0\x85\xffSMB"), Probe::NoMatch);
        assert_eq!(stream(b"GET / HTTP/1.1\r\n"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..400) {
            let (ask, answer) = (on_tcp(&as_req("alice")), on_tcp(&as_rep("alice")));
            let turns: [Turn<'_>; 2] = [(Orig, &ask), (Resp, &answer)];
            prop_assert_eq!(
                testkit::stream(&KERBEROS, &turns, piece), testkit::stream(&KERBEROS, &turns, usize::MAX)
            );
        }

        #[test]
        fn random_bytes_never_panic(
            tag in prop::sample::select(vec![0x6au8, 0x6b, 0x6c, 0x6d, 0x7e, 0x30]),
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            at in 0usize..200, value in any::<u8>(),
        ) {
            let made = der(tag, &[der(0x30, &[der(0xa1, &[int(5)]), bytes])]);
            let mut bent = as_rep("alice");
            let len = bent.len();
            bent[at % len] = value;
            for message in [made, bent] {
                testkit::probe(&KERBEROS, Carrier::Datagram, &message, b"");
                testkit::datagrams(&KERBEROS, &[(Orig, &message), (Resp, &message)]);
            }
        }
    }
}

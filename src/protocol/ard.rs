//! Apple Remote Desktop's control protocol: how an administrator's Mac finds the Macs that it may manage.
//!
//! Reads: the question over UDP and the answer that describes a Mac. Emits: that both were seen. Does not: read the
//! answer (its fields are not public), or follow the screen, which is RFB of version 003.889 (see `rfb`).
//!
//! Reference: the exchange as CISA alert TA14-017A, nmap's probes and amplification scans describe it.

use crate::base::{Direction, Reader};
use crate::protocol::{Analyzer, Carrier, Category, Events, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static ARD: Protocol = Protocol {
    name: "ard",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Datagram],
    ports: &[3283],
    attributes: &[],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Ard::default()),
};

/// Kind 20, one byte: which of the tables is wanted.
const QUESTION: &[u8] = &[0, 20, 0, 1, 3];
/// The answer's kind, the length behind it, and the number that its body begins with.
const ANSWER: u16 = 1;
const ANSWER_LEN: u16 = 1_002;
const ANSWER_BEGINS: u16 = 0x31;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Question,
    Answer,
}

fn read(bytes: &[u8]) -> Option<Message> {
    if bytes == QUESTION {
        return Some(Message::Question);
    }
    let mut reader = Reader::new(bytes);
    let fits = reader.u16() == Some(ANSWER)
        && reader.u16() == Some(ANSWER_LEN)
        && reader.len() == usize::from(ANSWER_LEN)
        && reader.u16() == Some(ANSWER_BEGINS);
    fits.then_some(Message::Answer)
}

/// Five bytes prove little by themselves; the answer's size and beginning do.
fn probe(opening: &Opening<'_>) -> Probe {
    match read(opening.sent.of(opening.newest)) {
        Some(Message::Answer) => Probe::Match,
        Some(Message::Question) => Probe::NeedMore,
        None => Probe::NoMatch,
    }
}

#[derive(Debug, Default)]
struct Ard {
    asked: Option<Direction>,
}

impl Analyzer for Ard {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        match read(pdu.bytes) {
            Some(Message::Question) => self.asked = Some(pdu.dir),
            Some(Message::Answer) => {
                if self.asked == Some(pdu.dir.flip()) {
                    events.confirmed(pdu.at, pdu.dir);
                }
                events.settled(pdu.at, pdu.dir);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit;
    use proptest::prelude::*;

    fn answer() -> Vec<u8> {
        let mut out = vec![0, 1, 3, 0xea, 0, 0x31];
        out.resize(1_006, 0);
        out
    }

    #[test]
    fn a_question_and_its_answer() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&ARD, Carrier::Datagram, orig, resp);
        assert_eq!(probe(QUESTION, b""), Probe::NeedMore);
        assert_eq!(probe(QUESTION, &answer()), Probe::Match);
        let events = testkit::datagrams(&ARD, &[(Orig, QUESTION), (Resp, &answer())]);
        assert!(events.iter().any(|event| event.kind == EventKind::Confirmed));
        let alone = testkit::datagrams(&ARD, &[(Resp, &answer())]);
        assert!(!alone.iter().any(|event| event.kind == EventKind::Confirmed));
    }

    #[test]
    fn others_of_that_size_are_not_it() {
        let mut short = answer();
        short.pop();
        let mut other = answer();
        other[5] = 0x30;
        for bytes in [&short[..], &other, &QUESTION[..4], b"\0\x14\0\x01\x04", b""] {
            assert_eq!(testkit::probe(&ARD, Carrier::Datagram, bytes, b""), Probe::NoMatch, "{}", bytes.len());
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            testkit::datagrams(&ARD, &[(Orig, &bytes), (Resp, QUESTION)]);
            testkit::probe(&ARD, Carrier::Datagram, &bytes, b"");
        }
    }
}

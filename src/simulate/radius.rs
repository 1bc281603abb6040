//! The gateway's accounting of who signed on from where, as a tap on the management network sees it.
//!
//! Reads: names and addresses. Emits: dialogues of an Accounting-Request and its answer (RFC 2866). Does not: know a
//! shared secret: authenticators are random bytes, which only the two ends could tell.

use crate::simulate::leg::MS;
use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use crate::simulate::script::Dialogue;
use std::net::IpAddr;

/// One session of somebody at the gateway.
#[derive(Debug, Clone)]
pub(super) struct Stay {
    pub(super) user: String,
    /// The address outside.
    pub(super) from: IpAddr,
    /// The address given inside, if any.
    pub(super) inside: Option<IpAddr>,
    pub(super) number: u32,
}

/// Whether the stay begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Start = 1,
    Stop = 2,
}

impl Stay {
    /// The gateway tells, the server takes note.
    pub(super) fn told(&self, status: Status, chance: &mut Random) -> Dialogue {
        let mut talk = Dialogue::default();
        let id = chance.below(256) as u8;
        let mut attributes = Octets::default();
        attribute(&mut attributes, 1, self.user.as_bytes());
        attribute(&mut attributes, 4, &[192, 0, 2, 10]);
        attribute(&mut attributes, 61, &5_u32.to_be_bytes());
        attribute(&mut attributes, 31, self.from.to_string().as_bytes());
        if let Some(IpAddr::V4(inside)) = self.inside {
            attribute(&mut attributes, 8, &inside.octets());
        }
        attribute(&mut attributes, 40, &(status as u32).to_be_bytes());
        attribute(&mut attributes, 44, format!("{:08X}", self.number).as_bytes());
        talk.client_says(MS, packet(4, id, &attributes.0, chance));
        talk.server_says(chance.between(MS / 5, 2 * MS), packet(5, id, &[], chance));
        talk
    }
}

fn attribute(o: &mut Octets, kind: u8, value: &[u8]) {
    o.u8(kind);
    o.u8(value.len().saturating_add(2) as u8);
    o.put(value);
}

fn packet(code: u8, id: u8, attributes: &[u8], chance: &mut Random) -> Vec<u8> {
    Octets::of(|o| {
        o.put([code, id]);
        o.u16(attributes.len().saturating_add(20) as u16);
        o.put(chance.array::<16>());
        o.put(attributes);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::script::spoken;

    #[test]
    fn a_request_has_its_length_and_its_attributes_end_where_it_does() {
        let stay = Stay {
            user: "m.rivera".to_owned(),
            from: IpAddr::from([198, 18, 1, 10]),
            inside: Some(IpAddr::from([10, 20, 1, 2])),
            number: 7,
        };
        let packet = spoken(&stay.told(Status::Start, &mut Random::stream(1, "radius")).client).remove(0);
        assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
        let mut rest = &packet[20..];
        while let [_, n, ..] = rest {
            rest = &rest[usize::from(*n)..];
        }
        assert!(rest.is_empty());
    }
}

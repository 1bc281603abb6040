//! Packets on their way from the reader to a worker: many at a time, payloads in one arena, vessels used again.

use crate::base::Timestamp;
use crate::wire::Packet;

/// A vessel is sent when it holds this many packets or bytes.
const PACKETS: usize = 512;
const BYTES: usize = 256 * 1024;

#[derive(Debug)]
struct Item {
    packet: Packet<'static>,
    clock: Timestamp,
    start: usize,
    len: usize,
}

/// A batch of packets with their payloads.
#[derive(Debug, Default)]
pub(super) struct Batch {
    arena: Vec<u8>,
    items: Vec<Item>,
}

impl Batch {
    /// Adds a copy of a packet; whether the batch is now full.
    pub(super) fn push(&mut self, packet: &Packet<'_>, clock: Timestamp) -> bool {
        let start = self.arena.len();
        self.arena.extend_from_slice(packet.payload);
        let item = Item {
            packet: Packet {
                payload: &[],
                at: packet.at,
                src: packet.src,
                dst: packet.dst,
                ttl: packet.ttl,
                ip_id: packet.ip_id,
                dont_fragment: packet.dont_fragment,
                largest_fragment: packet.largest_fragment,
                ip_len: packet.ip_len,
                transport: packet.transport,
                payload_len: packet.payload_len,
                encapsulation: packet.encapsulation,
            },
            clock,
            start,
            len: packet.payload.len(),
        };
        self.items.push(item);
        self.items.len() >= PACKETS || self.arena.len() >= BYTES
    }

    /// The packets in the order they were added.
    pub(super) fn each(&self, mut f: impl FnMut(&Packet<'_>, Timestamp)) {
        for item in &self.items {
            let payload = self.arena.get(item.start..item.start + item.len).unwrap_or(&[]);
            f(&Packet { payload, ..item.packet }, item.clock);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Empties it, keeping its memory.
    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.items.clear();
    }
}

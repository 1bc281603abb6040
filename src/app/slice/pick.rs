//! Which frames belong to the wanted flows, pieces of fragmented packets among them.
//!
//! Reads: frames. Emits: those wanted, in their order. Bounded: frames that wait for the rest of a fragmented packet
//! are held up to [`HELD_FRAMES`] and [`HELD_BYTES`]; then the oldest goes on without an answer.

use crate::base::{Frame, LinkType, Timestamp};
use crate::flow::{FiveTuple, community_id};
use crate::wire::{Decoded, Decoder, FragmentedPacket};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::IpAddr;

/// Frames held.
const HELD_FRAMES: usize = 8_192;
/// Bytes of them.
const HELD_BYTES: usize = 64 << 20;
/// Flows whose ids are remembered; then all are forgotten and computed anew.
const REMEMBERED: usize = 1 << 18;

/// What is wanted.
#[derive(Debug)]
pub(super) enum Wants {
    /// These flows, by Community ID.
    Flows(BTreeSet<String>),
    /// All flows of an address.
    Address(IpAddr),
}

/// The Community IDs of flows, each computed once.
#[derive(Debug, Default)]
pub(super) struct Flows {
    decoder: Decoder,
    ids: HashMap<FiveTuple, String, foldhash::fast::RandomState>,
}

impl Flows {
    /// The flow of a frame; none of a fragment that doesn't complete its packet, or of what isn't IP.
    pub(super) fn of(&mut self, frame: &Frame<'_>) -> Option<String> {
        match self.decoder.decode(frame) {
            Decoded::Packet(packet) => {
                let tuple = FiveTuple::of(&packet);
                Some(self.id(tuple).to_owned())
            }
            _ => None,
        }
    }

    fn id(&mut self, tuple: FiveTuple) -> &str {
        if self.ids.len() >= REMEMBERED {
            self.ids.clear();
        }
        self.ids.entry(tuple).or_insert_with(|| community_id(&tuple))
    }
}

/// Picks frames.
#[derive(Debug)]
pub(super) struct Picker {
    wants: Wants,
    flows: Flows,
    /// Frames in their order, from the first that waits on.
    held: VecDeque<Held>,
    held_bytes: usize,
    seen: BTreeSet<String>,
    picked: u64,
}

#[derive(Debug)]
struct Held {
    at: Timestamp,
    link: LinkType,
    orig_len: u32,
    bytes: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Wanted,
    /// A piece of these packets, of which the rest is to come.
    Waiting(Vec<FragmentedPacket>),
}

/// Where wanted frames go.
type Sink<'a> = dyn FnMut(&Frame<'_>) -> io::Result<()> + 'a;

impl Picker {
    pub(super) fn new(wants: Wants) -> Self {
        let (held, seen) = (VecDeque::new(), BTreeSet::new());
        Self { wants, flows: Flows::default(), held, held_bytes: 0, seen, picked: 0 }
    }

    /// Takes a frame; those that are wanted and wait for nothing go to `sink`.
    pub(super) fn frame(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        let tuple = match self.flows.decoder.decode(frame) {
            Decoded::Packet(packet) => Some(FiveTuple::of(&packet)),
            Decoded::Fragment => None,
            Decoded::NotUnderstood(_) => return Ok(()),
        };
        let packets: Vec<FragmentedPacket> = self.flows.decoder.fragmented().collect();
        let state = match tuple {
            None => State::Waiting(packets),
            Some(tuple) => {
                let wanted = self.wanted(tuple);
                if !packets.is_empty() {
                    self.settle(&packets, wanted);
                    self.release(sink, false)?;
                }
                if !wanted {
                    return Ok(());
                }
                State::Wanted
            }
        };
        if self.held.is_empty() && state == State::Wanted {
            self.picked += 1;
            return sink(frame);
        }
        self.held_bytes += frame.bytes.len();
        let bytes = frame.bytes.to_vec();
        self.held.push_back(Held { at: frame.at, link: frame.link, orig_len: frame.orig_len, bytes, state });
        self.release(sink, false)
    }

    /// No frame comes any more: what still waits is left out.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) -> io::Result<()> {
        self.release(sink, true)
    }

    /// Frames picked.
    pub(super) const fn picked(&self) -> u64 {
        self.picked
    }

    /// Flows that packets were picked of.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }

    /// Flows that were wanted by name and not there.
    pub(super) fn not_seen(&self) -> impl Iterator<Item = &str> {
        let wanted = match &self.wants {
            Wants::Flows(wanted) => Some(wanted.difference(&self.seen)),
            Wants::Address(_) => None,
        };
        wanted.into_iter().flatten().map(String::as_str)
    }

    fn wanted(&mut self, tuple: FiveTuple) -> bool {
        if let Wants::Address(address) = &self.wants
            && ![tuple.orig.ip, tuple.resp.ip].iter().any(|ip| ip.to_canonical() == *address)
        {
            return false;
        }
        let id = self.flows.id(tuple);
        let wanted = match &self.wants {
            Wants::Flows(flows) => flows.contains(id),
            Wants::Address(_) => true,
        };
        if wanted && !self.seen.contains(id) {
            self.seen.insert(id.to_owned());
        }
        wanted
    }

    /// A fragmented packet is whole: its pieces are wanted or not.
    fn settle(&mut self, packets: &[FragmentedPacket], wanted: bool) {
        let of_it =
            |held: &Held| matches!(&held.state, State::Waiting(of) if of.iter().any(|one| packets.contains(one)));
        if wanted {
            self.held.iter_mut().filter(|held| of_it(held)).for_each(|held| held.state = State::Wanted);
        } else {
            let mut gone = 0;
            self.held.retain(|held| {
                let keep = !of_it(held);
                gone += if keep { 0 } else { held.bytes.len() };
                keep
            });
            self.held_bytes -= gone;
        }
    }

    /// Lets go what waits for nothing, and what there is no room for.
    fn release(&mut self, sink: &mut Sink<'_>, all: bool) -> io::Result<()> {
        while let Some(first) = self.held.front() {
            let full = all || self.held.len() > HELD_FRAMES || self.held_bytes > HELD_BYTES;
            if first.state != State::Wanted && !full {
                break;
            }
            let Some(first) = self.held.pop_front() else { break };
            self.held_bytes -= first.bytes.len();
            if first.state == State::Wanted {
                self.picked += 1;
                sink(&Frame { at: first.at, link: first.link, orig_len: first.orig_len, bytes: &first.bytes })?;
            }
        }
        Ok(())
    }
}

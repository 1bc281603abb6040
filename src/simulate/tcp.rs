//! One end of a TCP connection in virtual time (RFC 9293): handshake, segmentation, acknowledgement, repair, close.
//!
//! Reads: segments, bytes to send, the time. Emits: segments, and the bytes that arrived in order. Does not: build
//! frames, know addresses, or read a clock. Modelled: options as negotiated, delayed and quick acknowledgements,
//! timestamps, slow start and congestion avoidance (RFC 5681), retransmission timeout (RFC 6298), fast retransmit with
//! NewReno recovery (RFC 6582), SACK blocks (RFC 2018). Not modelled: RACK/TLP, ECN, keep-alives, Nagle's delay
//! (interactive programs switch it off), receive-window limits (the application reads at once).
//!
//! Offsets are 64-bit: 0 is the SYN, 1 the first byte of data.

use crate::simulate::leg::MS;
use crate::simulate::stack::Stack;
use std::collections::{BTreeMap, VecDeque};

/// What a SYN offers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    pub(super) mss: u16,
    pub(super) scale: u8,
    pub(super) timestamps: bool,
}

/// One segment between two simulated ends.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) seq: u64,
    /// Absent only in the first SYN.
    pub(super) ack: Option<u64>,
    pub(super) syn: Option<Offer>,
    pub(super) fin: bool,
    pub(super) push: bool,
    /// The window field as it is on the wire.
    pub(super) window: u16,
    pub(super) times: Option<(u32, u32)>,
    /// What arrived beyond a hole, newest first, at most three blocks.
    pub(super) sack: Vec<(u64, u64)>,
    /// Counts the packets of this end, for the IPv4 identification.
    pub(super) serial: u16,
    pub(super) payload: Vec<u8>,
}

/// What came of a segment.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The connection opened with it.
    pub(super) connected: bool,
    /// Bytes in order.
    pub(super) bytes: Vec<u8>,
    /// The peer closed its side, and everything before that has been delivered.
    pub(super) finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    SynSent,
    SynReceived,
    Open,
    Dead,
}

#[derive(Debug)]
struct Sent {
    seq: u64,
    payload: Vec<u8>,
    syn: bool,
    fin: bool,
    push: bool,
    at: i64,
    again: bool,
    sacked: bool,
}

impl Sent {
    fn end(&self) -> u64 {
        self.seq.saturating_add(self.payload.len() as u64).saturating_add(u64::from(self.syn) + u64::from(self.fin))
    }
}

/// One end.
#[derive(Debug)]
pub(super) struct Tcp {
    stack: &'static Stack,
    state: State,
    mss: u16,
    peer_mss: u16,
    timestamps: bool,
    clock_offset: u32,
    echo: u32,
    serial: u16,
    // Sending.
    pending: VecDeque<u8>,
    flight: VecDeque<Sent>,
    una: u64,
    next: u64,
    closing: bool,
    fin_sent: bool,
    peer_scale: u8,
    peer_window: u64,
    window: u64,
    threshold: u64,
    duplicates: u32,
    recovery: Option<u64>,
    smoothed: Option<(i64, i64)>,
    timeout: i64,
    tries: u32,
    repair_at: Option<i64>,
    // Receiving.
    expected: u64,
    early: BTreeMap<u64, Vec<u8>>,
    newest_early: u64,
    peer_fin: Option<u64>,
    finished: bool,
    unacked: u32,
    quick: u32,
    ack_at: Option<i64>,
}

impl Tcp {
    /// A closed end of a stack with this maximum segment size; `clock_offset` starts its timestamps, `serial` its
    /// packet count.
    pub(super) fn new(stack: &'static Stack, mss: u16, clock_offset: u32, serial: u16) -> Self {
        Self {
            stack,
            state: State::Closed,
            mss,
            peer_mss: 536,
            timestamps: stack.timestamps,
            clock_offset,
            echo: 0,
            serial,
            pending: VecDeque::new(),
            flight: VecDeque::new(),
            una: 0,
            next: 0,
            closing: false,
            fin_sent: false,
            peer_scale: 0,
            peer_window: u64::from(u16::MAX),
            window: 10 * u64::from(mss),
            threshold: u64::MAX,
            duplicates: 0,
            recovery: None,
            smoothed: None,
            timeout: 1_000 * MS,
            tries: 0,
            repair_at: None,
            expected: 0,
            early: BTreeMap::new(),
            newest_early: 0,
            peer_fin: None,
            finished: false,
            unacked: 0,
            quick: stack.quick_acks,
            ack_at: None,
        }
    }

    /// Sends the SYN.
    pub(super) fn connect(&mut self, now: i64, out: &mut Vec<Segment>) {
        if self.state == State::Closed {
            self.state = State::SynSent;
            self.transmit(now, Vec::new(), Control::Syn, out);
        }
    }

    /// Queues bytes and sends what the windows allow.
    pub(super) fn send(&mut self, now: i64, bytes: &[u8], out: &mut Vec<Segment>) {
        self.pending.extend(bytes);
        self.flush(now, out);
    }

    /// Sends FIN once everything queued has gone.
    pub(super) fn close(&mut self, now: i64, out: &mut Vec<Segment>) {
        self.closing = true;
        self.flush(now, out);
    }

    /// When this end wants [`Tcp::on_time`] next.
    pub(super) fn deadline(&self) -> Option<i64> {
        match (self.repair_at, self.ack_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Acts on what is due.
    pub(super) fn on_time(&mut self, now: i64, out: &mut Vec<Segment>) {
        if self.ack_at.is_some_and(|at| at <= now) {
            self.acknowledge(now, out);
        }
        if self.repair_at.is_some_and(|at| at <= now) {
            self.on_timeout(now, out);
        }
    }

    /// Takes one segment from the peer.
    pub(super) fn on_segment(&mut self, now: i64, segment: &Segment, out: &mut Vec<Segment>) -> Heard {
        let mut heard = Heard::default();
        if let Some(offer) = segment.syn {
            heard.connected = self.on_syn(now, segment, offer, out);
            return heard;
        }
        if matches!(self.state, State::Closed | State::SynSent | State::Dead) {
            return heard;
        }
        if let Some((value, _)) = segment.times
            && segment.seq <= self.expected
        {
            self.echo = value;
        }
        if let Some(ack) = segment.ack {
            heard.connected = self.state == State::SynReceived && ack >= 1;
            if heard.connected {
                self.state = State::Open;
            }
            self.on_ack(now, ack, segment, out);
        }
        self.receive(now, segment, &mut heard, out);
        self.flush(now, out);
        heard
    }

    /// A SYN or SYN-ACK; true when it opened the connection at this end.
    fn on_syn(&mut self, now: i64, segment: &Segment, offer: Offer, out: &mut Vec<Segment>) -> bool {
        match self.state {
            State::Closed | State::SynSent => {
                let answer = self.state == State::SynSent;
                self.peer_mss = offer.mss;
                self.peer_scale = offer.scale;
                self.timestamps &= offer.timestamps;
                self.echo = segment.times.map_or(0, |(value, _)| value);
                self.peer_window = u64::from(segment.window);
                self.expected = 1;
                self.window = 10 * self.segment_size();
                if answer {
                    self.state = State::Open;
                    self.on_ack(now, segment.ack.unwrap_or(1), segment, out);
                    self.acknowledge(now, out);
                } else {
                    self.state = State::SynReceived;
                    self.transmit(now, Vec::new(), Control::Syn, out);
                }
                answer
            }
            // The peer did not get our answer to it.
            State::SynReceived => {
                self.repair(now, out);
                false
            }
            State::Open => {
                self.acknowledge(now, out);
                false
            }
            State::Dead => false,
        }
    }

    fn on_ack(&mut self, now: i64, ack: u64, segment: &Segment, out: &mut Vec<Segment>) {
        if segment.syn.is_none() {
            self.peer_window = u64::from(segment.window) << self.peer_scale.min(14);
        }
        for &(from, to) in &segment.sack {
            self.flight.iter_mut().filter(|s| s.seq >= from && s.end() <= to).for_each(|s| s.sacked = true);
        }
        if ack > self.una && ack <= self.next {
            self.on_new_ack(now, ack, out);
        } else if ack == self.una && segment.payload.is_empty() && !segment.fin && !self.flight.is_empty() {
            self.duplicates = self.duplicates.saturating_add(1);
            if self.recovery.is_some() {
                self.window = self.window.saturating_add(self.segment_size());
            } else if self.duplicates == 3 {
                self.threshold = (self.in_flight() / 2).max(2 * self.segment_size());
                self.window = self.threshold.saturating_add(3 * self.segment_size());
                self.recovery = Some(self.next);
                self.repair(now, out);
            }
        }
    }

    fn on_new_ack(&mut self, now: i64, ack: u64, out: &mut Vec<Segment>) {
        let advanced = ack.saturating_sub(self.una);
        self.una = ack;
        (self.duplicates, self.tries) = (0, 0);
        let mut sample = None;
        while self.flight.front().is_some_and(|sent| sent.end() <= ack) {
            if let Some(sent) = self.flight.pop_front() {
                // Karn: a segment sent twice tells nothing.
                sample = (!sent.again).then(|| now.saturating_sub(sent.at));
            }
        }
        if let Some(rtt) = sample {
            self.learn(rtt);
        }
        self.repair_at = (!self.flight.is_empty()).then(|| now.saturating_add(self.timeout));
        match self.recovery {
            Some(end) if ack < end => self.repair(now, out),
            Some(_) => {
                self.recovery = None;
                self.window = self.threshold.max(2 * self.segment_size());
            }
            None if self.window < self.threshold => {
                self.window = self.window.saturating_add(advanced.min(2 * self.segment_size()));
            }
            None => {
                let mss = self.segment_size();
                self.window = self.window.saturating_add((mss * mss).checked_div(self.window).unwrap_or(1).max(1));
            }
        }
    }

    /// RFC 6298 section 2, with the 200 ms floor that systems use.
    fn learn(&mut self, rtt: i64) {
        let (mean, deviation) = match self.smoothed {
            None => (rtt, rtt / 2),
            Some((mean, deviation)) => {
                ((mean * 7 + rtt) / 8, (deviation * 3 + mean.saturating_sub(rtt).saturating_abs()) / 4)
            }
        };
        self.smoothed = Some((mean, deviation));
        self.timeout = mean.saturating_add((4 * deviation).max(200 * MS)).min(60_000 * MS);
    }

    fn on_timeout(&mut self, now: i64, out: &mut Vec<Segment>) {
        self.tries = self.tries.saturating_add(1);
        if self.flight.is_empty() || self.tries > 8 {
            self.repair_at = None;
            if self.tries > 8 {
                self.state = State::Dead;
                self.flight.clear();
                self.pending.clear();
                self.ack_at = None;
            }
            return;
        }
        self.threshold = (self.in_flight() / 2).max(2 * self.segment_size());
        self.window = self.segment_size();
        self.recovery = Some(self.next);
        self.timeout = self.timeout.saturating_mul(2).min(60_000 * MS);
        self.repair(now, out);
    }

    /// Sends the oldest segment the peer is missing once more.
    fn repair(&mut self, now: i64, out: &mut Vec<Segment>) {
        let Some(position) = self.flight.iter().position(|sent| !sent.sacked) else { return };
        let Some(sent) = self.flight.get_mut(position) else { return };
        (sent.again, sent.at) = (true, now);
        let (seq, payload, push) = (sent.seq, sent.payload.clone(), sent.push);
        let control = if sent.syn {
            Control::Syn
        } else if sent.fin {
            Control::Fin
        } else {
            Control::None
        };
        self.emit(now, seq, payload, control, push, out);
        self.repair_at = Some(now.saturating_add(self.timeout));
    }

    fn receive(&mut self, now: i64, segment: &Segment, heard: &mut Heard, out: &mut Vec<Segment>) {
        let end = segment.seq.saturating_add(segment.payload.len() as u64);
        if segment.payload.is_empty() && !segment.fin {
            return;
        }
        if segment.fin {
            self.peer_fin = Some(end);
        }
        if end.saturating_add(u64::from(segment.fin)) <= self.expected {
            // Something we have: our acknowledgement was lost or late.
            self.acknowledge(now, out);
            return;
        }
        let hole_before = !self.early.is_empty() || segment.seq > self.expected;
        if !segment.payload.is_empty() {
            self.early.insert(segment.seq, segment.payload.clone());
            self.newest_early = segment.seq;
        }
        self.deliver(heard);
        if hole_before || heard.finished || self.quick > 0 {
            self.quick = self.quick.saturating_sub(1);
            self.acknowledge(now, out);
            return;
        }
        self.unacked = self.unacked.saturating_add(1);
        if self.unacked >= 2 {
            self.acknowledge(now, out);
        } else if self.ack_at.is_none() {
            self.ack_at = Some(now.saturating_add(self.stack.delayed_ack));
        }
    }

    fn deliver(&mut self, heard: &mut Heard) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.expected {
                break;
            }
            let (seq, bytes) = entry.remove_entry();
            let known = usize::try_from(self.expected.saturating_sub(seq)).unwrap_or(usize::MAX);
            if let Some(fresh) = bytes.get(known..) {
                heard.bytes.extend_from_slice(fresh);
                self.expected = self.expected.saturating_add(fresh.len() as u64);
            }
        }
        if !self.finished && self.peer_fin == Some(self.expected) {
            self.expected = self.expected.saturating_add(1);
            self.finished = true;
            heard.finished = true;
        }
    }

    fn acknowledge(&mut self, now: i64, out: &mut Vec<Segment>) {
        self.emit(now, self.next, Vec::new(), Control::None, false, out);
    }

    /// Sends pending data, then FIN, as far as the windows go.
    fn flush(&mut self, now: i64, out: &mut Vec<Segment>) {
        if self.state != State::Open {
            return;
        }
        while !self.pending.is_empty() {
            let room = self.window.min(self.peer_window).saturating_sub(self.in_flight());
            let size = self.segment_size().min(self.pending.len() as u64);
            if room < size {
                // Sender's silly-window rule: wait for room for a whole one (RFC 9293, 3.8.6.2.1).
                return;
            }
            let payload: Vec<u8> = self.pending.drain(..usize::try_from(size).unwrap_or(0)).collect();
            self.transmit(now, payload, Control::None, out);
        }
        if self.closing && !self.fin_sent {
            self.fin_sent = true;
            self.transmit(now, Vec::new(), Control::Fin, out);
        }
    }

    /// Sends something new and keeps it until it is acknowledged.
    fn transmit(&mut self, now: i64, payload: Vec<u8>, control: Control, out: &mut Vec<Segment>) {
        let (syn, fin) = (control == Control::Syn, control == Control::Fin);
        let push = !payload.is_empty() && self.pending.is_empty();
        let seq = self.next;
        let sent = Sent { seq, payload: payload.clone(), syn, fin, push, at: now, again: false, sacked: false };
        self.next = sent.end();
        self.flight.push_back(sent);
        self.repair_at.get_or_insert(now.saturating_add(self.timeout));
        self.emit(now, seq, payload, control, push, out);
    }

    fn emit(&mut self, now: i64, seq: u64, payload: Vec<u8>, control: Control, push: bool, out: &mut Vec<Segment>) {
        let syn = control == Control::Syn;
        let answering = !(syn && self.state == State::SynSent);
        // One tick a millisecond, as the systems have it.
        let value = self.clock_offset.wrapping_add((now / MS) as u32);
        let scaled = u16::try_from(self.stack.window >> self.stack.scale).unwrap_or(u16::MAX);
        out.push(Segment {
            seq,
            ack: answering.then_some(self.expected),
            syn: syn.then_some(Offer { mss: self.mss, scale: self.stack.scale, timestamps: self.timestamps }),
            fin: control == Control::Fin,
            push,
            window: if syn { self.stack.syn_window } else { scaled },
            times: self.timestamps.then_some((value, self.echo)),
            sack: self.holes(),
            serial: self.serial,
            payload,
        });
        self.serial = self.serial.wrapping_add(1);
        if answering {
            (self.unacked, self.ack_at) = (0, None);
        }
    }

    /// SACK blocks: the one with the newest segment first (RFC 2018, section 4).
    fn holes(&self) -> Vec<(u64, u64)> {
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        for (&seq, bytes) in &self.early {
            let end = seq.saturating_add(bytes.len() as u64);
            match blocks.last_mut() {
                Some(last) if last.1 >= seq => last.1 = last.1.max(end),
                _ => blocks.push((seq, end)),
            }
        }
        blocks.sort_by_key(|&(from, to)| !(from..to).contains(&self.newest_early));
        blocks.truncate(3);
        blocks
    }

    const fn in_flight(&self) -> u64 {
        self.next.saturating_sub(self.una)
    }

    /// Data bytes in a full segment: the smaller MSS less the timestamp option and its padding.
    fn segment_size(&self) -> u64 {
        u64::from(self.mss.min(self.peer_mss).saturating_sub(if self.timestamps { 12 } else { 0 }).max(1))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    None,
    Syn,
    Fin,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::random::Random;
    use crate::simulate::stack::{APPLE, LINUX, WINDOWS};
    use proptest::prelude::*;

    /// What each end heard, whether it saw the other close, and every segment sent with its sender.
    type Conversation = ([Vec<u8>; 2], [bool; 2], Vec<(usize, Segment)>);

    /// Runs two ends over a path of 20 ms a way that drops each packet with probability `loss`, and gives what each
    /// end heard, whether both closed, and every segment sent.
    fn converse(stacks: [&'static Stack; 2], talk: [&[u8]; 2], loss: f64, seed: u64) -> Conversation {
        let mut ends = stacks.map(|stack| Tcp::new(stack, 1460, 77, 1));
        let mut random = Random::stream(seed, "loss");
        let mut wire: BTreeMap<(i64, u64), (usize, Segment)> = BTreeMap::new();
        let (mut heard, mut finished, mut log) = ([Vec::new(), Vec::new()], [false; 2], Vec::new());
        let (mut now, mut serial) = (0, 0_u64);
        let mut out = Vec::new();
        ends[0].connect(now, &mut out);
        let mut from = 0;
        for _ in 0..200_000 {
            for segment in out.drain(..) {
                log.push((from, segment.clone()));
                if !random.chance(loss) {
                    wire.insert((now + 20 * MS, serial), (1 - from, segment));
                    serial += 1;
                }
            }
            let due = [0, 1].into_iter().filter_map(|i| ends[i].deadline().map(|at| (at, i))).min();
            let next = wire.keys().next().copied();
            match (due, next) {
                (Some((at, i)), other) if other.is_none_or(|(t, _)| at < t) => {
                    (now, from) = (at.max(now), i);
                    ends[i].on_time(now, &mut out);
                }
                (_, Some(key)) => {
                    let (to, segment) = wire.remove(&key).unwrap();
                    (now, from) = (key.0, to);
                    let got = ends[to].on_segment(now, &segment, &mut out);
                    heard[to].extend(got.bytes);
                    finished[to] |= got.finished;
                    if got.connected {
                        ends[to].send(now, talk[to], &mut out);
                        ends[to].close(now, &mut out);
                    }
                }
                _ => break,
            }
        }
        (heard, finished, log)
    }

    #[test]
    fn a_handshake_carries_options_and_takes_one_round_trip() {
        let (_, finished, log) = converse([&WINDOWS, &LINUX], [b"", b""], 0.0, 1);
        assert_eq!(finished, [true, true]);
        let (syn, syn_ack, ack) = (&log[0].1, &log[1].1, &log[2].1);
        assert!(syn.syn.is_some_and(|o| o.mss == 1460 && o.scale == 8 && !o.timestamps) && syn.ack.is_none());
        assert!(syn_ack.syn.is_some_and(|o| !o.timestamps) && syn_ack.ack == Some(1) && syn_ack.times.is_none());
        assert!(ack.syn.is_none() && ack.ack == Some(1) && ack.seq == 1 && ack.payload.is_empty());
        // SYN, SYN-ACK, ACK and one FIN with its acknowledgement from each end: nothing else.
        assert_eq!(log.iter().filter(|(_, s)| s.fin).count(), 2);
        assert!(log.len() <= 7, "{log:?}");
    }

    #[test]
    fn data_is_cut_by_the_smaller_segment_size_less_the_options() {
        let bulk = vec![7; 50_000];
        let (heard, _, log) = converse([&APPLE, &LINUX], [&bulk, b""], 0.0, 1);
        assert_eq!(heard[1], bulk);
        assert_eq!(log.iter().map(|(_, s)| s.payload.len()).max(), Some(1448));
        let (_, _, log) = converse([&WINDOWS, &LINUX], [&bulk, b""], 0.0, 1);
        assert_eq!(log.iter().map(|(_, s)| s.payload.len()).max(), Some(1460));
    }

    #[test]
    fn the_first_flight_is_ten_segments() {
        let bulk = vec![7; 50_000];
        let (_, _, log) = converse([&LINUX, &WINDOWS], [&bulk, b""], 0.0, 1);
        let first = log.iter().skip(2).take_while(|(from, _)| *from == 0).filter(|(_, s)| !s.payload.is_empty());
        assert_eq!(first.count(), 10);
    }

    #[test]
    fn a_timestamp_echo_names_the_segment_it_answers() {
        let (_, _, log) = converse([&LINUX, &APPLE], [b"hello", b"world"], 0.0, 1);
        let hello = log.iter().find(|(from, s)| *from == 0 && !s.payload.is_empty()).unwrap().1.times.unwrap().0;
        assert!(log.iter().any(|(from, s)| *from == 1 && s.times.unwrap().1 == hello));
    }

    /// A client that is open with a Linux server, and everything the server has to say.
    fn opened() -> (Tcp, Tcp) {
        let (mut client, mut server, mut out) =
            (Tcp::new(&LINUX, 1460, 0, 0), Tcp::new(&LINUX, 1460, 0, 0), Vec::new());
        client.connect(0, &mut out);
        for _ in 0..3 {
            let arrived = std::mem::take(&mut out);
            let to = if arrived[0].ack.is_none() || arrived[0].syn.is_none() { &mut server } else { &mut client };
            arrived.iter().for_each(|segment| drop(to.on_segment(20 * MS, segment, &mut out)));
        }
        assert!(client.state == State::Open && server.state == State::Open);
        (client, server)
    }

    #[test]
    fn bytes_that_come_again_in_another_cut_are_delivered_once() {
        let (mut client, mut server) = opened();
        let mut out = Vec::new();
        client.send(40 * MS, b"abcdef", &mut out);
        let whole = out[0].clone();
        let part = Segment { payload: b"abcd".to_vec(), ..whole.clone() };
        assert_eq!(server.on_segment(60 * MS, &part, &mut out).bytes, b"abcd");
        assert_eq!(server.on_segment(61 * MS, &whole, &mut out).bytes, b"ef");
        assert_eq!(server.on_segment(62 * MS, &whole, &mut out).bytes, b"");
    }

    #[test]
    fn two_holes_in_one_flight_are_mended_in_two_round_trips_without_a_timeout() {
        let (mut client, mut server) = opened();
        let (mut flight, mut answers) = (Vec::new(), Vec::new());
        client.send(40 * MS, &[7; 10 * 1448], &mut flight);
        assert_eq!(flight.len(), 10);
        let mut heard = Vec::new();
        for (now, missing) in [(60, [1, 4].as_slice()), (100, &[]), (140, &[])] {
            for (i, segment) in flight.drain(..).enumerate().filter(|(i, _)| !missing.contains(i)) {
                heard.extend(server.on_segment(now * MS + i as i64, &segment, &mut answers).bytes);
            }
            for answer in answers.drain(..) {
                client.on_segment((now + 20) * MS, &answer, &mut flight);
            }
        }
        assert_eq!(heard.len(), 10 * 1448);
        assert!(client.flight.is_empty() && client.tries == 0);
    }

    #[test]
    fn blocks_beyond_a_hole_are_told_newest_first() {
        let (mut client, mut server) = opened();
        let (mut flight, mut answers) = (Vec::new(), Vec::new());
        client.send(40 * MS, &[7; 7 * 1448], &mut flight);
        for i in [1, 3, 5, 4] {
            server.on_segment(60 * MS, &flight[i], &mut answers);
        }
        let at = |i: u64| 1 + i * 1448;
        assert_eq!(answers.last().unwrap().sack, [(at(3), at(6)), (at(1), at(2))]);
        assert_eq!(answers.last().unwrap().ack, Some(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_byte_arrives_once_and_in_order_whatever_is_lost(
            seed in any::<u64>(), loss in 0.0..0.15_f64, a in 0..40_000_usize, b in 0..5_000_usize,
        ) {
            let mut random = Random::stream(seed, "talk");
            let (a, b) = (random.bytes(a), random.bytes(b));
            let (heard, finished, log) = converse([&WINDOWS, &LINUX], [&a, &b], loss, seed);
            // Nine tries in a row may fail; then an end gives up, as a real one does.
            let gave_up = log.iter().filter(|(_, s)| s.syn.is_some()).count() > 8;
            prop_assume!(!gave_up);
            prop_assert_eq!(&heard[0], &b);
            prop_assert_eq!(&heard[1], &a);
            prop_assert_eq!(finished, [true, true]);
        }
    }
}

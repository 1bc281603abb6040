//! The discrete-event world: sockets with scripts, connections over hops, one virtual clock, one tap.
//!
//! Reads: what the scenario laid out. Emits: the frames that passed the tap, in time order. Does not: read a clock or
//! compute a time stamp by hand. A packet enters the first leg of its path, each leg says when it leaves, and the
//! far end answers when it has it; causality follows from that, whatever the topology.

use crate::base::{Direction, Timestamp};
use crate::simulate::frame::Faces;
use crate::simulate::leg::Leg;
use crate::simulate::openvpn;
use crate::simulate::random::Random;
use crate::simulate::script::Step;
use crate::simulate::tcp::{Segment, Tcp};
use crate::simulate::tunnel::Tunnel;
use std::collections::{BTreeMap, VecDeque};

/// One thing a packet meets on its way, in the order from client to server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hop {
    /// A leg, by number.
    Leg(usize),
    /// A router that lowers the MSS in SYNs to this.
    Clamp(u16),
    /// The capture point.
    Tap,
    /// The capture point outside the gateway, where the packet is still inside that tunnel.
    Wrapped(usize),
    /// The whole way between the ends of a tunnel over TCP: the packet goes into that stream and comes out at its end.
    Carried(usize),
}

/// What carries the bytes of a connection.
#[derive(Debug)]
pub(super) enum Carrier {
    /// A TCP end.
    Tcp(Box<Tcp>),
    /// One end of a reliable ordered channel of no protocol of its own, as between a satellite modem and its hub.
    Channel,
    /// Datagrams; each `Send` is one. Counts them for the IPv4 identification.
    Udp(u16),
}

/// Gives the length of the first whole message among the bytes that wait.
pub(super) type Cut = fn(&[u8]) -> Option<usize>;
/// What a message brings about: after so many nanoseconds, that socket says that.
pub(super) type Answer = Box<dyn FnMut(&[u8]) -> Vec<(i64, usize, Vec<u8>)>>;

/// A socket that acts on messages as they come, whatever its script is doing meanwhile, unless the script awaits bytes.
pub(super) struct Reflex {
    /// Where a message ends.
    pub(super) cut: Cut,
    /// What to do about it.
    pub(super) answer: Answer,
}

impl std::fmt::Debug for Reflex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reflex").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
enum Cargo {
    Segment(Segment),
    Open,
    Bytes(Vec<u8>),
    Close,
    Datagram(u16, Vec<u8>),
}

#[derive(Debug, Clone)]
struct Packet {
    connection: usize,
    direction: Direction,
    hop: usize,
    cargo: Cargo,
}

#[derive(Debug)]
enum Event {
    Open(usize),
    Arrive(Packet),
    Due(usize),
    Wake(usize),
    Say(usize, Vec<u8>),
}

#[derive(Debug)]
struct Connection {
    ends: [usize; 2],
    hops: Vec<Hop>,
    faces: Faces,
}

#[derive(Debug)]
struct Socket {
    connection: usize,
    direction: Direction,
    carrier: Carrier,
    script: VecDeque<Step>,
    inbox: VecDeque<u8>,
    connected: bool,
    asleep: bool,
    finished: bool,
    /// What it does when a message arrives, beside its script.
    reflex: Option<Reflex>,
    /// The socket whose script waits for this one to connect.
    waiter: Option<usize>,
    /// The socket everything that arrives here goes out of.
    spliced: Option<usize>,
    due: Option<i64>,
}

/// A tunnel over TCP, OpenVPN's: whose data are the packets that wait here, in order.
#[derive(Debug)]
struct Stream {
    ends: [usize; 2],
    waiting: [VecDeque<Packet>; 2],
    sent: [u32; 2],
    chance: Random,
}

/// The simulation.
#[derive(Debug, Default)]
pub(super) struct World {
    now: i64,
    serial: u64,
    agenda: BTreeMap<(i64, u64), Event>,
    legs: Vec<Leg>,
    /// Legs that several subjects use.
    shared: BTreeMap<u8, usize>,
    connections: Vec<Connection>,
    sockets: Vec<Socket>,
    tunnels: Vec<Tunnel>,
    streams: Vec<Stream>,
    start: i64,
    frames: Vec<(Timestamp, Vec<u8>)>,
}

impl World {
    /// An empty world whose capture begins at `start`.
    pub(super) fn new(start: Timestamp) -> Self {
        Self { start: start.nanos(), ..Self::default() }
    }

    /// Adds a leg and gives its number.
    pub(super) fn add_leg(&mut self, leg: Leg) -> usize {
        self.legs.push(leg);
        self.legs.len().saturating_sub(1)
    }

    /// The leg of that name, which is made and added if there is none yet, and its number.
    pub(super) fn shared_leg(&mut self, name: u8, make: impl FnOnce() -> Leg) -> usize {
        if let Some(number) = self.shared.get(&name) {
            return *number;
        }
        let number = self.add_leg(make());
        self.shared.insert(name, number);
        number
    }

    /// A leg by its number.
    pub(super) fn leg(&self, number: usize) -> Option<&Leg> {
        self.legs.get(number)
    }

    /// Adds a tunnel and gives its number.
    pub(super) fn add_tunnel(&mut self, tunnel: Tunnel) -> usize {
        self.tunnels.push(tunnel);
        self.tunnels.len().saturating_sub(1)
    }

    /// Adds a tunnel over the TCP between those two sockets and gives its number.
    pub(super) fn add_stream(&mut self, ends: [usize; 2], chance: Random) -> usize {
        self.streams.push(Stream { ends, waiting: [VecDeque::new(), VecDeque::new()], sent: [0, 0], chance });
        self.streams.len().saturating_sub(1)
    }

    /// Adds a connection and gives the numbers of its client and server sockets.
    pub(super) fn add_connection(&mut self, hops: Vec<Hop>, faces: Faces, carriers: [Carrier; 2]) -> [usize; 2] {
        let connection = self.connections.len();
        let ends = [self.sockets.len(), self.sockets.len().saturating_add(1)];
        for (carrier, direction) in carriers.into_iter().zip([Direction::Orig, Direction::Resp]) {
            self.sockets.push(Socket {
                connection,
                direction,
                carrier,
                script: VecDeque::new(),
                inbox: VecDeque::new(),
                connected: false,
                asleep: false,
                finished: false,
                reflex: None,
                waiter: None,
                spliced: None,
                due: None,
            });
        }
        self.connections.push(Connection { ends, hops, faces });
        ends
    }

    /// What a socket does once it is connected.
    pub(super) fn script(&mut self, socket: usize, steps: Vec<Step>) {
        if let Some(socket) = self.sockets.get_mut(socket) {
            socket.script = steps.into();
        }
    }

    /// What a socket does about each message that arrives, beside its script; it must not await bytes then.
    pub(super) fn react(&mut self, socket: usize, reflex: Reflex) {
        if let Some(socket) = self.sockets.get_mut(socket) {
            socket.reflex = Some(reflex);
        }
    }

    /// Opens a connection from its client socket at that time after the start, nanoseconds.
    pub(super) fn open_at(&mut self, socket: usize, at: i64) {
        self.schedule(at, Event::Open(socket));
    }

    /// Runs until nothing is left to happen, and gives what the tap saw.
    pub(super) fn run(mut self) -> Vec<(Timestamp, Vec<u8>)> {
        while let Some(((at, _), event)) = self.agenda.pop_first() {
            self.now = at;
            match event {
                Event::Open(socket) => self.open(socket),
                Event::Arrive(packet) => self.travel(packet),
                Event::Due(socket) => self.on_due(socket),
                Event::Wake(socket) => {
                    if let Some(socket) = self.sockets.get_mut(socket) {
                        socket.asleep = false;
                    }
                    self.advance(socket);
                }
                Event::Say(socket, bytes) => self.send(socket, &bytes),
            }
        }
        self.frames
    }

    fn schedule(&mut self, at: i64, event: Event) {
        self.serial = self.serial.saturating_add(1);
        self.agenda.insert((at.max(self.now), self.serial), event);
    }

    fn open(&mut self, number: usize) {
        let now = self.now;
        self.with_tcp(number, |tcp, out| tcp.connect(now, out));
        let plain = self.sockets.get(number).is_some_and(|socket| !matches!(socket.carrier, Carrier::Tcp(_)));
        if plain {
            if self.sockets.get(number).is_some_and(|socket| matches!(socket.carrier, Carrier::Channel)) {
                self.dispatch(number, Cargo::Open);
            }
            self.on_connected(number);
        }
    }

    /// Lets the TCP of a socket act, then sends what it emitted and keeps its deadline.
    fn with_tcp<R>(&mut self, number: usize, act: impl FnOnce(&mut Tcp, &mut Vec<Segment>) -> R) -> Option<R> {
        let socket = self.sockets.get_mut(number)?;
        let Carrier::Tcp(tcp) = &mut socket.carrier else { return None };
        let mut out = Vec::new();
        let result = act(tcp, &mut out);
        let deadline = tcp.deadline();
        let schedule = deadline.filter(|at| socket.due.is_none_or(|due| *at < due));
        if let Some(at) = schedule {
            socket.due = Some(at);
            self.schedule(at, Event::Due(number));
        }
        for segment in out {
            self.dispatch(number, Cargo::Segment(segment));
        }
        Some(result)
    }

    fn on_due(&mut self, number: usize) {
        let now = self.now;
        if let Some(socket) = self.sockets.get_mut(number)
            && socket.due.is_some_and(|due| due <= now)
        {
            socket.due = None;
        }
        self.with_tcp(number, |tcp, out| tcp.on_time(now, out));
    }

    fn dispatch(&mut self, number: usize, cargo: Cargo) {
        let Some(socket) = self.sockets.get(number) else { return };
        self.travel(Packet { connection: socket.connection, direction: socket.direction, hop: 0, cargo });
    }

    /// Moves a packet on until a leg holds it, it is lost, or it is there.
    fn travel(&mut self, mut packet: Packet) {
        let Some(connection) = self.connections.get(packet.connection) else { return };
        while let Some(hop) = nth_hop(&connection.hops, packet.direction, packet.hop) {
            packet.hop = packet.hop.saturating_add(1);
            match hop {
                Hop::Clamp(most) => {
                    if let Cargo::Segment(Segment { syn: Some(offer), .. }) = &mut packet.cargo {
                        offer.mss = offer.mss.min(most);
                    }
                }
                Hop::Tap | Hop::Wrapped(_) => {
                    let plain = || match &packet.cargo {
                        Cargo::Segment(segment) => connection.faces.segment(packet.direction, segment),
                        Cargo::Datagram(id, bytes) => connection.faces.datagram(packet.direction, *id, bytes),
                        Cargo::Open | Cargo::Bytes(_) | Cargo::Close => None,
                    };
                    let frame = match hop {
                        Hop::Wrapped(number) => self
                            .tunnels
                            .get_mut(number)
                            .and_then(|tunnel| tunnel.wrap(self.now, packet.direction, packet.cargo.ip_length())),
                        _ => plain(),
                    };
                    let at = Timestamp::from_nanos(self.start.saturating_add(self.now));
                    self.frames.extend(frame.map(|bytes| (at, bytes)));
                }
                Hop::Carried(number) => {
                    self.put_into(number, packet);
                    return;
                }
                Hop::Leg(number) => {
                    let Some(leg) = self.legs.get_mut(number) else { return };
                    let lane = match packet.direction {
                        Direction::Orig => &mut leg.forward,
                        Direction::Resp => &mut leg.backward,
                    };
                    let out = match packet.cargo.size() {
                        (size, true) => lane.carry(self.now, size),
                        (size, false) => Some(lane.carry_surely(self.now, size)),
                    };
                    if let Some(at) = out {
                        self.schedule(at, Event::Arrive(packet));
                    }
                    return;
                }
            }
        }
        let [client, server] = connection.ends;
        self.deliver(if packet.direction == Direction::Orig { server } else { client }, packet.cargo);
    }

    /// Sends a packet as data of a tunnel over TCP.
    fn put_into(&mut self, number: usize, packet: Packet) {
        let Some(Stream { ends, waiting, sent, chance }) = self.streams.get_mut(number) else { return };
        let (from, waiting, sent) = match (packet.direction, ends, waiting, sent) {
            (Direction::Orig, [end, _], [waiting, _], [sent, _]) => (end, waiting, sent),
            (Direction::Resp, [_, end], [_, waiting], [_, sent]) => (end, waiting, sent),
        };
        *sent = sent.saturating_add(1);
        let message = openvpn::framed(&openvpn::data(*sent, packet.cargo.ip_length(), chance));
        let from = *from;
        waiting.push_back(packet);
        self.send(from, &message);
    }

    /// Lets out the packets that have come through a tunnel over TCP to this socket.
    fn take_out(&mut self, number: usize) {
        loop {
            let ends_here = |stream: &Stream| stream.ends.iter().position(|end| *end == number);
            let Some((tunnel, end)) = self.streams.iter().enumerate().find_map(|(n, s)| Some((n, ends_here(s)?)))
            else {
                return;
            };
            let Some(socket) = self.sockets.get_mut(number) else { return };
            if matches!(socket.script.front(), Some(Step::Await(_))) {
                return;
            }
            let Some((length, inner)) = openvpn::next_of(socket.inbox.make_contiguous()) else { return };
            socket.inbox.drain(..length);
            // What comes to one end waits with the other.
            let waiting = self.streams.get_mut(tunnel).and_then(|stream| stream.waiting.get_mut(1 - end));
            if let Some(packet) = waiting.filter(|_| inner).and_then(VecDeque::pop_front) {
                self.travel(packet);
            }
        }
    }

    fn deliver(&mut self, number: usize, cargo: Cargo) {
        let now = self.now;
        match cargo {
            Cargo::Segment(segment) => {
                let heard = self.with_tcp(number, |tcp, out| tcp.on_segment(now, &segment, out)).unwrap_or_default();
                if heard.connected {
                    self.on_connected(number);
                }
                self.on_bytes(number, heard.bytes);
                if heard.finished {
                    self.on_finished(number);
                }
            }
            Cargo::Open => self.on_connected(number),
            Cargo::Bytes(bytes) => self.on_bytes(number, bytes),
            Cargo::Close => self.on_finished(number),
            Cargo::Datagram(_, bytes) => {
                if self.sockets.get(number).is_some_and(|socket| !socket.connected) {
                    self.on_connected(number);
                }
                self.on_bytes(number, bytes);
            }
        }
    }

    fn on_connected(&mut self, number: usize) {
        let Some(socket) = self.sockets.get_mut(number) else { return };
        socket.connected = true;
        let waiter = socket.waiter.take();
        self.advance(number);
        if let Some(waiter) = waiter {
            self.advance(waiter);
        }
    }

    fn on_bytes(&mut self, number: usize, bytes: Vec<u8>) {
        let Some(socket) = self.sockets.get_mut(number) else { return };
        if bytes.is_empty() {
            return;
        }
        match socket.spliced {
            Some(other) => self.send(other, &bytes),
            None => {
                socket.inbox.extend(bytes);
                self.advance(number);
                self.respond(number);
                self.take_out(number);
            }
        }
    }

    /// Cuts what has arrived into messages and schedules what each brings about.
    fn respond(&mut self, number: usize) {
        let Some(socket) = self.sockets.get_mut(number) else { return };
        if matches!(socket.script.front(), Some(Step::Await(_))) || !socket.connected {
            return;
        }
        let Some(reflex) = &mut socket.reflex else { return };
        let mut answers = Vec::new();
        loop {
            let waiting = socket.inbox.make_contiguous();
            let Some(message) = (reflex.cut)(waiting).and_then(|n| waiting.get(..n)) else { break };
            let n = message.len();
            answers.extend((reflex.answer)(message));
            socket.inbox.drain(..n);
            if n == 0 {
                break;
            }
        }
        for (after, speaker, bytes) in answers {
            self.schedule(self.now.saturating_add(after), Event::Say(speaker, bytes));
        }
    }

    fn on_finished(&mut self, number: usize) {
        let Some(socket) = self.sockets.get_mut(number) else { return };
        socket.finished = true;
        match socket.spliced {
            Some(other) => self.close(other),
            None => self.advance(number),
        }
    }

    fn send(&mut self, number: usize, bytes: &[u8]) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(number) else { return };
        match &mut socket.carrier {
            Carrier::Tcp(_) => {
                self.with_tcp(number, |tcp, out| tcp.send(now, bytes, out));
            }
            Carrier::Channel => self.dispatch(number, Cargo::Bytes(bytes.to_vec())),
            Carrier::Udp(sent) => {
                *sent = sent.wrapping_add(1);
                let id = *sent;
                self.dispatch(number, Cargo::Datagram(id, bytes.to_vec()));
            }
        }
    }

    fn close(&mut self, number: usize) {
        let now = self.now;
        match self.sockets.get(number).map(|socket| &socket.carrier) {
            Some(Carrier::Tcp(_)) => {
                self.with_tcp(number, |tcp, out| tcp.close(now, out));
            }
            Some(Carrier::Channel) => self.dispatch(number, Cargo::Close),
            Some(Carrier::Udp(_)) | None => {}
        }
    }

    /// Does the steps of a socket's script until one has to wait.
    fn advance(&mut self, number: usize) {
        loop {
            let Some(socket) = self.sockets.get_mut(number) else { return };
            if !socket.connected || socket.asleep {
                return;
            }
            let Some(step) = socket.script.pop_front() else {
                if socket.finished {
                    socket.finished = false;
                    self.close(number);
                }
                return;
            };
            match step {
                Step::Send(bytes) => self.send(number, &bytes),
                Step::Close => self.close(number),
                Step::Pause(span) => {
                    socket.asleep = true;
                    self.schedule(self.now.saturating_add(span), Event::Wake(number));
                }
                Step::Await(n) if socket.inbox.len() >= n => drop(socket.inbox.drain(..n)),
                Step::Connect(other) => match self.sockets.get_mut(other) {
                    Some(far) if !far.connected => {
                        far.waiter = Some(number);
                        self.schedule(self.now, Event::Open(other));
                        self.pause_for(number, Step::Connected(other));
                        return;
                    }
                    _ => {}
                },
                Step::Connected(other) if self.sockets.get(other).is_some_and(|far| far.connected) => {}
                Step::Splice(other) => self.splice(number, other),
                Step::Await(_) | Step::Connected(_) => {
                    self.pause_for(number, step);
                    return;
                }
            }
        }
    }

    /// Puts a step back: it is not yet time for it.
    fn pause_for(&mut self, number: usize, step: Step) {
        if let Some(socket) = self.sockets.get_mut(number) {
            socket.script.push_front(step);
        }
    }

    /// Ties two sockets together: from now on a relay sits there.
    fn splice(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let Some(socket) = self.sockets.get_mut(from) else { return };
            socket.spliced = Some(to);
            let waiting: Vec<u8> = socket.inbox.drain(..).collect();
            let finished = std::mem::take(&mut socket.finished);
            if !waiting.is_empty() {
                self.send(to, &waiting);
            }
            if finished {
                self.close(to);
            }
        }
    }
}

fn nth_hop(hops: &[Hop], direction: Direction, n: usize) -> Option<Hop> {
    match direction {
        Direction::Orig => hops.get(n).copied(),
        Direction::Resp => hops.iter().rev().nth(n).copied(),
    }
}

impl Cargo {
    /// Length of its IPv4 packet.
    fn ip_length(&self) -> usize {
        match self {
            Self::Segment(segment) => {
                let options = if segment.syn.is_some() { 12 } else { 0 };
                let times = if segment.times.is_some() && segment.syn.is_none() { 12 } else { 0 };
                segment.payload.len().saturating_add(40 + options + times)
            }
            Self::Datagram(_, bytes) => bytes.len().saturating_add(28),
            Self::Open | Self::Bytes(_) | Self::Close => 0,
        }
    }

    /// Bytes on the line, and whether the line may lose it.
    fn size(&self) -> (usize, bool) {
        match self {
            Self::Segment(segment) => (segment.payload.len().saturating_add(66), true),
            Self::Datagram(_, bytes) => (bytes.len().saturating_add(42), true),
            Self::Bytes(bytes) => (bytes.len().saturating_add(20), false),
            Self::Open | Self::Close => (40, false),
        }
    }
}

//! The state kept beside each flow: its handshake meter, its reader while there is something to read, its story.
//!
//! A settled flow costs a stage check a packet. Emits [`News`] when the handshake has been read and at the end.

use super::measured::Measured;
pub use super::reading::Budget;
use super::reading::{Found, Look, Reading};
use super::story::is_one_of_many;
use super::{Session, Story};
use crate::base::{
    Claim, Direction, Event, EventKind, Layer, Located, Loop, RttPart, RttSample, Side, Timestamp, TunnelSide, Volume,
    Whereabouts,
};
use crate::flow::{Chunk, FiveTuple, Flow, Limits};
use crate::meter::{DataEcho, KeyEcho, RemoteEcho, ShapeMeter, TcpData, TcpHandshake, Turnaround};
use crate::protocol::{Carrier, Category, Gait, Pdu, Protocol, gait_of, tunnels_at};
use crate::wire::{Packet, TcpFlags, TcpHeader, Transport};
use std::net::IpAddr;
use std::time::Duration;

/// Something the rest of the house should know now.
#[derive(Debug)]
pub enum News<'a> {
    /// New round trips of a session; `all` are those known so far, the new ones last.
    Samples {
        /// The session's flow.
        flow: &'a Flow,
        /// What is known of it.
        story: &'a Story,
        /// The samples not told before.
        fresh: &'a [RttSample],
        /// The hello lag, the one time it is told.
        lag: Option<Duration>,
    },
    /// What a long flow brought in a window of five minutes, one kind at a time; each round trip is told once, here or
    /// as a sample.
    Part {
        /// The session's flow.
        flow: &'a Flow,
        /// The round trips.
        part: RttPart<'a>,
    },
    /// An address has a name.
    Name {
        /// When this was said.
        at: Timestamp,
        /// The address.
        address: IpAddr,
        /// Its name.
        name: String,
    },
    /// Somebody is said to be at an address.
    Claim(Located),
    /// A question whose answer may come on another flow.
    Asked {
        /// When.
        at: Timestamp,
        /// Who asked.
        dir: Direction,
        /// The loop.
        of: Loop,
        /// What the answer will bear.
        token: u64,
    },
    /// The answer to a question of another flow.
    Answered {
        /// When.
        at: Timestamp,
        /// Who answered.
        dir: Direction,
        /// The loop.
        of: Loop,
        /// What the question bore.
        token: u64,
        /// Where whoever knows the question puts the round trip.
        sample: &'a mut Option<RttSample>,
    },
    /// What passed when: of a tunnel from outside, or of an address that may be inside one.
    Volumes {
        /// Which of the two.
        side: TunnelSide,
        /// The worker's address on that side.
        address: IpAddr,
        /// Not told before.
        volumes: &'a [Volume],
    },
}

/// A session that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its record.
    pub session: Session,
    /// From here on its samples have not been told as news.
    pub untold: usize,
    /// Its hello lag, if that has not been told.
    pub lag: Option<Duration>,
}

impl Ended {
    /// The samples not told as news.
    #[must_use]
    pub fn fresh(&self) -> &[RttSample] {
        self.session.samples.get(self.untold..).unwrap_or(&[])
    }
}

/// So many packets of one end are followed before the other is heard.
const UNHEARD: u64 = 8;

/// State beside a flow.
#[derive(Debug, Default)]
pub struct Connection {
    handshake: TcpHandshake,
    live: Option<Box<Live>>,
    /// Where there is more to tell than the TCP handshake keeps itself.
    story: Option<Box<Story>>,
    /// The data of a TCP connection, from the first on.
    data: Option<Box<TcpData>>,
    /// The round trips that are not kept one by one.
    measured: Measured,
    /// When they have to be told.
    until: Until,
    /// Counts on where the protocol wants it.
    watch: Option<Box<Watch>>,
    watched: bool,
    stage: Stage,
    /// Datagrams looked at and found to be nothing.
    looks: u8,
    /// How many of the samples have been told as news.
    told: u8,
    /// Whether the hello lag has been.
    lag_told: bool,
}

/// When something is due; mostly nothing is.
#[derive(Debug, Clone, Copy)]
struct Until(Timestamp);

impl Default for Until {
    fn default() -> Self {
        Self(Timestamp::MAX)
    }
}

/// What is measured of a flow whose handshake is over.
#[derive(Debug, Default)]
struct Watch {
    /// Of a protocol whose flows tell by their first packets.
    beginning: Option<(ShapeMeter, &'static Gait)>,
    shape: Option<(ShapeMeter, &'static Gait, KeyEcho)>,
    echo: Option<Box<RemoteEcho>>,
    data: Option<Box<DataEcho>>,
}

impl Watch {
    /// For flows of this protocol, over TCP or not, if anything is to be measured.
    fn of(protocol: &'static Protocol, stream: bool) -> Option<Box<Self>> {
        let gait = gait_of(protocol);
        let beginning = gait.filter(|gait| gait.packets.is_some()).map(|gait| (ShapeMeter::default(), gait));
        let shape = gait.filter(|gait| gait.packets.is_none());
        let shape = shape.map(|gait| (ShapeMeter::default(), gait, KeyEcho::default()));
        let screen = matches!(protocol.category, Category::RemoteDesktop | Category::Kvm);
        // A shell's channels may carry a screen, the other way round: asked for by the responder.
        let echo = (screen || shape.is_some()).then(Box::default);
        let data = tunnels_at(protocol).map(|layer| Box::new(DataEcho::new(layer, stream)));
        let watch = Self { beginning, shape, echo, data };
        (!watch.is_over()).then(|| Box::new(watch))
    }

    /// Whether there is nothing to be measured.
    const fn is_over(&self) -> bool {
        self.beginning.is_none() && self.shape.is_none() && self.echo.is_none() && self.data.is_none()
    }

    /// What was counted of the beginning, once that is enough.
    fn begun(&mut self) -> Option<(ShapeMeter, &'static Gait)> {
        self.beginning.take_if(|(meter, gait)| gait.packets.is_some_and(|enough| meter.shape().packets() >= enough))
    }

    /// Takes a packet in; `told` are the round trips of the flow so far.
    fn on_packet(&mut self, dir: Direction, packet: &Packet<'_>, told: &[RttSample]) -> [Option<RttSample>; 3] {
        let (at, len) = (packet.at, packet.payload_len);
        let mut stroke = None;
        if let Some((shape, _)) = &mut self.beginning {
            shape.on_packet(at, dir, len);
        }
        if let Some((shape, _, keys)) = &mut self.shape {
            shape.on_packet(at, dir, len);
            if let Transport::Tcp(tcp) = &packet.transport {
                stroke = keys.on_segment(at, dir, tcp, len);
            }
        }
        let enough = self.echo.as_mut().is_some_and(|echo| echo.on_packet(at, dir, len));
        let asked = self.data.as_mut().is_some_and(|data| data.on_packet(at, dir, len));
        let screen = if enough { self.conclude_screen(at, told) } else { None };
        [stroke, screen, if asked { self.conclude_data(at, told) } else { None }]
    }

    /// What is still to be told at the end.
    fn rest(&mut self, at: Timestamp, told: &[RttSample]) -> [Option<RttSample>; 2] {
        [self.conclude_screen(at, told), self.conclude_data(at, told)]
    }

    /// The round trip to the machine inside a tunnel, if there are enough packets to tell.
    fn conclude_data(&mut self, at: Timestamp, told: &[RttSample]) -> Option<RttSample> {
        self.data.as_mut()?.conclude(at, shortest_handshake(told, Side::Client))
    }

    /// The round trip to the viewer of a screen, if there are enough packets to tell.
    fn conclude_screen(&mut self, at: Timestamp, told: &[RttSample]) -> Option<RttSample> {
        let echo = self.echo.as_mut()?;
        let floor = echo.viewer().and_then(|side| shortest_handshake(told, side));
        let sample = echo.conclude(at, floor)?;
        // In a shell only what the responder had carried to the originator can be a screen: without such a channel,
        // what follows a page of text is a person who has read it.
        let reversed = self.shape.as_ref().is_none_or(|(meter, ..)| meter.shape().openings.resp > 0);
        Some(sample).filter(|_| reversed)
    }
}

/// TCP's own round trip to that side, if its handshake was seen.
fn shortest_handshake(told: &[RttSample], side: Side) -> Option<Duration> {
    told.iter().filter(|s| s.layer == Layer::TcpHandshake && s.side == side).map(|s| s.rtt).min()
}

/// What exists only while the handshake is read.
#[derive(Debug)]
struct Live {
    reading: Reading,
    turnaround: Turnaround,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Fresh,
    Reading,
    Settled,
}

impl Connection {
    /// A packet of the flow, already counted and known not to be a mirror's copy.
    pub fn on_packet(
        &mut self,
        flow: &Flow,
        dir: Direction,
        packet: &Packet<'_>,
        budget: &Budget,
        news: &mut impl FnMut(News<'_>),
    ) {
        if packet.at >= self.until.0 {
            self.tell_parts(flow, news);
        }
        match packet.transport {
            Transport::Tcp(tcp) => {
                if !self.handshake.is_done()
                    && let Some(sample) = self.handshake.on_segment(packet.at, dir, &tcp)
                {
                    // Else the handshake keeps it until there is a story.
                    if let Some(story) = &mut self.story {
                        story.on_sample(sample, &mut self.measured);
                    }
                    if packet.payload_len > 0 {
                        // The acknowledgment before it was lost, or never sent: how long the client waited is unknown.
                        self.handshake.forget_completion();
                    }
                }
                self.on_data(flow, dir, packet, &tcp);
                self.count(dir, packet);
                if self.stage != Stage::Settled && *budget != Budget::NOTHING {
                    self.on_segment(flow, dir, packet, &tcp, budget, news);
                }
            }
            _ if self.stage == Stage::Settled => self.count(dir, packet),
            _ if *budget == Budget::NOTHING => {}
            Transport::Udp { .. } => self.on_datagram(flow, dir, packet, Carrier::Datagram, budget, news),
            _ => self.on_datagram(flow, dir, packet, Carrier::Ip(flow.tuple.proto.0), budget, news),
        }
    }

    /// Whether there is still something to be read: what a settled flow is doesn't change.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.stage == Stage::Reading
    }

    /// Whether nothing more will be learned before it ends.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.stage == Stage::Settled
    }

    /// Whether it has been recognised as a tunnel.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        let named = self.story.as_ref().and_then(|story| Some((story, story.named(true)?.0)));
        named.is_some_and(|(story, protocol)| story.category(protocol) == Category::Vpn)
    }

    /// The kind of session for which this flow gathers others, if it does.
    #[must_use]
    pub fn gathers(&self) -> Option<&'static str> {
        self.story.as_ref().and_then(|story| story.gathers())
    }

    /// Originator and responder have been exchanged: what was read so far was read the wrong way round.
    pub fn on_flip(&mut self) {
        *self = Self::default();
    }

    /// The flow has ended: gives the record, and what of it has not been told as news.
    pub fn close(mut self, flow: &Flow, news: &mut impl FnMut(News<'_>)) -> Ended {
        if let Some(mut live) = self.live.take() {
            let Live { reading, turnaround } = &mut *live;
            let (story, handshake, measured) = (&mut self.story, &self.handshake, &mut self.measured);
            let mut learned = Learned { story, handshake, measured, turnaround };
            reading.on_close(flow.last, &mut |found| learned.take(found, news));
            tell_claims(flow, self.story.as_deref_mut(), news);
        }
        if let (Some(story), Some(watch)) = (&mut self.story, self.watch.as_deref_mut()) {
            let rest = watch.rest(flow.last, &story.samples);
            rest.into_iter().flatten().for_each(|sample| story.on_sample(sample, &mut self.measured));
            if let Some((meter, gait, _)) = &watch.shape {
                walked(meter, gait, flow.last, story);
            }
            if let Some((meter, gait)) = &watch.beginning {
                walked(meter, gait, flow.last, story);
            }
        }
        self.tell_parts(flow, news);
        let hello_lag = self.handshake.hello_lag();
        let story = self.story.map_or_else(|| Story::after(self.handshake.samples()), |story| *story);
        let mut session = Session::of(flow, story);
        session.digests = self.measured.into_digests();
        session.tallies = self.data.map(|data| data.tallies());
        session.hello_lag = hello_lag;
        Ended { session, untold: usize::from(self.told), lag: hello_lag.filter(|_| !self.lag_told) }
    }

    /// A packet of a settled flow.
    fn count(&mut self, dir: Direction, packet: &Packet<'_>) {
        if let (Some(watch), Some(story)) = (&mut self.watch, &mut self.story)
            && packet.payload_len > 0
        {
            let samples = watch.on_packet(dir, packet, &story.samples);
            samples.into_iter().flatten().for_each(|sample| story.on_sample(sample, &mut self.measured));
            if let Some((meter, gait)) = watch.begun() {
                walked(&meter, gait, packet.at, story);
                if watch.is_over() {
                    self.watch = None;
                }
            }
            self.until.set(&self.measured);
        }
    }

    /// A packet of the flow that a mirror copied: it counts nowhere else.
    pub fn on_copy(&mut self, dir: Direction) {
        if let Some(data) = &mut self.data {
            data.on_copy(dir);
        }
    }

    /// Follows data and acknowledgments. Where only one direction is captured there is nothing to follow: of a connection
    /// seen from its middle a few segments are, until the other end is heard.
    fn on_data(&mut self, flow: &Flow, dir: Direction, packet: &Packet<'_>, tcp: &TcpHeader) {
        let (own, unheard) = (flow.ends.of(dir).packets, flow.ends.of(dir.flip()).packets == 0);
        if unheard && own > UNHEARD {
            self.data = None;
        }
        let data = match &mut self.data {
            Some(data) => data,
            None if unheard && (own > 1 || flow.opening_seen) => return,
            None if (unheard || flow.opening_seen) && !goes_on(packet, tcp) => return,
            none => none.insert(Box::new(TcpData::new(flow.isn, flow.may_sack()))),
        };
        let (story, measured) = (&mut self.story, &mut self.measured);
        data.on_segment(packet.at, dir, tcp, packet.payload_len, &mut |sample| {
            if is_one_of_many(&sample) {
                measured.add(&sample);
            } else {
                begun(story, &self.handshake).on_sample(sample, measured);
            }
            self.until.set(measured);
        });
    }

    /// Tells what was measured in the window that is over.
    fn tell_parts(&mut self, flow: &Flow, news: &mut impl FnMut(News<'_>)) {
        self.until = Until::default();
        self.data.as_mut().into_iter().for_each(|data| data.rest());
        self.measured.tell(&mut |part| news(News::Part { flow, part }));
    }

    fn on_segment(
        &mut self,
        flow: &Flow,
        dir: Direction,
        packet: &Packet<'_>,
        tcp: &TcpHeader,
        budget: &Budget,
        news: &mut impl FnMut(News<'_>),
    ) {
        if packet.payload_len == 0 && self.stage == Stage::Fresh {
            return;
        }
        if dir == Direction::Orig && packet.payload_len > 0 {
            self.handshake.on_client_bytes(packet.at);
        }
        let mut look = None;
        if self.stage == Stage::Fresh && is_first(flow, dir, packet, tcp) {
            let pdu = Pdu { at: packet.at, dir, bytes: packet.payload, carrier: Carrier::Stream, missing: 0 };
            let first = Look::at(&pdu, &flow.tuple);
            if first.is_nothing() {
                // What was measured of it is told when it ends.
                self.stage = Stage::Settled;
                return;
            }
            look = Some(first);
        }
        let (reading, mut learned) = self.reading(flow, Carrier::Stream);
        let at = packet.at;
        let seq = if tcp.flags.has(TcpFlags::SYN) { tcp.seq.wrapping_add(1) } else { tcp.seq };
        if let Some(isn) = *flow.isn.of(dir) {
            reading.assemblers.of_mut(dir).on_syn(isn);
        }
        let limits = Limits::default();
        if tcp.flags.has(TcpFlags::ACK) {
            learned.turnaround.on_segment(dir, seq.wrapping_add(packet.payload_len), tcp.ack);
            let mut peer = std::mem::take(reading.assemblers.of_mut(dir.flip()));
            peer.on_ack(tcp.ack, &mut |chunk| {
                on_chunk(reading, chunk, dir.flip(), None, budget, &mut learned, news);
            });
            *reading.assemblers.of_mut(dir.flip()) = peer;
        }
        let mut own = std::mem::take(reading.assemblers.of_mut(dir));
        let repeated = own.on_segment(at, seq, packet.payload, packet.payload_len, &limits, &mut |chunk| {
            on_chunk(reading, chunk, dir, look.take(), budget, &mut learned, news);
        });
        if repeated {
            learned.turnaround.on_repeat(dir);
        }
        *reading.assemblers.of_mut(dir) = own;
        let over = reading.is_over();
        tell_claims(flow, self.story.as_deref_mut(), news);
        let established = self.story.as_mut().is_some_and(|story| {
            let lasts = story.confirmed && story.protocol.is_some_and(|protocol| protocol.lasting);
            std::mem::take(&mut story.established) || lasts
        });
        self.until.set(&self.measured);
        if over {
            self.settle(flow, news);
        } else if established {
            self.watch(true);
            self.tell(flow, news);
        }
    }

    /// From here on what is measured without reading is measured; it begins once.
    fn watch(&mut self, stream: bool) {
        if !std::mem::replace(&mut self.watched, true) {
            // A tool that a name in TLS gives away has a screen as one that says so itself.
            let named = self.story.as_ref().and_then(|story| story.named(true));
            self.watch = named.and_then(|(protocol, ..)| Watch::of(protocol, stream));
        }
    }

    /// From here on the flow is read.
    fn reading(&mut self, flow: &Flow, carrier: Carrier) -> (&mut Reading, Learned<'_>) {
        self.stage = Stage::Reading;
        let Live { reading, turnaround } = &mut **self.live.get_or_insert_with(|| Box::new(Live::new(flow, carrier)));
        let (story, handshake, measured) = (&mut self.story, &self.handshake, &mut self.measured);
        (reading, Learned { story, handshake, measured, turnaround })
    }

    fn on_datagram(
        &mut self,
        flow: &Flow,
        dir: Direction,
        packet: &Packet<'_>,
        carrier: Carrier,
        budget: &Budget,
        news: &mut impl FnMut(News<'_>),
    ) {
        let cut = u32::try_from(packet.payload.len()).unwrap_or(u32::MAX);
        let pdu =
            Pdu { at: packet.at, dir, bytes: packet.payload, carrier, missing: packet.payload_len.saturating_sub(cut) };
        let look = (self.stage == Stage::Fresh).then(|| Look::at(&pdu, &flow.tuple));
        if look.as_ref().is_some_and(Look::is_nothing) {
            self.looks += 1;
            if self.looks >= budget.probe_datagrams {
                self.stage = Stage::Settled;
            }
            return;
        }
        let (reading, mut learned) = self.reading(flow, carrier);
        reading.on_bytes(&pdu, look, budget, &mut |found| learned.take(found, news));
        let over = reading.is_over();
        tell_claims(flow, self.story.as_deref_mut(), news);
        // What is read as long as it lasts never settles.
        let lasts = |story: &Story| story.confirmed && story.protocol.is_some_and(|protocol| protocol.lasting);
        let (lasting, known) = self.story.as_ref().map_or((false, 0), |story| (lasts(story), story.samples.len()));
        self.until.set(&self.measured);
        if lasting {
            self.watch(false);
        }
        self.count(dir, packet);
        if over {
            self.settle(flow, news);
        } else if usize::from(self.told) < known {
            self.tell(flow, news);
        }
    }

    /// Drops the reader and tells what it found.
    fn settle(&mut self, flow: &Flow, news: &mut impl FnMut(News<'_>)) {
        self.stage = Stage::Settled;
        self.live = None;
        self.watch(flow.is_tcp());
        self.tell(flow, news);
    }

    fn tell(&mut self, flow: &Flow, news: &mut impl FnMut(News<'_>)) {
        // What the handshake tells by itself needs no story that stays.
        let passing;
        let story = match &self.story {
            Some(story) => &**story,
            None => {
                passing = Story::after(self.handshake.samples());
                &passing
            }
        };
        let told = usize::from(self.told);
        self.told = u8::try_from(story.samples.len()).unwrap_or(u8::MAX);
        let lag = if self.lag_told { None } else { self.handshake.hello_lag() };
        self.lag_told |= lag.is_some();
        let fresh = story.samples.get(told..).unwrap_or(&[]);
        if !fresh.is_empty() || lag.is_some() {
            news(News::Samples { flow, story, fresh, lag });
        }
    }
}

impl Until {
    fn set(&mut self, measured: &Measured) {
        self.0 = measured.until().unwrap_or(Timestamp::MAX);
    }
}

/// The story of a flow, with what its handshake has kept for it so far.
fn begun<'a>(story: &'a mut Option<Box<Story>>, handshake: &TcpHandshake) -> &'a mut Story {
    story.get_or_insert_with(|| Box::new(Story::after(handshake.samples())))
}

/// Takes in what a shape tells.
fn walked(meter: &ShapeMeter, gait: &Gait, at: Timestamp, story: &mut Story) {
    if let Some(value) = (gait.of)(meter.shape(), &story.attributes) {
        let kind = EventKind::Attribute { key: gait.key, value: value.to_owned() };
        story.on_event(Event { at, dir: Direction::Orig, kind });
    }
}

/// Whether a segment is to be acknowledged beyond the handshake: it brings data, or the end of them.
const fn goes_on(packet: &Packet<'_>, tcp: &TcpHeader) -> bool {
    packet.payload_len > 0 || (tcp.flags.has(TcpFlags::FIN) && !tcp.flags.has(TcpFlags::SYN))
}

/// Whether a segment carries the first bytes of its direction, whole.
fn is_first(flow: &Flow, dir: Direction, packet: &Packet<'_>, tcp: &TcpHeader) -> bool {
    let begins = flow.isn.of(dir).is_some_and(|isn| tcp.seq == isn.wrapping_add(1));
    begins && !tcp.flags.has(TcpFlags::SYN) && u32::try_from(packet.payload.len()) == Ok(packet.payload_len)
}

impl Live {
    fn new(flow: &Flow, carrier: Carrier) -> Self {
        let whole = !flow.is_tcp() || flow.opening_seen;
        Self { reading: Reading::new(&flow.tuple, carrier, whole), turnaround: Turnaround::default() }
    }
}

fn on_chunk(
    reading: &mut Reading,
    chunk: Chunk<'_>,
    dir: Direction,
    look: Option<Look>,
    budget: &Budget,
    learned: &mut Learned<'_>,
    news: &mut impl FnMut(News<'_>),
) {
    let mut found = |found| learned.take(found, news);
    match chunk {
        Chunk::Bytes(at, bytes) => {
            let pdu = Pdu { at, dir, bytes, carrier: Carrier::Stream, missing: 0 };
            reading.on_bytes(&pdu, look, budget, &mut found);
        }
        Chunk::Gap(at, len) => reading.on_gap(at, dir, len, &mut found),
    }
}

/// Passes on who is said to be where.
fn tell_claims(flow: &Flow, story: Option<&mut Story>, news: &mut impl FnMut(News<'_>)) {
    for (at, claim) in story.map(Story::take_claims).unwrap_or_default() {
        news(News::Claim(located(at, claim, &flow.tuple)));
    }
}

/// A claim with its place as an address.
fn located(at: Timestamp, claim: Claim, tuple: &FiveTuple) -> Located {
    let address = match claim.place {
        Whereabouts::Address(address) => address,
        Whereabouts::End(Direction::Orig) => tuple.orig.ip,
        Whereabouts::End(Direction::Resp) => tuple.resp.ip,
    };
    Located { at, address: address.to_canonical(), claim }
}

/// Where it goes what is learned while a flow is read.
struct Learned<'a> {
    story: &'a mut Option<Box<Story>>,
    handshake: &'a TcpHandshake,
    measured: &'a mut Measured,
    turnaround: &'a mut Turnaround,
}

impl Learned<'_> {
    /// Begins where there is something to tell: most flows that are probed turn out to be nothing.
    fn story(&mut self) -> &mut Story {
        begun(self.story, self.handshake)
    }

    fn on_sample(&mut self, sample: RttSample) {
        begun(self.story, self.handshake).on_sample(sample, self.measured);
    }

    /// Takes in what the reader found.
    fn take(&mut self, found: Found, news: &mut impl FnMut(News<'_>)) {
        let event = match found {
            Found::Protocol(protocol) => {
                self.story().protocol = Some(protocol);
                return;
            }
            Found::Event(event) => event,
        };
        if let Some(sample) = self.turnaround.on_event(&event) {
            self.on_sample(sample);
        }
        let (at, dir) = (event.at, event.dir);
        match event.kind {
            EventKind::Name { address, name } => news(News::Name { at, address, name }),
            EventKind::AskAcross { of, token } => news(News::Asked { at, dir, of, token }),
            EventKind::AnswerAcross { of, token } => {
                let mut sample = None;
                news(News::Answered { at, dir, of, token, sample: &mut sample });
                if let Some(sample) = sample {
                    self.on_sample(sample);
                }
            }
            _ => self.story().on_event(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Table, Timeouts};
    use crate::wire::Encapsulation;
    use std::net::{IpAddr, Ipv4Addr};

    /// Milliseconds, sender, flags, sequence number, acknowledgment, payload.
    type Segment<'a> = (i64, Direction, u8, u32, u32, &'a [u8]);

    fn lag_of(segments: &[Segment<'_>]) -> Option<Duration> {
        let mut table = Table::<Connection>::new(16, Timeouts::default());
        for (ms, dir, flags, seq, ack, payload) in segments {
            let ends =
                [(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50_000), (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 443)];
            let ((src, src_port), (dst, dst_port)) = (ends[dir.index()], ends[dir.flip().index()]);
            let flags = TcpFlags(*flags);
            let tcp = TcpHeader { src_port, dst_port, seq: *seq, ack: *ack, flags, ..TcpHeader::default() };
            let payload_len = u32::try_from(payload.len()).unwrap();
            let packet = Packet {
                at: Timestamp::from_nanos(ms * 1_000_000),
                src,
                dst,
                ttl: 64,
                ip_id: 0,
                ip_len: 40 + payload_len,
                dont_fragment: true,
                largest_fragment: 0,
                transport: Transport::Tcp(tcp),
                payload_len,
                payload,
                encapsulation: Encapsulation::default(),
            };
            let touch = table.touch(&packet, packet.at, |_, _| {});
            let (flow, connection) = table.pair_mut(touch.id).unwrap();
            connection.on_packet(flow, touch.dir, &packet, &Budget::default(), &mut |_| {});
        }
        let mut lag = None;
        table.drain(|flow, connection| lag = connection.close(&flow, &mut |_| {}).session.hello_lag);
        lag
    }

    /// Where the first acknowledgment was lost, the first bytes end the handshake, and the client seemed not to wait.
    #[test]
    fn a_client_waited_only_if_the_end_of_the_handshake_was_seen_by_itself() {
        use Direction::{Orig, Resp};
        let hello = &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..];
        let syn = (0, Orig, 0x02, 9, 0, &b""[..]);
        let syn_ack = (10, Resp, 0x12, 99, 10, &b""[..]);
        let ack = (40, Orig, 0x10, 10, 100, &b""[..]);
        let first = (200, Orig, 0x18, 10, 100, hello);
        assert_eq!(lag_of(&[syn, syn_ack, ack, first]), Some(Duration::from_millis(160)));
        assert_eq!(lag_of(&[syn, syn_ack, first]), None);
    }
}

//! What a worker does inside a corporate tunnel that is seen from outside only, and the tunnel around it.
//!
//! Reads: a worker with its legs in the world. Emits: the tunnel's control connection, and inside the tunnel, packet by
//! packet, TCP connections with pages of some segments and pauses between them, a typed shell now and then; of one worker
//! in ten a call over UDP and nothing else, of another one nothing but look-ups of names (design values). Does not: say
//! what is inside; only lengths and times pass the tap.

use crate::simulate::frame::Faces;
use crate::simulate::leg::MS;
use crate::simulate::random::Random;
use crate::simulate::script::{Dialogue, Step};
use crate::simulate::stack::LINUX;
use crate::simulate::tunnel::Tunnel;
use crate::simulate::worker::{Corporate, Paths, Talk, Topology, Worker};
use crate::simulate::world::{Hop, World};
use crate::simulate::{ike, openvpn, wireguard};

/// What is done inside.
enum Use {
    Work(Vec<Visit>),
    /// From when, and how many packets of voice.
    Call(i64, u32),
    Names(Vec<i64>),
}

/// A conversation over TCP, from when on, and when about it goes on.
struct Visit {
    at: i64,
    talk: Dialogue,
    busy: Vec<i64>,
}

/// The tunnel's own handshake is through by then, also across two hidden legs and a proxy.
const SETTLED: i64 = 8_000 * MS;
/// Each packet of voice: 20 ms of G.711 with its headers (RFC 3551).
const VOICE: (i64, usize) = (20 * MS, 172);

/// Lays the tunnel out, and what passes in it; names the protocol.
pub(super) fn lay(worker: &mut Worker, world: &mut World, paths: &Paths, port: u16, vpn: Corporate) -> &'static str {
    let shrunk = worker.topology == Topology::Exit;
    let largest: u16 = if shrunk { 1_280 } else { 1_380 };
    let early = worker.chance.between(worker.duration / 50, worker.duration / 3);
    let begin = worker.begins.saturating_add(early);
    let done = Use::new(worker.duration, &mut worker.chance);
    let (name, hop) = dug(worker, world, paths, (port, vpn, begin), &done);
    let hops = match hop {
        Hop::Carried(_) => vec![hop],
        _ => paths.near.iter().copied().chain([hop]).chain(paths.beyond.iter().copied()).collect(),
    };
    match done {
        Use::Work(visits) => {
            for (number, Visit { at, talk, .. }) in (0_u16..).zip(visits) {
                let ends = [worker.tcp(worker.stack, largest - 40), worker.tcp(&LINUX, largest - 40)];
                let faces = worker.faces(50_000_u16.wrapping_add(number), 443);
                let [client, server] = world.add_connection(hops.clone(), faces, ends);
                world.script(client, talk.client);
                world.script(server, talk.server);
                world.open_at(client, begin.saturating_add(at));
            }
        }
        Use::Call(at, packets) => {
            let voice = |chance: &mut Random| -> Vec<Step> {
                let said = (0..packets).flat_map(|_| [Step::Pause(VOICE.0), Step::Send(vec![0; VOICE.1])]);
                [Step::Pause(chance.between(0, VOICE.0))].into_iter().chain(said).collect()
            };
            // Who listens must have been spoken to before: both begin by themselves.
            let scripts = [voice(&mut worker.chance), voice(&mut worker.chance)];
            datagrams(worker, world, &hops, begin.saturating_add(at), scripts);
        }
        Use::Names(times) => {
            for at in times {
                let mut talk = Dialogue::default();
                talk.client_says(MS, vec![0; 34]);
                talk.server_says(MS / 2, vec![0; 50]);
                datagrams(worker, world, &hops, begin.saturating_add(at), [talk.client, talk.server]);
            }
        }
    }
    name
}

fn datagrams(worker: &mut Worker, world: &mut World, hops: &[Hop], at: i64, [asks, answers]: [Vec<Step>; 2]) {
    let (faces, ends) = (worker.faces(50_000, 53), worker.datagrams());
    let [client, server] = world.add_connection(hops.to_vec(), faces, ends);
    world.script(client, asks);
    world.script(server, answers);
    world.open_at(client, at);
}

/// The tunnel's control connection, and the hop that an inner packet takes past the tap.
fn dug(
    worker: &mut Worker,
    world: &mut World,
    paths: &Paths,
    (port, vpn, begin): (u16, Corporate, i64),
    done: &Use,
) -> (&'static str, Hop) {
    let mut dialogue = Dialogue::default();
    let talk = |dialogue, protocol, port, datagrams| Talk { dialogue, protocol, port, datagrams, then: None };
    let mut own = Random::stream(u64::from_be_bytes(worker.chance.array()), "tunnel");
    match vpn {
        Corporate::WireGuard => {
            let handshakes = u32::try_from(worker.duration / wireguard::REKEY).unwrap_or(0).max(1);
            let outer = worker.faces(port, 51_820);
            let mut chance = Random::stream(u64::from_be_bytes(own.array()), "handshakes");
            let tunnel = Tunnel::new(outer.clone(), begin, handshakes, own);
            shakes(worker, world, &paths.seen(), (&outer, begin), (&tunnel, &mut chance));
            ("wireguard", Hop::Wrapped(world.add_tunnel(tunnel)))
        }
        Corporate::OpenVpn | Corporate::OpenVpnTcp => {
            let over_tcp = vpn == Corporate::OpenVpnTcp;
            let pings = done.pings(worker.duration, &mut worker.chance);
            let pings = [&pings[0][..], &pings[1][..]];
            openvpn::Tunnel { lasts: worker.duration, pings, over_tcp }.play(&mut dialogue, &mut worker.chance);
            let talk = talk(dialogue, "openvpn", if over_tcp { 443 } else { 1_194 }, !over_tcp);
            let outer = worker.faces(port, talk.port);
            let ends = worker.connect(world, paths, outer.clone(), talk, begin);
            let hop = if over_tcp {
                Hop::Carried(world.add_stream(ends, own))
            } else {
                Hop::Wrapped(world.add_tunnel(Tunnel::openvpn(outer, own)))
            };
            ("openvpn", hop)
        }
        Corporate::Ipsec => {
            let (first, rest) = ike::play(worker.duration, &mut own);
            let talk = Talk { then: Some((rest, 4_500)), ..talk(first, "ike", 500, true) };
            let mut outer = worker.faces(port, 500);
            worker.connect(world, paths, outer.clone(), talk, begin);
            outer.client.port = outer.client.port.wrapping_add(1);
            outer.server.port = 4_500;
            ("ike", Hop::Wrapped(world.add_tunnel(Tunnel::esp(outer, own))))
        }
    }
}

/// The handshakes of a WireGuard tunnel, each a connection of its own.
pub(super) fn shakes(
    worker: &mut Worker,
    world: &mut World,
    path: &[Hop],
    (outer, begin): (&Faces, i64),
    (tunnel, chance): (&Tunnel, &mut Random),
) {
    for (turn, [initiator, responder]) in (0_u32..).zip(tunnel.indexes()) {
        let mut talk = Dialogue::default();
        wireguard::shake(turn, initiator, responder, &mut talk, chance);
        let [client, server] = world.add_connection(path.to_vec(), outer.clone(), worker.datagrams());
        world.script(client, talk.client);
        world.script(server, talk.server);
        world.open_at(client, begin.saturating_add(i64::from(turn).saturating_mul(wireguard::REKEY)));
    }
}

impl Use {
    fn new(lasts: i64, chance: &mut Random) -> Self {
        match chance.index(10) {
            0 => Self::Call(SETTLED + chance.between(0, lasts / 4), chance.between(2_000, 5_000) as u32),
            1 => {
                let mut times = Vec::new();
                let mut at = SETTLED;
                while at < lasts {
                    times.push(at);
                    at += chance.between(20_000 * MS, 120_000 * MS);
                }
                Self::Names(times)
            }
            _ => {
                let mut visits = Vec::new();
                let mut at = SETTLED;
                while at < lasts {
                    let visit = if chance.chance(0.15) { Visit::typed(at, chance) } else { Visit::pages(at, chance) };
                    // Now and then two at once.
                    let next = visit.busy.last().map_or(at, |last| last + chance.between(1_000 * MS, 16_000 * MS));
                    at = if chance.chance(0.2) { at + chance.between(100 * MS, 3_000 * MS) } else { next };
                    visits.push(visit);
                }
                Self::Work(visits)
            }
        }
    }

    /// When both ends of an OpenVPN tunnel say that they are there, because nothing passed.
    fn pings(&self, lasts: i64, chance: &mut Random) -> [Vec<i64>; 2] {
        let mut busy: Vec<i64> = match self {
            Self::Work(visits) => visits.iter().flat_map(|visit| visit.busy.iter().copied()).collect(),
            Self::Call(at, packets) => (0..i64::from(*packets)).step_by(50).map(|n| at + n * VOICE.0).collect(),
            Self::Names(times) => times.clone(),
        };
        busy.push(lasts);
        busy.sort_unstable();
        let phase = chance.between(0, 900 * MS);
        let mut pings = [Vec::new(), Vec::new()];
        let mut last = 0;
        for next in busy {
            while next - last > openvpn::PING + phase {
                last += openvpn::PING;
                pings[0].push(last);
                pings[1].push(last + phase);
            }
            last = last.max(next);
        }
        pings
    }
}

impl Visit {
    /// One to six pages on one connection.
    fn pages(at: i64, chance: &mut Random) -> Self {
        let (mut talk, mut busy, mut now) = (Dialogue::default(), Vec::new(), at);
        let mut pause = MS;
        for _ in 0..chance.between(1, 6) {
            now += pause + 300 * MS;
            busy.push(now);
            let (request, length) =
                (chance.between(150, 900) as usize, 700 + (chance.exponential() * 8_000.0) as usize);
            talk.client_says(pause, vec![0; request]);
            talk.server_says(chance.between(MS, 60 * MS), vec![0; length.min(60_000)]);
            pause = chance.between(1_500 * MS, 16_000 * MS);
        }
        talk.client_closes();
        Self { at, talk, busy }
    }

    /// A line or two in a shell, letter by letter.
    fn typed(at: i64, chance: &mut Random) -> Self {
        let (mut talk, mut busy, mut now) = (Dialogue::default(), Vec::new(), at);
        for _ in 0..chance.between(10, 50) {
            let pause = chance.between(80 * MS, 320 * MS);
            now += pause + 100 * MS;
            busy.push(now);
            talk.client_says(pause, vec![0; 36]);
            talk.server_says(chance.between(MS / 5, MS), vec![0; 36]);
        }
        talk.client_closes();
        Self { at, talk, busy }
    }
}

//! One endpoint laid out in the world: its legs, its topology, its sessions, and the truth about it.
//!
//! Reads: a plan of the endpoint. Emits: legs, connections and scripts in the world, and an [`EndpointTruth`]. Does
//! not: know scenarios. Where TCP ends and where the application runs follow from the topology alone.

use crate::simulate::frame::{Face, Faces, GATEWAY_HOPS};
use crate::simulate::leg::{Leg, MS};
use crate::simulate::octets::Octets;
use crate::simulate::place::{ASHBURN, Place};
use crate::simulate::random::Random;
use crate::simulate::script::{Dialogue, Step};
use crate::simulate::stack::{LINUX, Stack};
use crate::simulate::tcp::Tcp;
use crate::simulate::tls_hello::Program;
use crate::simulate::truth::EndpointTruth;
use crate::simulate::world::{Carrier, Hop, World};
use crate::simulate::{ssh, tls, wireguard};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands between the person and the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topology {
    /// Nothing: the worker sits at the address seen.
    Direct,
    /// A SOCKS5 proxy at the address seen: TCP ends there, the application beyond it.
    Proxy,
    /// A tunnel exit at the address seen: everything ends beyond it, MSS clamped to the tunnel.
    Exit,
    /// A satellite operator's accelerator: TCP ends at the teleport, the application beyond the satellite.
    Accelerated,
}

/// What the person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Web sessions over TLS 1.2 and 1.3 and SSH sessions, mixed.
    Office,
    /// One corporate WireGuard tunnel.
    WireGuard,
}

/// An endpoint to lay out. `far` and `near` are the legs beyond and before the place seen, nearest to the person first.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) label: &'static str,
    pub(super) kind: &'static str,
    pub(super) topology: Topology,
    pub(super) traffic: Traffic,
    pub(super) place: &'static Place,
    pub(super) operator: &'static Place,
    pub(super) address: IpAddr,
    /// The stack of the person's computer.
    pub(super) stack: &'static Stack,
    pub(super) far: Vec<Leg>,
    pub(super) near: Vec<Leg>,
    pub(super) edge: Leg,
    /// Mean round trip between operator and home, nanoseconds; 0 for none.
    pub(super) hidden_rtt: i64,
    pub(super) sessions: u32,
    pub(super) duration: i64,
    pub(super) notes: Vec<&'static str>,
    pub(super) chance: Random,
}

/// Paths of an endpoint once its legs are in the world.
#[derive(Debug)]
struct Paths {
    /// From the person to the relay; empty without one.
    far: Vec<Hop>,
    /// From the end of TCP past the tap to the server.
    near: Vec<Hop>,
}

impl Worker {
    /// Lays the endpoint out and tells the truth about it.
    pub(super) fn settle(mut self, world: &mut World) -> EndpointTruth {
        let hops = u8::try_from(self.chance.between(9, 14)).unwrap_or(11) + u8::from(self.topology == Topology::Exit);
        let mut truth = self.truth(hops);
        let paths = self.paths(world);
        let mut protocols = BTreeSet::new();
        let mut port = u16::try_from(self.chance.between(49_200, 57_000)).unwrap_or(50_000);
        let slot = self.duration / i64::from(self.sessions.max(1));
        let mix = self.chance.index(4);
        for number in 0..self.sessions {
            let begin = slot.saturating_mul(i64::from(number)).saturating_add(self.chance.between(slot / 50, slot / 3));
            port = port.wrapping_add(u16::try_from(self.chance.between(1, 7)).unwrap_or(1)).max(49_152);
            let (talk, protocol, server_port) = self.session(mix.wrapping_add(number as usize));
            protocols.insert(protocol);
            let faces = self.faces(port, server_port, hops);
            self.connect(world, &paths, faces, talk, begin);
        }
        truth.protocols = protocols.into_iter().collect();
        truth
    }

    fn truth(&self, hops: u8) -> EndpointTruth {
        let legs = || self.near.iter().chain([&self.edge]);
        let access = |of: fn(&Leg) -> i64| self.near.iter().map(of).sum::<i64>();
        let beyond = |of: fn(&Leg) -> i64| self.far.iter().map(of).sum::<i64>();
        let [tcp_mean, tcp_floor] = [Leg::mean_rtt, Leg::floor_rtt].map(|of| match self.topology {
            Topology::Exit => access(of) + beyond(of),
            _ => access(of),
        });
        let over_tcp = self.traffic == Traffic::Office;
        let legs_one_way_ms: BTreeMap<_, _> =
            self.far.iter().chain(legs()).map(|leg| (leg.name, leg.one_way_ms())).collect();
        EndpointTruth {
            label: self.label,
            kind: self.kind,
            endpoint_ip: self.address,
            claimed_location: self.place.label(),
            claimed_asn: self.place.asn,
            claimed_kind: self.place.kind,
            operator_location: self.operator.label(),
            relay_kind: match self.topology {
                Topology::Direct => None,
                Topology::Proxy => Some("l4-socks5"),
                Topology::Exit => Some("l3-exit-wireguard"),
                Topology::Accelerated => Some("satellite-pep"),
            },
            expected_tcp_rtt_ms: over_tcp.then(|| ms(tcp_mean)),
            expected_app_rtt_ms: ms(access(Leg::mean_rtt) + beyond(Leg::mean_rtt)),
            minimum_tcp_rtt_ms: over_tcp.then(|| ms(tcp_floor)),
            minimum_app_rtt_ms: ms(access(Leg::floor_rtt) + beyond(Leg::floor_rtt)),
            hidden_leg_rtt_ms: ms(self.hidden_rtt),
            legs_one_way_ms,
            tcp_stack: self.seen_stack().name,
            hops,
            protocols: Vec::new(),
            sessions: self.sessions,
            notes: self.notes.clone(),
        }
    }

    fn paths(&mut self, world: &mut World) -> Paths {
        let mut add =
            |legs: Vec<Leg>| -> Vec<Hop> { legs.into_iter().map(|leg| Hop::Leg(world.add_leg(leg))).collect() };
        let mut far = add(std::mem::take(&mut self.far));
        let mut near = add(std::mem::take(&mut self.near));
        near.push(Hop::Tap);
        near.extend(add(vec![self.edge.clone()]));
        if self.topology == Topology::Exit {
            far.push(Hop::Clamp(TUNNEL_MSS));
            far.append(&mut near);
            near = std::mem::take(&mut far);
        }
        Paths { far, near }
    }

    /// Whose TCP the tap sees.
    const fn seen_stack(&self) -> &'static Stack {
        match self.topology {
            Topology::Direct | Topology::Exit => self.stack,
            Topology::Proxy | Topology::Accelerated => &LINUX,
        }
    }

    fn faces(&mut self, port: u16, server_port: u16, hops: u8) -> Faces {
        let host = if server_port == 22 { 22 } else { 10 };
        let server = match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xc0, 0, 0, 0, 0, u16::from(host))),
        };
        let iss = |chance: &mut Random| u32::from_be_bytes(chance.array());
        Faces {
            client: Face { ip: self.address, port, stack: self.seen_stack(), hops, iss: iss(&mut self.chance) },
            server: Face {
                ip: server,
                port: server_port,
                stack: &LINUX,
                hops: GATEWAY_HOPS,
                iss: iss(&mut self.chance),
            },
        }
    }

    /// The next session of the person: its dialogue, its name and its server's port.
    fn session(&mut self, number: usize) -> (Dialogue, &'static str, u16) {
        let mut talk = Dialogue::default();
        if self.traffic == Traffic::WireGuard {
            let largest = if self.topology == Topology::Exit { 1_280 } else { 1_380 };
            let rekeys = u32::try_from(self.duration / wireguard::REKEY).unwrap_or(0).max(1);
            wireguard::play(rekeys, largest, &mut talk, &mut self.chance);
            return (talk, "wireguard", 51_820);
        }
        let chance = &mut self.chance;
        if number % 4 == 1 {
            let commands = chance.between(2, 3) as u32;
            ssh::Session { commands, windows: self.stack.name == "windows" }.play(&mut talk, chance);
            return (talk, "ssh", 22);
        }
        let programs: &[Program] = match self.stack.name {
            "windows" => &[Program::Chrome, Program::Chrome, Program::Schannel],
            "macos" => &[Program::Chrome, Program::Firefox],
            _ => &[Program::Firefox, Program::Curl],
        };
        let (program, newest) = (chance.pick(programs).copied().unwrap_or(Program::Curl), number % 4 != 2);
        let server_name = if newest { "portal.example.com" } else { "vpn.example.com" };
        // Firefox offers both key shares, so there is nothing to ask it for again.
        let retry = chance.chance(0.25) && program != Program::Firefox;
        let session = tls::Session { program, server_name, newest, retry, requests: chance.between(1, 3) as u32 };
        session.play(&mut talk, chance);
        (talk, if session.is_13() { "tls1.3" } else { "tls1.2" }, 443)
    }

    /// Puts one session's connections and scripts into the world.
    fn connect(&mut self, world: &mut World, paths: &Paths, faces: Faces, mut talk: Dialogue, begin: i64) {
        let mss = if self.address.is_ipv6() { MSS6 } else { MSS4 };
        let seen = self.seen_stack();
        let ends = if self.traffic == Traffic::WireGuard {
            [Carrier::Udp(self.serial()), Carrier::Udp(self.serial())]
        } else {
            [self.tcp(seen, mss), self.tcp(&LINUX, mss)]
        };
        let [client, server] = world.add_connection(paths.near.clone(), faces.clone(), ends);
        world.script(server, talk.server);
        match self.topology {
            Topology::Direct | Topology::Exit => {
                world.script(client, talk.client);
                world.open_at(client, begin);
            }
            Topology::Proxy => {
                let ends = [self.tcp(self.stack, MSS4), self.tcp(&LINUX, MSS4)];
                let request = if faces.server.ip.is_ipv4() { 10 } else { 22 };
                let mut script = socks_client(&faces.server, &mut self.chance);
                let [person, relay] = world.add_connection(paths.far.clone(), faces, ends);
                script.append(&mut talk.client);
                world.script(person, script);
                world.script(relay, socks_relay(request, client));
                world.open_at(person, begin);
            }
            Topology::Accelerated => {
                // The modem answers the SYN at once, so the first words go up with the request to connect.
                let channel = [Carrier::Channel, Carrier::Channel];
                let [person, hub] = world.add_connection(paths.far.clone(), faces, channel);
                world.script(person, talk.client);
                world.script(hub, vec![Step::Connect(client), Step::Splice(client)]);
                world.open_at(person, begin);
            }
        }
    }

    fn tcp(&mut self, stack: &'static Stack, mss: u16) -> Carrier {
        let offset = u32::from_be_bytes(self.chance.array());
        Carrier::Tcp(Box::new(Tcp::new(stack, mss, offset, self.serial())))
    }

    fn serial(&mut self) -> u16 {
        u16::from_be_bytes(self.chance.array())
    }
}

/// Greeting without authentication, then CONNECT to that server (RFC 1928).
fn socks_client(server: &Face, chance: &mut Random) -> Vec<Step> {
    let request = Octets::of(|o| {
        o.put([5, 1, 0]);
        match server.ip {
            IpAddr::V4(ip) => {
                o.u8(1);
                o.put(ip.octets());
            }
            IpAddr::V6(ip) => {
                o.u8(4);
                o.put(ip.octets());
            }
        }
        o.u16(server.port);
    });
    vec![
        Step::Send(vec![5, 1, 0]),
        Step::Await(2),
        Step::Pause(chance.between(MS / 20, MS / 5)),
        Step::Send(request),
        Step::Await(10),
    ]
}

/// The proxy's half of it; then it opens the connection the tap sees and passes everything on.
fn socks_relay(request: usize, outgoing: usize) -> Vec<Step> {
    vec![
        Step::Await(3),
        Step::Send(vec![5, 0]),
        Step::Await(request),
        Step::Connect(outgoing),
        Step::Send(vec![5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        Step::Splice(outgoing),
    ]
}

/// Milliseconds to a thousandth.
fn ms(nanos: i64) -> f64 {
    (nanos as f64 / 1e3).round() / 1e3
}

/// How far the tap is from a place, nanoseconds one way.
pub(super) fn internet_to(place: &Place) -> i64 {
    (place.one_way_ms(&ASHBURN) * MS as f64).round() as i64
}

/// Segment sizes on Ethernet, and behind a WireGuard tunnel with its usual MTU of 1420.
const MSS4: u16 = 1460;
const MSS6: u16 = 1440;
const TUNNEL_MSS: u16 = 1380;

//! One endpoint laid out in the world: its legs, its topology, its sessions, and the truth about it.
//!
//! Reads: a plan of the endpoint. Emits: legs, connections and scripts in the world, and an [`EndpointTruth`]. Does
//! not: know scenarios. Where TCP ends and where the application runs follow from the topology alone.

use crate::simulate::control::Tool;
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
use crate::simulate::{inner, live, ssh, tls};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands between the person and the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topology {
    /// Nothing: the worker sits at the address seen.
    Direct,
    /// A proxy at the address seen: TCP ends there, the application beyond it.
    Proxy(Asking),
    /// A tunnel exit at the address seen: everything ends beyond it, MSS clamped to the tunnel.
    Exit,
    /// A provider's accelerator or egress: TCP ends there, the application beyond it, and nothing is hidden.
    Accelerated(&'static str),
}

/// How a proxy is asked to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// SOCKS5 (RFC 1928): the first words wait for two answers.
    Socks,
    /// HTTP CONNECT (RFC 9110, section 9.3.6): they wait for one.
    Connect,
    /// Shadowsocks and its like: the first words come with the address, and wait for nothing.
    Early,
}

/// What the person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Web sessions over TLS 1.2 and 1.3 and SSH sessions, mixed.
    Office,
    /// One corporate tunnel.
    Tunnel(Corporate),
    /// A shell at the company, typed from a laptop that is driven by remote control; whether that passes the tap.
    Controlled { tool: Tool, seen: bool },
    /// A call with somebody far away, through the company's network.
    Call,
    /// A shell on a jump host, and from there one on a server.
    Jump,
}

/// The corporate tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Corporate {
    WireGuard,
    OpenVpn,
    OpenVpnTcp,
    Ipsec,
}

impl Traffic {
    /// Whether the tap sees TCP that ends at the person or the relay.
    const fn over_tcp(self) -> bool {
        !matches!(self, Self::Tunnel(Corporate::WireGuard | Corporate::OpenVpn | Corporate::Ipsec) | Self::Call)
    }

    /// Whether lost packets are repaired by somebody.
    pub(super) fn survives_loss(self) -> bool {
        matches!(self, Self::Office | Self::Tunnel(Corporate::OpenVpnTcp))
    }
}

/// A connection to open: what is said, what it is called, and how it goes on at another port.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) dialogue: Dialogue,
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    pub(super) datagrams: bool,
    pub(super) then: Option<(Dialogue, u16)>,
}

/// An endpoint to lay out. `far` and `near` are the legs beyond and before the place seen, nearest to the person first.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) scenario: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: &'static str,
    pub(super) topology: Topology,
    pub(super) traffic: Traffic,
    pub(super) place: &'static Place,
    /// The company's site whose servers are used.
    pub(super) site: &'static Place,
    pub(super) operator: &'static Place,
    pub(super) address: IpAddr,
    /// The address inside the corporate tunnel.
    pub(super) inside: Option<IpAddr>,
    /// The stack of the person's computer.
    pub(super) stack: &'static Stack,
    pub(super) far: Vec<usize>,
    pub(super) near: Vec<usize>,
    /// The capture points between `near` and `beyond`.
    pub(super) taps: Vec<Hop>,
    pub(super) beyond: Vec<usize>,
    /// What the access line makes of the MSS.
    pub(super) clamp: Option<u16>,
    pub(super) hops: u8,
    /// Mean round trip between operator and home, nanoseconds; 0 for none.
    pub(super) hidden_rtt: i64,
    pub(super) sessions: u32,
    pub(super) begins: i64,
    pub(super) duration: i64,
    /// Where its port numbers may begin.
    pub(super) ports: (i64, i64),
    /// Who signs on at the gateway.
    pub(super) identity: Option<String>,
    pub(super) notes: Vec<&'static str>,
    pub(super) chance: Random,
}

/// Paths of an endpoint.
#[derive(Debug)]
pub(super) struct Paths {
    /// From the person to the relay; empty without one.
    pub(super) far: Vec<Hop>,
    /// From the end of TCP to the capture points.
    pub(super) near: Vec<Hop>,
    /// The capture points.
    pub(super) taps: Vec<Hop>,
    /// From there to the server.
    pub(super) beyond: Vec<Hop>,
}

impl Paths {
    /// From the end of TCP to the server.
    pub(super) fn seen(&self) -> Vec<Hop> {
        [&self.near[..], &self.taps, &self.beyond].concat()
    }
}

impl Worker {
    /// Lays the endpoint out and tells the truth about it.
    pub(super) fn settle(mut self, world: &mut World) -> EndpointTruth {
        let mut truth = self.truth(world);
        let paths = self.paths();
        let mut protocols = BTreeSet::new();
        let mut port = u16::try_from(self.chance.between(self.ports.0, self.ports.1)).unwrap_or(50_000);
        if let Traffic::Controlled { .. } | Traffic::Call | Traffic::Jump = self.traffic {
            protocols.extend(live::lay(&mut self, world, &paths, port));
        } else if let Traffic::Tunnel(vpn) = self.traffic {
            protocols.insert(inner::lay(&mut self, world, &paths, port, vpn));
        } else {
            let slot = self.duration / i64::from(self.sessions.max(1));
            let mix = self.chance.index(4);
            for number in 0..self.sessions {
                let early = self.chance.between(slot / 50, slot / 3);
                let begin = slot.saturating_mul(i64::from(number)).saturating_add(early).saturating_add(self.begins);
                port = port.wrapping_add(u16::try_from(self.chance.between(1, 7)).unwrap_or(1)).max(49_152);
                let talk = self.session(mix.wrapping_add(number as usize));
                protocols.insert(talk.protocol);
                let faces = self.faces(port, talk.port);
                self.connect(world, &paths, faces, talk, begin);
            }
        }
        truth.protocols = protocols.into_iter().collect();
        truth
    }

    fn truth(&self, world: &World) -> EndpointTruth {
        let sum = |legs: &[usize], of: fn(&Leg) -> i64| legs.iter().filter_map(|n| world.leg(*n)).map(of).sum::<i64>();
        let access = |of| sum(&self.near, of);
        let live = matches!(self.traffic, Traffic::Controlled { .. } | Traffic::Call);
        let beyond = |of| if live { 0 } else { sum(&self.far, of) };
        let [tcp_mean, tcp_floor] = [Leg::mean_rtt, Leg::floor_rtt].map(|of| match self.topology {
            Topology::Exit => access(of) + beyond(of),
            _ => access(of),
        });
        let over_tcp = self.traffic.over_tcp();
        let legs = self.far.iter().chain(&self.near).chain(&self.beyond).filter_map(|n| world.leg(*n));
        EndpointTruth {
            scenario: self.scenario,
            label: self.label,
            kind: self.kind,
            endpoint_ip: self.address,
            inner_ip: self.inside,
            claimed_location: self.place.label(),
            claimed_asn: self.place.asn,
            claimed_kind: self.place.kind,
            operator_location: self.operator.label(),
            relay_kind: self.relay_kind(),
            expected_tcp_rtt_ms: over_tcp.then(|| ms(tcp_mean)),
            expected_app_rtt_ms: ms(access(Leg::mean_rtt) + beyond(Leg::mean_rtt)),
            minimum_tcp_rtt_ms: over_tcp.then(|| ms(tcp_floor)),
            minimum_app_rtt_ms: ms(access(Leg::floor_rtt) + beyond(Leg::floor_rtt)),
            hidden_leg_rtt_ms: ms(self.hidden_rtt),
            legs_one_way_ms: legs.map(|leg| (leg.name, leg.one_way_ms())).collect(),
            tcp_stack: self.seen_stack().name,
            hops: self.hops,
            hosts: 1,
            identities: self.identity.iter().cloned().collect(),
            declared_homes: Vec::new(),
            protocols: Vec::new(),
            sessions: self.sessions,
            notes: self.notes.clone(),
        }
    }

    fn relay_kind(&self) -> Option<&'static str> {
        match (self.topology, self.traffic) {
            (Topology::Proxy(Asking::Socks), _) => Some("l4-socks5"),
            (Topology::Proxy(Asking::Connect), _) => Some("l4-connect"),
            (Topology::Proxy(Asking::Early), _) => Some("l4-shadowsocks"),
            (Topology::Exit, _) => Some("l3-exit-wireguard"),
            (Topology::Accelerated(kind), _) => Some(kind),
            (Topology::Direct, Traffic::Controlled { tool, .. }) if self.label == "relayed" => Some(match tool {
                Tool::Rfb => "remote-control-vnc",
                Tool::Rmm => "remote-control-rmm",
                Tool::WebRtc => "remote-control-webrtc",
            }),
            (Topology::Direct, _) => None,
        }
    }

    fn paths(&self) -> Paths {
        let of = |legs: &[usize]| -> Vec<Hop> { legs.iter().map(|leg| Hop::Leg(*leg)).collect() };
        let (mut far, mut near) = (of(&self.far), of(&self.near));
        if let Some(most) = self.clamp {
            near.insert(0, Hop::Clamp(most));
        }
        if self.topology == Topology::Exit {
            far.push(Hop::Clamp(TUNNEL_MSS));
            far.append(&mut near);
            near = std::mem::take(&mut far);
        }
        Paths { far, near, taps: self.taps.clone(), beyond: of(&self.beyond) }
    }

    /// Whose TCP the tap sees.
    const fn seen_stack(&self) -> &'static Stack {
        match self.topology {
            Topology::Direct | Topology::Exit => self.stack,
            Topology::Proxy(_) | Topology::Accelerated(_) => &LINUX,
        }
    }

    /// The faces of a connection to the company.
    pub(super) fn faces(&mut self, port: u16, server_port: u16) -> Faces {
        let host = if server_port == 22 { 22 } else { 10 };
        let server = match self.address {
            // Other sites are one address each.
            IpAddr::V4(_) if self.site.net != ASHBURN.net => self.site.server(),
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xc0, 0, 0, 0, 0, u16::from(host))),
        };
        self.faces_to(port, server, server_port, GATEWAY_HOPS)
    }

    /// The faces of a connection to any server, so many routers behind the tap.
    pub(super) fn faces_to(&mut self, port: u16, server: IpAddr, server_port: u16, server_hops: u8) -> Faces {
        let iss = |chance: &mut Random| u32::from_be_bytes(chance.array());
        let ip = self.inside.unwrap_or(self.address);
        let client = Face { ip, port, stack: self.seen_stack(), hops: self.hops, iss: iss(&mut self.chance) };
        let iss = iss(&mut self.chance);
        Faces { client, server: Face { ip: server, port: server_port, stack: &LINUX, hops: server_hops, iss } }
    }

    /// The next session of the person.
    fn session(&mut self, number: usize) -> Talk {
        let mut dialogue = Dialogue::default();
        let chance = &mut self.chance;
        if number % 4 == 1 {
            let commands = chance.between(2, 3) as u32;
            ssh::Session { commands, windows: self.stack.name == "windows" }.play(&mut dialogue, chance);
            return Talk { dialogue, protocol: "ssh", port: 22, datagrams: false, then: None };
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
        session.play(&mut dialogue, chance);
        let protocol = if session.is_13() { "tls1.3" } else { "tls1.2" };
        Talk { dialogue, protocol, port: 443, datagrams: false, then: None }
    }

    /// Puts one session's connections and scripts into the world; gives the sockets of the person and of the server.
    pub(super) fn connect(
        &mut self,
        world: &mut World,
        paths: &Paths,
        faces: Faces,
        talk: Talk,
        begin: i64,
    ) -> [usize; 2] {
        let mss = if self.address.is_ipv6() { MSS6 } else { MSS4 };
        let seen = self.seen_stack();
        let ends = if talk.datagrams { self.datagrams() } else { [self.tcp(seen, mss), self.tcp(&LINUX, mss)] };
        let Talk { dialogue: Dialogue { client: mut asks, server: answers }, then, .. } = talk;
        if let Some((rest, port)) = then {
            let mut faces = faces.clone();
            faces.client.port = faces.client.port.wrapping_add(1);
            faces.server.port = port;
            let ends = self.datagrams();
            let [client, server] = world.add_connection(paths.seen(), faces, ends);
            world.script(client, rest.client);
            world.script(server, rest.server);
            asks.push(Step::Connect(client));
        }
        let [client, server] = world.add_connection(paths.seen(), faces.clone(), ends);
        world.script(server, answers);
        match self.topology {
            Topology::Direct | Topology::Exit => {
                world.script(client, asks);
                world.open_at(client, begin);
                [client, server]
            }
            Topology::Proxy(asking) => {
                let ends = [self.tcp(self.stack, MSS4), self.tcp(&LINUX, MSS4)];
                let (mut script, relay_script) = asking.scripts(&faces.server, client, &mut self.chance);
                let [person, relay] = world.add_connection(paths.far.clone(), faces, ends);
                script.append(&mut asks);
                world.script(person, script);
                world.script(relay, relay_script);
                world.open_at(person, begin);
                [person, server]
            }
            Topology::Accelerated(_) => {
                // The modem answers the SYN at once, so the first words go up with the request to connect.
                let channel = [Carrier::Channel, Carrier::Channel];
                let [person, hub] = world.add_connection(paths.far.clone(), faces, channel);
                world.script(person, asks);
                world.script(hub, vec![Step::Connect(client), Step::Splice(client)]);
                world.open_at(person, begin);
                [person, server]
            }
        }
    }

    pub(super) fn datagrams(&mut self) -> [Carrier; 2] {
        [Carrier::Udp(self.serial()), Carrier::Udp(self.serial())]
    }

    pub(super) fn tcp(&mut self, stack: &'static Stack, mss: u16) -> Carrier {
        let offset = u32::from_be_bytes(self.chance.array());
        Carrier::Tcp(Box::new(Tcp::new(stack, mss, offset, self.serial())))
    }

    fn serial(&mut self) -> u16 {
        u16::from_be_bytes(self.chance.array())
    }
}

impl Asking {
    /// What the operator says to the proxy before its first words, and what the proxy does until the connection that the
    /// tap sees is open.
    fn scripts(self, server: &Face, outgoing: usize, chance: &mut Random) -> (Vec<Step>, Vec<Step>) {
        let onward = [Step::Connect(outgoing)];
        match self {
            Self::Socks => {
                let request = if server.ip.is_ipv4() { 10 } else { 22 };
                (socks_client(server, chance), socks_relay(request, outgoing))
            }
            Self::Connect => {
                let (ip, port) = (server.ip, server.port);
                let request = format!("CONNECT {ip}:{port} HTTP/1.1\r\nHost: {ip}:{port}\r\n\r\n").into_bytes();
                let done = b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
                let length = request.len();
                let person = vec![Step::Send(request), Step::Await(done.len())];
                let relay = [Step::Await(length)].into_iter().chain(onward);
                (person, relay.chain([Step::Send(done), Step::Splice(outgoing)]).collect())
            }
            Self::Early => {
                // Salt, length and address in one sealed piece, the first words right behind it.
                let request = chance.bytes(32 + 2 + 16 + 7 + 16);
                let length = request.len();
                let relay = [Step::Await(length)].into_iter().chain(onward).chain([Step::Splice(outgoing)]);
                (vec![Step::Send(request)], relay.collect())
            }
        }
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
pub(super) fn ms(nanos: i64) -> f64 {
    (nanos as f64 / 1e3).round() / 1e3
}

/// How far a site's tap is from a place, nanoseconds one way.
pub(super) fn internet_between(place: &Place, site: &Place) -> i64 {
    (place.one_way_ms(site) * MS as f64).round() as i64
}

/// Where ephemeral ports begin here (RFC 6335 gives 49152 to 65535).
pub(super) const PORTS: (i64, i64) = (49_200, 57_000);
/// Segment sizes on Ethernet, and behind a WireGuard tunnel with its usual MTU of 1420.
pub(super) const MSS4: u16 = 1460;
const MSS6: u16 = 1440;
const TUNNEL_MSS: u16 = 1380;

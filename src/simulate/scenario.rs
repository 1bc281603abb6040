//! How a scenario is laid out and played: whose address, which legs, which company.
//!
//! Reads: a plan. Emits: frames and the truth. Does not: hold any behaviour of hosts or lines; those are in `worker` and
//! `leg`; nor the scenarios themselves, which stand in `catalogue`.

use crate::simulate::Frames;
use crate::simulate::access::{self, Line};
use crate::simulate::catalogue::SCENARIOS;
use crate::simulate::frame::{Face, Faces, GATEWAY_HOPS};
use crate::simulate::homes::Residents;
use crate::simulate::inner;
use crate::simulate::leg::{Leg, MS, Queue, Stretch};
use crate::simulate::options::{Plan, Vantage};
use crate::simulate::place::{self, ASHBURN, Place};
use crate::simulate::radius::{Status, Stay};
use crate::simulate::random::Random;
use crate::simulate::stack::{APPLE, LINUX, Stack, WINDOWS};
use crate::simulate::truth::{EndpointTruth, Truth};
use crate::simulate::tunnel::Tunnel;
use crate::simulate::wireguard;
use crate::simulate::worker::{PORTS, Topology, Traffic, Worker, internet_between};
use crate::simulate::world::{Hop, World};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// One scenario that can be played.
#[derive(Debug)]
pub struct Scenario {
    /// Its name, kebab-case.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// `benign` or `relayed`.
    pub label: &'static str,
    /// The code of `truth.json`.
    pub kind: &'static str,
    pub(super) topology: Topology,
    pub(super) traffic: Traffic,
    pub(super) line: Line,
    /// One-way delay between the person and where a provider ends TCP, nanoseconds; `None`: as far as a satellite.
    pub(super) trunk: Option<i64>,
    /// The MSS that the access line leaves.
    pub(super) clamp: Option<u16>,
    /// Computers behind the address.
    pub(super) hosts: u32,
    /// Who they are.
    pub(super) residents: Residents,
    /// Whether the gateway's accounting of who signs on is in the capture.
    pub(super) accounting: bool,
    /// Where the capture points are.
    pub(super) taps: Taps,
    pub(super) notes: &'static [&'static str],
    pub(super) defaults: Defaults,
}

/// Where the capture points are when nothing is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taps {
    /// Outside the gateway.
    Outside,
    /// Outside and inside it; the worker's computer sends everything into the tunnel.
    FullTunnel,
    /// In the worker's own network.
    Lan,
}

/// What a scenario is when nothing is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    pub(super) home: &'static str,
    pub(super) operator: &'static str,
    pub(super) last_mile_ms: f64,
    pub(super) last_mile_jitter_ms: f64,
    pub(super) sessions: u32,
    pub(super) bystanders: u32,
    pub(super) duration: Duration,
}

/// The scenario of that name.
pub(super) fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().copied().find(|scenario| scenario.name == name)
}

/// All names, for a message.
pub(super) fn names() -> String {
    SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}

/// Lays scenarios out in one world, runs it, and tells the truth; the first one's subject is the subject.
pub(super) fn play(parts: &[(&'static Scenario, Plan)]) -> Option<(Frames, Truth)> {
    let (scenario, plan) = parts.first()?;
    let mut world = World::new(plan.start);
    let mut endpoints = Vec::new();
    for (scenario, plan) in parts {
        endpoints.push(subject(scenario, plan, &mut world));
        let company = bystanders(plan, &mut world);
        endpoints.extend(company.into_iter().map(|worker| worker.settle(&mut world)));
    }
    let mut corp = BTreeMap::from([
        ("net", "192.0.2.0/24"),
        ("net6", "2001:db8:c0::/48"),
        ("gateway", "192.0.2.10"),
        ("gateway6", "2001:db8:c0::a"),
        ("bastion", "192.0.2.22"),
        ("bastion6", "2001:db8:c0::16"),
    ]);
    if endpoints.iter().any(|endpoint| endpoint.inner_ip.is_some()) {
        corp.insert("pool", "10.20.0.0/16");
    }
    if parts.iter().any(|(_, plan)| plan.site.net != ASHBURN.net) {
        corp.insert("sites", "203.0.113.0/24");
    }
    let truth = Truth {
        scenario: scenario.name,
        seed: plan.seed,
        sensor_location: ASHBURN.label(),
        sensor_coordinates: [ASHBURN.lat, ASHBURN.lon],
        captures: vec!["capture.pcap"],
        corp,
        duration_s: plan.duration as f64 / 1e9,
        days: 1,
        subject: endpoints.first()?.clone(),
        endpoints,
    };
    Some((world.run(), truth))
}

/// The legs of the subject: beyond the place seen, before it, and behind the capture points.
struct Legs {
    far: Vec<usize>,
    near: Vec<usize>,
    beyond: Vec<usize>,
}

fn legs(scenario: &Scenario, plan: &Plan, world: &mut World) -> Legs {
    let owner = "subject";
    let queue = match plan.day {
        None => Queue::Light { mean: plan.hidden_jitter },
        // The operator's own evening, as seen from the start of this day.
        Some(_) => Queue::Daily {
            mean: plan.hidden_jitter,
            busy: plan.hidden_jitter.saturating_add(18 * MS),
            peak: plan.operator.evening().saturating_sub(time_of_day(plan)),
        },
    };
    let hidden = Stretch { floor: plan.hidden_one_way, queue, rate: 50_000_000, loss: plan.loss };
    let leg =
        |name: &'static str, stretch: &Stretch| Leg::with(name, stretch, |way| plan.today(&format!("{owner}/{way}")));
    let last_mile = match plan.line {
        Some(line) => world.shared_leg(line, || access::last_mile(scenario.line, plan, &format!("line {line}"))),
        None => world.add_leg(access::last_mile(scenario.line, plan, owner)),
    };
    let mut add = |leg: Leg| world.add_leg(leg);
    let internet = add(leg("internet", &trunk(internet_between(plan.home, plan.site))));
    let edge = add(leg("edge", &EDGE));
    let (mut near, mut beyond) = (vec![last_mile, internet], vec![edge]);
    let far = match (scenario.topology, scenario.traffic) {
        (Topology::Direct, Traffic::Controlled { .. } | Traffic::Call) => {
            vec![add(leg("egress_to_relay", &trunk(7 * MS))), add(leg("relay_to_operator", &hidden))]
        }
        (Topology::Direct, _) => Vec::new(),
        (Topology::Proxy(_) | Topology::Exit, _) => vec![add(leg("operator_to_home", &hidden))],
        (Topology::Accelerated(_), _) => {
            let (name, sky) = match scenario.trunk {
                None => ("satellite", SKY),
                Some(floor) => ("provider", Stretch { floor, ..SKY_FREE }),
            };
            near = vec![internet];
            vec![last_mile, add(leg(name, &sky))]
        }
    };
    if scenario.taps == Taps::Lan {
        beyond = vec![last_mile, internet, edge];
        near = vec![add(leg("lan", &Stretch { floor: MS / 5, queue: Queue::Light { mean: MS / 10 }, ..SKY_FREE }))];
    }
    Legs { far, near, beyond }
}

/// Lays the subject out, each of its computers, and the gateway's accounting of them.
fn subject(scenario: &'static Scenario, plan: &Plan, world: &mut World) -> EndpointTruth {
    let legs = legs(scenario, plan, world);
    let of = |legs: &[usize]| legs.iter().filter_map(|n| world.leg(*n)).map(Leg::mean_rtt).sum::<i64>();
    let relayed = scenario.label == "relayed";
    let hidden_rtt = match (scenario.topology, scenario.traffic) {
        (Topology::Proxy(_) | Topology::Exit, _) => of(&legs.far),
        (Topology::Direct, Traffic::Controlled { .. }) if relayed => of(legs.far.get(1..).unwrap_or_default()),
        _ => 0,
    };
    let mut chance = Random::stream(plan.seed, scenario.name);
    let hops = chance.between(9, 14) as u8 + u8::from(scenario.topology == Topology::Exit);
    if plan.day.is_some_and(|day| day > 0) {
        chance = plan.today(scenario.name);
    }
    let lan = scenario.taps == Taps::Lan;
    let address = if lan { IpAddr::V4(KVM_IN_LAN) } else { plan.home.home(plan.number) };
    let one_by_one = matches!(scenario.traffic, Traffic::Tunnel(_));
    let mut worker = Worker {
        scenario: scenario.name,
        label: scenario.label,
        kind: scenario.kind,
        topology: scenario.topology,
        traffic: scenario.traffic,
        place: plan.home,
        site: plan.site,
        operator: if relayed { plan.operator } else { plan.home },
        address,
        inside: None,
        stack: &WINDOWS,
        far: legs.far,
        near: legs.near,
        taps: vec![Hop::Tap],
        beyond: legs.beyond,
        clamp: scenario.clamp,
        hops: if lan { GATEWAY_HOPS } else { hops },
        hidden_rtt,
        sessions: if one_by_one { 1 } else { plan.sessions },
        begins: 0,
        duration: plan.duration,
        ports: PORTS,
        identity: None,
        notes: scenario.notes.to_vec(),
        chance,
    };
    if let Some(vantage) = vantage(scenario, plan) {
        go_inside(&mut worker, plan, vantage, world);
    }
    let accounting = scenario.accounting || worker.inside.is_some();
    if plan.hosts > 1 || accounting {
        return household(scenario, worker, plan, world);
    }
    worker.settle(world)
}

/// Where the subject is watched, if its packets are to be seen inside the tunnel.
fn vantage(scenario: &Scenario, plan: &Plan) -> Option<Vantage> {
    let can = scenario.topology == Topology::Direct && !matches!(scenario.traffic, Traffic::Tunnel(_));
    let usual = (scenario.taps == Taps::FullTunnel).then_some(Vantage::Both);
    plan.vantage.or(usual).filter(|vantage| *vantage != Vantage::Outside && can && scenario.taps != Taps::Lan)
}

/// Puts the worker's computer inside a corporate WireGuard tunnel.
fn go_inside(worker: &mut Worker, plan: &Plan, vantage: Vantage, world: &mut World) {
    let outer = worker.faces(51_820_u16.wrapping_add(u16::from(plan.number)), 51_820);
    worker.inside = Some(IpAddr::V4(Ipv4Addr::new(10, 20, worker.place.net, plan.number)));
    worker.clamp = Some(INNER_MSS);
    if vantage == Vantage::Inside {
        return;
    }
    let handshakes = u32::try_from(plan.duration / wireguard::REKEY).unwrap_or(0).saturating_add(2);
    let tunnel = Tunnel::new(outer.clone(), worker.begins, handshakes, plan.today("tunnel"));
    let mut chance = plan.today("handshakes");
    let path: Vec<Hop> = worker.near.iter().map(|leg| Hop::Leg(*leg)).chain([Hop::Tap]).collect();
    let path: Vec<Hop> = path.into_iter().chain(worker.beyond.iter().map(|leg| Hop::Leg(*leg))).collect();
    let begin = worker.begins;
    inner::shakes(worker, world, &path, (&outer, begin), (&tunnel, &mut chance));
    worker.taps = vec![Hop::Wrapped(world.add_tunnel(tunnel)), Hop::Tap];
}

/// Several computers at one address, each with its own stack, clock and person, or one whose sign-on is told.
fn household(scenario: &Scenario, first: Worker, plan: &Plan, world: &mut World) -> EndpointTruth {
    let accounting = scenario.accounting || first.inside.is_some();
    let stacks: [&'static Stack; 3] = [&WINDOWS, &APPLE, &LINUX];
    // The home's router gives each of them ports of its own.
    let ports = |number: u32| {
        let from = PORTS.0.saturating_add(i64::from(number) * 700);
        if plan.hosts > 1 { (from, from.saturating_add(300)) } else { PORTS }
    };
    let mut workers = vec![Worker { ports: ports(0), ..first.clone() }];
    for (number, stack) in (1..plan.hosts).zip(stacks.into_iter().cycle().skip(1)) {
        let chance = plan.today(&format!("{}, host {number}", first.scenario));
        workers.push(Worker { stack, chance, ports: ports(number), ..first.clone() });
    }
    let mut truths = Vec::new();
    let mut declared = Vec::new();
    for (number, mut worker) in (0_u32..).zip(workers) {
        if accounting {
            let user = identity(plan, number);
            worker.identity = Some(user.clone());
            declared.push(scenario.residents.declared(plan, number, &user));
            let stay = Stay { user, from: worker.address, inside: worker.inside, number: number.saturating_add(1) };
            account(&stay, plan, &mut worker, world);
        }
        truths.push(worker.settle(world));
    }
    EndpointTruth { declared_homes: declared, ..merged(truths) }
}

/// The truth about an address is that of its computers together.
fn merged(truths: Vec<EndpointTruth>) -> EndpointTruth {
    let hosts = u32::try_from(truths.len()).unwrap_or(u32::MAX);
    let mut rest = truths.into_iter();
    let Some(mut truth) = rest.next() else { unreachable!("a household has a first worker") };
    for other in rest {
        truth.sessions = truth.sessions.saturating_add(other.sessions);
        truth.identities.extend(other.identities);
        truth.protocols.extend(other.protocols);
    }
    truth.protocols.sort_unstable();
    truth.protocols.dedup();
    truth.hosts = hosts;
    truth
}

/// A name that nobody has.
fn identity(plan: &Plan, number: u32) -> String {
    let mut chance = Random::stream(plan.seed, &format!("identity {number} at {}", plan.number));
    let first = chance.pick(&["a", "b", "c", "d", "e", "j", "k", "l", "m", "n", "r", "s", "t"]).copied().unwrap_or("x");
    let last = ["rivera", "okafor", "novak", "larsen", "haddad", "mori", "silva", "keller", "dubois", "santos"];
    let last = chance.pick(&last).copied().unwrap_or("doe");
    format!("{first}.{last}{:02}", number.saturating_add(chance.below(4) as u32 * 20))
}

/// The gateway tells its accounting server when the worker signs on and off.
fn account(stay: &Stay, plan: &Plan, worker: &mut Worker, world: &mut World) {
    for (status, at) in [(Status::Start, worker.begins), (Status::Stop, worker.begins.saturating_add(plan.duration))] {
        let face = |host: u8, port: u16| Face {
            ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)),
            port,
            stack: &LINUX,
            hops: GATEWAY_HOPS,
            iss: 0,
        };
        let port = 40_000_u16.wrapping_add(stay.number as u16).wrapping_add(256 * u16::from(plan.number));
        let faces = Faces { client: face(10, port), server: face(13, 1_813) };
        let path = [Hop::Tap].into_iter().chain(worker.beyond.last().map(|leg| Hop::Leg(*leg))).collect();
        let talk = stay.told(status, &mut worker.chance);
        let [client, server] = world.add_connection(path, faces, worker.datagrams());
        world.script(client, talk.client);
        world.script(server, talk.server);
        world.open_at(client, at.saturating_add(i64::from(stay.number) * 40 * MS));
    }
}

/// Honest homes in other American cities, each with its own line and computer; every third comes over IPv6.
fn bystanders(plan: &Plan, world: &mut World) -> Vec<Worker> {
    let mut chance = Random::stream(plan.seed, "bystanders");
    let mut cities: Vec<&'static Place> = place::american_homes().filter(|city| city.city != plan.home.city).collect();
    chance.shuffle(&mut cities);
    let stacks: [&'static Stack; 3] = [&APPLE, &WINDOWS, &LINUX];
    let cities: Vec<&'static Place> = cities.into_iter().cycle().take(plan.bystanders as usize).collect();
    let company = cities.into_iter().zip(stacks.into_iter().cycle()).zip(1_u8..).map(|((city, stack), number)| {
        let owner = format!("bystander {number}");
        let mut chance = Random::stream(plan.seed, &owner);
        let line = Stretch {
            floor: chance.between(2 * MS, 9 * MS),
            queue: Queue::Light { mean: chance.between(MS / 2, 2 * MS) },
            rate: 30_000_000,
            loss: 0.0,
        };
        let hops = chance.between(9, 14) as u8;
        if plan.day.is_some_and(|day| day > 0) {
            chance = plan.today(&owner);
        }
        let mut add = |name: &'static str, stretch: &Stretch| {
            world.add_leg(Leg::with(name, stretch, |way| plan.today(&format!("{owner}/{way}"))))
        };
        let near = vec![add("home_lastmile", &line), add("internet", &trunk(internet_between(city, &ASHBURN)))];
        let beyond = vec![add("edge", &EDGE)];
        Worker {
            scenario: "",
            label: "benign",
            kind: "b1",
            topology: Topology::Direct,
            traffic: Traffic::Office,
            place: city,
            site: &ASHBURN,
            operator: city,
            address: if number % 3 == 0 { city.home6(number) } else { city.home(number) },
            stack,
            inside: None,
            far: Vec::new(),
            near,
            taps: vec![Hop::Tap],
            beyond,
            clamp: None,
            hops,
            hidden_rtt: 0,
            sessions: plan.sessions.div_ceil(3),
            begins: 0,
            duration: plan.duration,
            ports: PORTS,
            identity: None,
            notes: Vec::new(),
            chance,
        }
    });
    company.collect()
}

/// A stretch of backbone.
const fn trunk(floor: i64) -> Stretch {
    Stretch { floor, queue: Queue::Light { mean: MS / 5 }, rate: 0, loss: 0.0 }
}

/// When on its day the capture begins, nanoseconds after midnight UTC.
fn time_of_day(plan: &Plan) -> i64 {
    plan.start.nanos().rem_euclid(86_400_000 * MS)
}

/// From the tap to the server behind the gateway.
const EDGE: Stretch = Stretch { floor: MS / 10, queue: Queue::Light { mean: MS / 50 }, rate: 1_000_000_000, loss: 0.0 };
/// Teleport to dish by way of a satellite 35,786 km up at a mid-latitude slant, with the modems: about 265 ms one way
/// (the vertical floor is 239 ms).
const SKY: Stretch = Stretch { floor: 265 * MS, queue: Queue::Light { mean: 12 * MS }, rate: 20_000_000, loss: 0.0 };
/// An uncongested stretch.
const SKY_FREE: Stretch = Stretch { floor: 0, queue: Queue::Light { mean: MS / 2 }, rate: 100_000_000, loss: 0.0 };
/// What a tunnel with an MTU of 1420 leaves.
const INNER_MSS: u16 = 1_380;
/// The box beside the laptop.
const KVM_IN_LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);

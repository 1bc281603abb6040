//! The scenarios: which topology, which line, which defaults; and how one is played.
//!
//! Reads: a plan. Emits: frames and the truth. Does not: hold any behaviour of hosts or lines; those are in `worker`
//! and `leg`. A new scenario is one static and its line in [`SCENARIOS`].

use crate::base::Timestamp;
use crate::simulate::leg::{Episode, Leg, MS, Queue, Stretch};
use crate::simulate::options::Plan;
use crate::simulate::place::{self, ASHBURN, Place};
use crate::simulate::random::Random;
use crate::simulate::stack::{APPLE, LINUX, Stack, WINDOWS};
use crate::simulate::truth::Truth;
use crate::simulate::worker::{Topology, Traffic, Worker, internet_to};
use crate::simulate::world::World;
use std::collections::BTreeMap;
use std::time::Duration;

/// One scenario that can be played.
#[derive(Debug)]
pub struct Scenario {
    /// Its name, kebab-case.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    kind: &'static str,
    topology: Topology,
    pub(super) traffic: Traffic,
    line: Line,
    notes: &'static [&'static str],
    pub(super) defaults: Defaults,
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

/// The character of the home's access line.
#[derive(Debug, Clone, Copy)]
enum Line {
    Quiet,
    Bloated,
    Radio,
}

/// Every scenario, in the order of the documentation.
pub static SCENARIOS: &[&Scenario] = &[
    &HOME_DIRECT,
    &HOME_VPN,
    &DISTANT_HONEST,
    &GEO_SATELLITE,
    &BUFFERBLOAT,
    &WIFI_JITTER,
    &HOME_PROXY,
    &HOME_EXIT,
    &EXIT_VPN,
];

/// The scenario of that name.
pub(super) fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().copied().find(|scenario| scenario.name == name)
}

/// All names, for a message.
pub(super) fn names() -> String {
    SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}

/// Lays the scenario out, runs it, and tells the truth.
pub(super) fn play(scenario: &Scenario, plan: &Plan) -> (Vec<(Timestamp, Vec<u8>)>, Truth) {
    let mut world = World::new(plan.start);
    let subject = subject(scenario, plan).settle(&mut world);
    let endpoints =
        std::iter::once(subject.clone()).chain(bystanders(plan).map(|worker| worker.settle(&mut world))).collect();
    let corp = BTreeMap::from([
        ("net", "192.0.2.0/24"),
        ("net6", "2001:db8:c0::/48"),
        ("gateway", "192.0.2.10"),
        ("gateway6", "2001:db8:c0::a"),
        ("bastion", "192.0.2.22"),
        ("bastion6", "2001:db8:c0::16"),
    ]);
    let truth = Truth {
        scenario: scenario.name,
        seed: plan.seed,
        sensor_location: ASHBURN.label(),
        sensor_coordinates: [ASHBURN.lat, ASHBURN.lon],
        captures: vec!["capture.pcap"],
        corp,
        duration_s: plan.duration as f64 / 1e9,
        subject,
        endpoints,
    };
    (world.run(), truth)
}

fn subject(scenario: &Scenario, plan: &Plan) -> Worker {
    let chance = Random::stream(plan.seed, scenario.name);
    let owner = "subject";
    let hidden = Stretch {
        floor: plan.hidden_one_way,
        queue: Queue::Light { mean: plan.hidden_jitter },
        rate: 50_000_000,
        loss: plan.loss,
    };
    let last_mile = last_mile(scenario.line, plan, owner);
    let internet = leg("internet", internet_to(plan.home), plan.seed, owner);
    let (far, near) = match scenario.topology {
        Topology::Direct => (Vec::new(), vec![last_mile, internet]),
        Topology::Proxy | Topology::Exit => {
            (vec![Leg::new("operator_to_home", &hidden, plan.seed, owner)], vec![last_mile, internet])
        }
        Topology::Accelerated => {
            let sky =
                Stretch { floor: GEOSTATIONARY, queue: Queue::Light { mean: 12 * MS }, rate: 20_000_000, loss: 0.0 };
            (vec![last_mile, Leg::new("satellite", &sky, plan.seed, owner)], vec![internet])
        }
    };
    let hidden_rtt = match scenario.topology {
        Topology::Proxy | Topology::Exit => far.iter().map(Leg::mean_rtt).sum(),
        Topology::Direct | Topology::Accelerated => 0,
    };
    let relayed = hidden_rtt > 0 || matches!(scenario.topology, Topology::Proxy | Topology::Exit);
    Worker {
        label: if relayed { "relayed" } else { "benign" },
        kind: scenario.kind,
        topology: scenario.topology,
        traffic: scenario.traffic,
        place: plan.home,
        operator: if relayed { plan.operator } else { plan.home },
        address: plan.home.home(120),
        stack: &WINDOWS,
        far,
        near,
        edge: edge(plan.seed, owner),
        hidden_rtt,
        sessions: if scenario.traffic == Traffic::WireGuard { 1 } else { plan.sessions },
        duration: plan.duration,
        notes: scenario.notes.to_vec(),
        chance,
    }
}

/// The access line of the subject's home.
fn last_mile(line: Line, plan: &Plan, owner: &str) -> Leg {
    let (floor, mean) = (plan.last_mile, plan.last_mile_jitter);
    let stretch = |queue: Queue, rate: u64| Stretch { floor, queue, rate, loss: plan.loss };
    match line {
        Line::Quiet => Leg::new("home_lastmile", &stretch(Queue::Light { mean }, 20_000_000), plan.seed, owner),
        Line::Radio => {
            let queue = Queue::Contended { mean, chance: 0.12, burst: 22 * MS };
            Leg::new("home_lastmile", &stretch(queue, 30_000_000), plan.seed, owner)
        }
        Line::Bloated => {
            let mut chance = Random::stream(plan.seed, "episodes");
            let up = episodes(plan.duration, &mut chance);
            // The way down is faster and its buffer smaller.
            let down = up.iter().map(|episode| Episode { peak: episode.peak / 4, ..*episode }).collect();
            let mut leg = Leg::new(
                "home_lastmile",
                &stretch(Queue::Bloated { mean, episodes: up }, 10_000_000),
                plan.seed,
                owner,
            );
            let down = stretch(Queue::Bloated { mean, episodes: down }, 100_000_000);
            leg.backward = Leg::new("home_lastmile", &down, plan.seed, owner).backward;
            leg
        }
    }
}

/// Uploads that fill the buffer for 20 s to 2 min, with quiet between; peaks of 120 to 450 ms.
fn episodes(duration: i64, chance: &mut Random) -> Vec<Episode> {
    let mut episodes = Vec::new();
    let mut at = chance.between(5_000 * MS, 60_000 * MS);
    while at < duration {
        let until = at.saturating_add(chance.between(20_000 * MS, 120_000 * MS));
        episodes.push(Episode { from: at, until, peak: chance.between(120 * MS, 450 * MS) });
        at = until.saturating_add(chance.between(30_000 * MS, 180_000 * MS));
    }
    episodes
}

/// Honest homes in other American cities, each with its own line and computer; every third comes over IPv6.
fn bystanders(plan: &Plan) -> impl Iterator<Item = Worker> + '_ {
    let mut chance = Random::stream(plan.seed, "bystanders");
    let mut cities: Vec<&'static Place> = place::american_homes().filter(|city| city.city != plan.home.city).collect();
    chance.shuffle(&mut cities);
    let stacks: [&'static Stack; 3] = [&APPLE, &WINDOWS, &LINUX];
    let cities: Vec<&'static Place> = cities.into_iter().cycle().take(plan.bystanders as usize).collect();
    cities.into_iter().zip(stacks.into_iter().cycle()).zip(1_u8..).map(move |((city, stack), number)| {
        let owner = format!("bystander {number}");
        let mut chance = Random::stream(plan.seed, &owner);
        let line = Stretch {
            floor: chance.between(2 * MS, 9 * MS),
            queue: Queue::Light { mean: chance.between(MS / 2, 2 * MS) },
            rate: 30_000_000,
            loss: 0.0,
        };
        let last_mile = Leg::new("home_lastmile", &line, plan.seed, &owner);
        Worker {
            label: "benign",
            kind: "b1",
            topology: Topology::Direct,
            traffic: Traffic::Office,
            place: city,
            operator: city,
            address: if number % 3 == 0 { city.home6(number) } else { city.home(number) },
            stack,
            far: Vec::new(),
            near: vec![last_mile, leg("internet", internet_to(city), plan.seed, &owner)],
            edge: edge(plan.seed, &owner),
            hidden_rtt: 0,
            sessions: plan.sessions.div_ceil(3),
            duration: plan.duration,
            notes: Vec::new(),
            chance,
        }
    })
}

fn leg(name: &'static str, floor: i64, seed: u64, owner: &str) -> Leg {
    Leg::new(name, &Stretch { floor, queue: Queue::Light { mean: MS / 5 }, rate: 0, loss: 0.0 }, seed, owner)
}

/// From the tap to the server behind the gateway.
fn edge(seed: u64, owner: &str) -> Leg {
    let stretch = Stretch { floor: MS / 10, queue: Queue::Light { mean: MS / 50 }, rate: 1_000_000_000, loss: 0.0 };
    Leg::new("edge", &stretch, seed, owner)
}

/// Teleport to dish by way of a satellite 35,786 km up at a mid-latitude slant, with the modems: about 265 ms one way
/// (the vertical floor is 239 ms).
const GEOSTATIONARY: i64 = 265 * MS;

const DEFAULTS: Defaults = Defaults {
    home: "Omaha",
    operator: "Shenyang",
    last_mile_ms: 4.0,
    last_mile_jitter_ms: 1.0,
    sessions: 12,
    bystanders: 3,
    duration: Duration::from_secs(20 * 60),
};

static HOME_DIRECT: Scenario = Scenario {
    name: "home-direct",
    about: "an honest worker at home: every loop closes there, in the time the distance explains",
    kind: "b1",
    topology: Topology::Direct,
    traffic: Traffic::Office,
    line: Line::Quiet,
    notes: &[],
    defaults: DEFAULTS,
};

static HOME_VPN: Scenario = Scenario {
    name: "home-vpn",
    about: "an honest worker at home inside the corporate WireGuard tunnel",
    kind: "b2",
    traffic: Traffic::WireGuard,
    ..HOME_DIRECT
};

static DISTANT_HONEST: Scenario = Scenario {
    name: "distant-honest",
    about: "a worker in Bengaluru who says so: long loops that the claimed place explains",
    kind: "b6",
    notes: &["far away and says so"],
    defaults: Defaults { home: "Bengaluru", ..DEFAULTS },
    ..HOME_DIRECT
};

static GEO_SATELLITE: Scenario = Scenario {
    name: "geo-satellite",
    about: "an honest worker on a geostationary satellite: TCP ends at the teleport, a gap of over 477 ms above it",
    kind: "b3",
    topology: Topology::Accelerated,
    notes: &["performance-enhancing proxy at the teleport; the address is registered there"],
    defaults: Defaults { home: "Germantown", last_mile_ms: 1.5, last_mile_jitter_ms: 0.5, ..DEFAULTS },
    ..HOME_DIRECT
};

static BUFFERBLOAT: Scenario = Scenario {
    name: "bufferbloat",
    about: "an honest worker behind a bloated upload buffer: hundreds of milliseconds that come and go at every layer",
    kind: "b3",
    line: Line::Bloated,
    notes: &["expected_* hold while the line is quiet"],
    ..HOME_DIRECT
};

static WIFI_JITTER: Scenario = Scenario {
    name: "wifi-jitter",
    about: "an honest worker on contended Wi-Fi: bursts of tens of milliseconds, clean minima",
    kind: "b3",
    line: Line::Radio,
    defaults: Defaults { last_mile_ms: 5.0, last_mile_jitter_ms: 2.5, ..DEFAULTS },
    ..HOME_DIRECT
};

static HOME_PROXY: Scenario = Scenario {
    name: "home-proxy",
    about: "an operator abroad behind a SOCKS proxy in the home: TCP ends at home, TLS and SSH a hidden leg further",
    kind: "r3",
    topology: Topology::Proxy,
    notes: &["the application's loops exceed TCP's by the hidden leg"],
    ..HOME_DIRECT
};

static HOME_EXIT: Scenario = Scenario {
    name: "home-exit",
    about: "an operator abroad with the home as tunnel exit: every loop is a hidden leg too long, MSS clamped to 1380",
    kind: "r2",
    topology: Topology::Exit,
    notes: &["one router more than the home's own computers show, MSS 1380"],
    ..HOME_DIRECT
};

static EXIT_VPN: Scenario = Scenario {
    name: "exit-vpn",
    about: "the same operator inside the corporate WireGuard tunnel, which itself comes through the home's exit",
    traffic: Traffic::WireGuard,
    notes: &["tunnel in tunnel: no TCP loop, smaller largest datagram"],
    ..HOME_EXIT
};

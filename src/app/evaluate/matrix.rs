//! The built-in matrices: which scenarios are simulated, how often, with which seeds.
//!
//! Reads: a name. Emits: trials, each one capture with one or many endpoints. Does not: simulate. The numbers of the
//! rules may be looked up in `fit`; `report` and `fleet` use other seeds and also kinds of scenario that `fit` has not.

use crate::simulate::{Access, Options, SCENARIOS, Scenario};
use std::time::Duration;

/// One capture to simulate.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) parts: Vec<(&'static str, Options)>,
    /// What sets it apart from others of its scenario.
    pub(super) variant: &'static str,
    /// Whether the company knows where its people say that they live.
    pub(super) homes: bool,
}

/// A matrix by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matrix {
    /// A short part of `report`, for tests.
    Quick,
    /// What the numbers of the rules may be taken from.
    Fit,
    /// What is reported; the fleet is part of it.
    Report,
    /// Many honest endpoints, for the rate of false alarms.
    Fleet,
}

impl Matrix {
    /// All of them by name.
    pub(crate) const ALL: [(&'static str, Self); 4] =
        [("quick", Self::Quick), ("fit", Self::Fit), ("report", Self::Report), ("fleet", Self::Fleet)];

    /// Its trials; `seed` moves all seeds, `honest` is how many honest endpoints the fleet has, which `report` has too.
    pub(super) fn trials(self, seed: u64, honest: u32) -> Vec<Trial> {
        match self {
            Self::Quick => {
                let mut trials = grid(seed + 1_000_001, 3, &scenarios(true));
                // Packet by packet an hour and a half is too long for a test.
                let live = trials.iter_mut().filter(|trial| trial.parts.iter().any(|(name, _)| is_live(name)));
                live.for_each(|trial| trial.parts.iter_mut().for_each(|(_, options)| options.duration = SHORT));
                trials
            }
            Self::Fit => grid(seed + 1, 60, &scenarios(false)),
            Self::Report => {
                let mut trials = grid(seed + 1_000_001, 100, &scenarios(true));
                trials.extend(fleet(seed + 100_000_001, honest));
                trials
            }
            Self::Fleet => fleet(seed + 100_000_001, honest),
        }
    }
}

/// Kinds of scenario that no number of a rule may be taken from.
const HELD_OUT: &[&str] = &[
    "home-ipsec",
    "ipv6-tunnel",
    "hotspot",
    "private-relay",
    "dorm",
    "remote-desktop-webrtc",
    "exit-ipsec",
    "proxy-early",
    "hosting-exit",
];

fn scenarios(held_out: bool) -> Vec<&'static Scenario> {
    SCENARIOS.iter().copied().filter(|scenario| held_out || !HELD_OUT.contains(&scenario.name)).collect()
}

/// How long a machine is worked in the short matrix.
const SHORT: Option<Duration> = Some(Duration::from_secs(600));

/// Homes, honest or not.
const HOMES: [&str; 8] = ["Omaha", "Nashville", "Phoenix", "Seattle", "Dallas", "Chicago", "Raleigh", "Miami"];
/// Where operators sit.
const OPERATORS: [&str; 7] = ["Shenyang", "Dandong", "Beijing", "Vladivostok", "Moscow", "Dubai", "Vientiane"];
/// Hidden legs in milliseconds; the last is what the distance gives.
const LEGS: [Option<f64>; 8] =
    [Some(60.0), Some(80.0), Some(100.0), Some(120.0), Some(160.0), Some(200.0), Some(250.0), None];
/// Sessions of a day.
const SESSIONS: [u32; 3] = [6, 12, 3];
/// Honest lines.
const LINES: [Option<Access>; 5] =
    [None, Some(Access::Fibre), Some(Access::Cable), Some(Access::Dsl), Some(Access::Wifi)];

fn nth<T: Copy>(table: &[T], n: u64) -> Option<T> {
    table.get(usize::try_from(n).unwrap_or(0) % table.len().max(1)).copied()
}

/// Every scenario with so many seeds, in turn through homes, legs, lines and amounts; their tables have lengths without a
/// common factor, so that all pairs come up.
fn grid(first: u64, seeds: u64, scenarios: &[&'static Scenario]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (turn, scenario) in (0_u64..).zip(scenarios) {
        // What goes on packet by packet is long: a third of the seeds is enough to see it.
        let live = is_live(scenario.name);
        let seeds = if live { seeds.div_ceil(3) } else { seeds };
        for n in 0..seeds {
            // Another stride for each table, so that they do not go round together.
            let trial = trial(scenario, first + n + turn * 10_000, n);
            // Who is behind one address is asked with and without a list of homes.
            let homes = matches!(scenario.kind, "b7" | "r4") && n % 2 == 1;
            trials.push(Trial { homes, ..trial });
        }
        let lossy = matches!(scenario.name, "home-proxy" | "home-exit" | "home-direct");
        for n in (0..seeds / 5).filter(|_| lossy) {
            let mut trial = trial(scenario, first + n + turn * 10_000 + 5_000, n);
            trial.parts.iter_mut().for_each(|(_, options)| options.loss = Some(0.03));
            trials.push(Trial { variant: ", 3 % loss", ..trial });
        }
    }
    trials
}

fn is_live(name: &str) -> bool {
    name.starts_with("remote-desktop") || matches!(name, "ip-kvm" | "helpdesk" | "video-call" | "jump-host")
}

fn is_tunnel(name: &str) -> bool {
    name.ends_with("-vpn") && name != "commercial-vpn"
        || name.ends_with("-openvpn")
        || name.ends_with("-openvpn-tcp")
        || name.ends_with("-ipsec")
}

fn trial(scenario: &'static Scenario, seed: u64, n: u64) -> Trial {
    let relayed = scenario.label == "relayed";
    // Scenarios that are about a place or a line keep it.
    let free = matches!(
        scenario.name,
        "home-direct"
            | "home-vpn"
            | "home-openvpn"
            | "home-openvpn-tcp"
            | "home-ipsec"
            | "home-full-tunnel"
            | "bufferbloat"
            | "wifi-jitter"
            | "household"
            | "helpdesk"
            | "jump-host"
    ) || relayed && !matches!(scenario.name, "commercial-vpn" | "hosting-exit");
    let plain =
        matches!(scenario.name, "home-direct" | "home-vpn" | "home-openvpn-tcp" | "home-full-tunnel" | "household");
    let leg = nth(&LEGS, n * 5 + 4).flatten().filter(|_| relayed && scenario.kind != "r5");
    let mut options = Options {
        seed,
        home: nth(&HOMES, n * 3 + n / 8).filter(|_| free).map(str::to_owned),
        operator: nth(&OPERATORS, n).filter(|_| relayed).map(str::to_owned),
        access: nth(&LINES, n).flatten().filter(|_| plain),
        hidden_rtt_ms: leg,
        laptops: (scenario.kind == "r4").then(|| 2 + (n * 7 % 19) as u32),
        bystanders: Some(if is_live(scenario.name) { 0 } else { 1 }),
        ..Options::default()
    };
    if is_live(scenario.name) {
        // Somebody who helps is soon gone; somebody who works stays (science note S17).
        options.duration = Some(Duration::from_secs(60 * nth(&[90, 30, 10], n).unwrap_or(10)));
    } else if is_tunnel(scenario.name) {
        options.duration = Some(Duration::from_secs(60 * nth(&[20, 60, 10], n).unwrap_or(10)));
    } else {
        options.sessions = nth(&SESSIONS, n);
    }
    Trial { parts: vec![(scenario.name, options)], variant: "", homes: false }
}

/// Endpoints in one capture of the fleet; a city's network holds so many.
const TOGETHER: u32 = 60;
/// Shares of honest remote workers' days, per thousand. Design values: no site's fleet was counted.
const FLEET: [(&str, u32, Option<Access>); 22] = [
    ("home-direct", 150, None),
    ("home-direct", 150, Some(Access::Fibre)),
    ("home-direct", 200, Some(Access::Cable)),
    ("home-direct", 70, Some(Access::Dsl)),
    ("home-vpn", 60, Some(Access::Cable)),
    ("home-openvpn", 20, None),
    ("home-ipsec", 30, None),
    ("wifi-jitter", 120, None),
    ("bufferbloat", 40, None),
    ("mobile", 25, None),
    ("hotspot", 10, None),
    ("leo-satellite", 15, None),
    ("geo-satellite", 5, None),
    ("pppoe", 15, None),
    ("ipv6-tunnel", 10, None),
    ("distant-honest", 15, None),
    ("traveller", 10, None),
    ("accelerator", 10, None),
    ("sase", 15, None),
    ("private-relay", 10, None),
    ("household", 15, None),
    ("cgnat", 5, None),
];

/// One-way delay of a line of which nothing else is said, ms.
const LAST_MILE: f64 = 4.0;

/// What the way of an honest home is longer than the great circle explains, ms of round trip: exponential with mean 8, of
/// one home in a hundred with mean 20, which is more than the rules expect. Design values: real routes make detours, and no site's were measured.
fn detour_ms(seed: u64) -> f64 {
    // Two numbers in 0..1 from the seed (splitmix64; Steele, Lea and Flood, OOPSLA 2014).
    let uniform = |turn: u64| {
        let mut z = seed.wrapping_mul(2).wrapping_add(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let mean = if uniform(0) < 0.01 { 20.0 } else { 8.0 };
    -mean * uniform(1).ln()
}

/// So many honest workdays of eight hours and twelve sessions, or an hour of a tunnel, sixty in a capture.
fn fleet(first: u64, honest: u32) -> Vec<Trial> {
    let whole: u32 = FLEET.iter().map(|(_, share, _)| share).sum();
    let one = |n: u32| {
        // A stride without a common factor goes through all shares evenly.
        let mut at = n.wrapping_mul(617) % whole;
        let row = FLEET.iter().find(|(_, share, _)| {
            let here = at < *share;
            at = at.saturating_sub(*share);
            here
        });
        let (name, _, access) = row.copied().unwrap_or(("home-direct", 0, None));
        let free = !matches!(
            name,
            "mobile"
                | "hotspot"
                | "leo-satellite"
                | "geo-satellite"
                | "pppoe"
                | "ipv6-tunnel"
                | "distant-honest"
                | "traveller"
                | "accelerator"
                | "sase"
                | "private-relay"
                | "cgnat"
        );
        let seed = first + u64::from(n);
        let shared = matches!(name, "household" | "cgnat" | "hotspot");
        let options = Options {
            seed,
            home: nth(&HOMES, seed / 3).filter(|_| free).map(str::to_owned),
            access,
            sessions: Some(if shared { 4 } else { 12 }),
            bystanders: Some(0),
            duration: Some(Duration::from_secs(if is_tunnel(name) { 3_600 } else { 8 * 3_600 })),
            number: (n % TOGETHER + 1) as u8,
            last_mile_ms: free.then(|| access.map_or(LAST_MILE, |line| line.delays().0) + detour_ms(seed) / 2.0),
            ..Options::default()
        };
        (name, options)
    };
    let captures = honest.div_ceil(TOGETHER);
    let numbers = |capture: u32| capture * TOGETHER..((capture + 1) * TOGETHER).min(honest);
    let trial = |capture: u32| {
        let parts = numbers(capture).map(one).collect();
        Trial { parts, variant: "", homes: capture % 2 == 1 }
    };
    (0..captures).map(trial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn seeds(matrix: Matrix) -> BTreeSet<u64> {
        matrix.trials(0, 600).iter().flat_map(|trial| trial.parts.iter().map(|(_, options)| options.seed)).collect()
    }

    #[test]
    fn what_is_reported_was_not_fitted_to() {
        assert!(seeds(Matrix::Fit).is_disjoint(&seeds(Matrix::Report)));
        assert!(seeds(Matrix::Fit).is_disjoint(&seeds(Matrix::Fleet)));
        let fitted = Matrix::Fit.trials(0, 0);
        assert!(fitted.iter().all(|trial| trial.parts.iter().all(|(name, _)| !HELD_OUT.contains(name))));
        for scenario in SCENARIOS {
            let reported = Matrix::Report.trials(0, 0).iter().any(|trial| trial.parts[0].0 == scenario.name);
            assert!(reported, "{} is in no report", scenario.name);
        }
        assert!(HELD_OUT.iter().all(|name| SCENARIOS.iter().any(|scenario| scenario.name == *name)));
    }

    #[test]
    fn honest_ways_make_detours_and_a_few_of_them_long_ones() {
        let detours: Vec<f64> = (0..30_000).map(|i| detour_ms(100_000_001 + i)).collect();
        let share = |ms: f64| detours.iter().filter(|detour| **detour > ms).count() as f64 / 30_000.0;
        assert!((0.37..0.40).contains(&share(7.8)), "{}", share(7.8));
        assert!((3e-4..2e-3).contains(&share(60.0)), "{}", share(60.0));
    }

    #[test]
    fn a_fleet_is_honest_whole_and_has_an_address_each() {
        let trials = Matrix::Fleet.trials(0, 2_000);
        let parts: Vec<_> = trials.iter().flat_map(|trial| &trial.parts).collect();
        assert_eq!((parts.len(), trials.len()), (2_000, 34));
        assert!(parts.iter().all(|(name, _)| SCENARIOS.iter().any(|s| s.name == *name && s.label == "benign")));
        assert_eq!(FLEET.iter().map(|(_, share, _)| share).sum::<u32>(), 1_000);
        for trial in &trials {
            let numbers: BTreeSet<u8> = trial.parts.iter().map(|(_, options)| options.number).collect();
            assert_eq!(numbers.len(), trial.parts.len());
        }
        let of = |wanted: &str| parts.iter().filter(|(name, _)| *name == wanted).count();
        assert_eq!((of("home-direct"), of("geo-satellite")), (1_140, 10));
    }
}

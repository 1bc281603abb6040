//! Workers' tunnels joined with the traffic inside them: on the scenarios, whose truth is known, and on made-up sites.
//!
//! The scenarios are looked for in `../shared` or `$FARMLIGHT_SHARED`; skipped, and said so, where they are not there.
//! `cargo test --test tunnels -- --nocapture` prints the figures of docs/tunnels.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a test may stop, and tells what it saw"
)]

mod common;

use common::{analyze_within, shared};
use farmlight::base::{Claim, IdentityKind, Located, Stay, Sureness, Timestamp, TunnelSide, Volume, Whereabouts};
use farmlight::evidence::{Ledger, LedgerLimits};
use farmlight::intel::{Networks, Premises};
use farmlight::source::{Inputs, Memory, Source};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs in which a worker's tunnel and its inside are both captured: the address inside.
const RUNS: &[(&str, &str)] = &[
    ("b2-ikev2-s12", "10.11.0.1"),
    ("b2-ocserv-s12", "10.9.0.239"),
    ("b2-ovpn-tcp-s12", "10.8.0.2"),
    ("b2-ovpn-udp-s12", "10.8.0.2"),
    ("b2-wireguard-s12", "10.10.0.20"),
    ("b3-bufferbloat-s21", "10.8.0.2"),
    ("b3-wifijitter-s21", "10.10.0.20"),
    ("b4-rdp-s42", "10.10.0.20"),
    ("b4-vnc-s41", "10.10.0.20"),
    ("b5-helpdesk-s41", "10.10.0.20"),
    ("r1-rdp-revssh-s42", "10.10.0.20"),
    ("r1-vnc-direct-s41", "10.10.0.20"),
    ("r1-vnc-revssh-s41", "10.10.0.20"),
    ("r2-ovpn-corpvpn-s21", "10.8.0.2"),
];

struct Run {
    name: &'static str,
    inner: IpAddr,
    outer: IpAddr,
    captures: [PathBuf; 2],
}

fn runs(shared: &Path) -> Vec<Run> {
    let run = |(name, inner): &(&'static str, &str)| {
        let folder = shared.join("scenarios").join(name);
        let truth = std::fs::read(folder.join("truth.json")).ok()?;
        let truth: serde_json::Value = serde_json::from_slice(&truth).unwrap();
        let captures = [folder.join("span-a.pcap"), folder.join("span-b.pcap")];
        let outer = truth["endpoint_ip"].as_str().unwrap().parse().unwrap();
        Some(Run { name, inner: inner.parse().unwrap(), outer, captures })
    };
    RUNS.iter().filter_map(run).collect()
}

fn joined(source: &mut impl Source, workers: usize, premises: &Premises) -> Vec<(IpAddr, IpAddr)> {
    let ledger = analyze_within(source, workers, premises.clone()).ledger;
    ledger.join_tunnels();
    ledger.joins().iter().map(|(inner, joined)| (inner, joined.outer)).collect()
}

fn premises(own: &str, pool: &str) -> Premises {
    Premises::new(own.parse::<Networks>().unwrap(), pool.parse::<Networks>().unwrap())
}

#[test]
fn every_inner_address_is_joined_to_its_tunnel_however_the_site_is_described() {
    let Some(shared) = shared() else { return };
    for Run { name, inner, outer, captures } in runs(&shared) {
        let frames = Memory::collect(&mut Inputs::open(&captures, None).unwrap());
        for own in ["", "208.77.188.0/24,10.20.0.0/16", "208.77.188.0/24,10.0.0.0/8"] {
            for pool in ["", "10.8.0.0/14"] {
                let found = joined(&mut frames.clone(), 1, &premises(own, pool));
                assert_eq!(found, [(inner, outer)], "{name} within [{own}] with pool [{pool}]");
            }
        }
    }
}

/// Both captures of a run, the second by a clock that is ahead, in order of their time stamps.
fn skewed(captures: &[PathBuf; 2], ahead: Duration) -> Memory {
    let frames = |path: &PathBuf| {
        Memory::collect(&mut Inputs::open(std::slice::from_ref(path), None).unwrap()).frames().to_vec()
    };
    let mut all = frames(&captures[0]);
    all.extend(frames(&captures[1]).into_iter().map(|mut frame| {
        frame.at = frame.at.plus(ahead);
        frame
    }));
    all.sort_by_key(|frame| frame.at);
    Memory::new(all)
}

#[test]
fn clocks_that_differ_by_up_to_a_second_do_not_matter() {
    let Some(shared) = shared() else { return };
    let premises = premises("208.77.188.0/24,10.0.0.0/8", "");
    for Run { name, inner, outer, captures } in runs(&shared) {
        for ms in [3, 125, 300, 1_000] {
            let found = joined(&mut skewed(&captures, Duration::from_millis(ms)), 1, &premises);
            assert_eq!(found, [(inner, outer)], "{name} with clocks {ms} ms apart");
        }
    }
}

#[test]
fn the_number_of_workers_and_the_order_of_captures_change_nothing() {
    let Some(shared) = shared() else { return };
    for Run { name, captures, .. } in runs(&shared) {
        let told = |workers, captures: [PathBuf; 2]| {
            let mut inputs = Inputs::open(&captures, None).unwrap();
            let ledger = analyze_within(&mut inputs, workers, premises("", "10.8.0.0/14")).ledger;
            ledger.join_tunnels();
            format!("{:?}", ledger.joins())
        };
        let one = told(1, captures.clone());
        for (workers, turned) in [(2, false), (8, false), (3, true)] {
            let mut order = captures.clone();
            if turned {
                order.reverse();
            }
            assert_eq!(one, told(workers, order), "{name} with {workers} workers");
        }
    }
}

/// Different runs are different workers: what one sent is in nobody else's tunnel. Runs with the same seed are left out:
/// in them the same is typed and fetched at the same moments, which is what can't be told apart.
#[test]
fn traffic_of_one_run_is_not_joined_to_the_tunnel_of_another() {
    let Some(shared) = shared() else { return };
    let runs = runs(&shared);
    let collect = |path: &PathBuf| Memory::collect(&mut Inputs::open(std::slice::from_ref(path), None).unwrap());
    let sides: Vec<[Memory; 2]> = runs.iter().map(|run| run.captures.each_ref().map(collect)).collect();
    let seed = |name: &str| name.rsplit_once('-').unwrap().1.to_owned();
    let mut pairs = 0;
    for (i, outside) in sides.iter().enumerate() {
        for (j, inside) in sides.iter().enumerate().filter(|(j, _)| seed(runs[*j].name) != seed(runs[i].name)) {
            // As if they had begun at the same moment.
            let (a, b) = (outside[0].frames(), inside[1].frames());
            let apart = a[0].at.nanos() - b[0].at.nanos();
            let mut frames = a.to_vec();
            frames.extend(b.iter().cloned().map(|mut frame| {
                frame.at = Timestamp::from_nanos(frame.at.nanos() + apart);
                frame
            }));
            frames.sort_by_key(|frame| frame.at);
            let found = joined(&mut Memory::new(frames), 1, &premises("208.77.188.0/24,10.0.0.0/8", ""));
            assert!(found.is_empty(), "{} in the tunnel of {}: {found:?}", runs[j].name, runs[i].name);
            pairs += 1;
        }
    }
    println!("{pairs} pairs of different runs, none joined");
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the same numbers for the same seed everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a made-up worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Only the programs that tell their server now and then that they are there, at the same moments everywhere.
    Idle,
    /// A terminal: a few letters, a pause.
    Types,
    /// Pages of 20 kB to 1 MB, every few seconds to a minute, and typing.
    Browses,
    /// A call: 50 packets a second both ways, sizes vary a little.
    Calls,
}

const WORK: [Work; 4] = [Work::Idle, Work::Types, Work::Browses, Work::Calls];

/// Packets of one quarter second: how many and how long, from the worker and to it.
type Tick = ([u32; 2], [u32; 2]);

fn put(tick: &mut Tick, dir: usize, packets: u32, bytes: u32) {
    tick.0[dir] += packets;
    tick.1[dir] += bytes;
}

/// A worker's traffic inside its tunnel.
fn traffic(dice: &mut Dice, work: Work, seconds: usize) -> Vec<Tick> {
    let mut ticks = vec![([0, 0], [0, 0]); 4 * seconds];
    let n = ticks.len();
    for second in 0..seconds {
        // A beacon every ten seconds, an update check every minute: at the same moment for all.
        if second % 10 == 0 {
            put(&mut ticks[4 * second], 0, 2, 240);
            put(&mut ticks[4 * second], 1, 1, 180);
        }
        if second % 60 == 7 {
            put(&mut ticks[4 * second], 0, 3, 700);
            put(&mut ticks[4 * second], 1, 4, 3_800);
        }
    }
    let mut at = dice.below(40) as usize;
    while at < n && work != Work::Idle && work != Work::Calls {
        if work == Work::Browses && dice.chance(25) {
            let mut left = 20_000 + dice.below(1_000) as u32 * dice.below(1_000) as u32;
            put(&mut ticks[at], 0, 4, 2_600);
            while left > 0 && at < n {
                let now = left.min(40_000 + dice.below(300_000) as u32);
                put(&mut ticks[at], 1, now.div_ceil(1_400), now);
                put(&mut ticks[at], 0, now.div_ceil(2_800), 40 * now.div_ceil(2_800));
                left -= now;
                at += 1;
            }
        } else {
            for _ in 0..=dice.below(3) {
                put(&mut ticks[at], 0, 1, 76);
                put(&mut ticks[at], 1, 1, 76 + 16 * dice.below(4) as u32);
            }
        }
        at += if dice.chance(80) { 1 + dice.below(2) as usize } else { 4 + dice.below(80) as usize };
    }
    if work == Work::Calls {
        for tick in &mut ticks {
            for dir in 0..2 {
                let packets = 12 + dice.below(2) as u32;
                put(tick, dir, packets, packets * (170 + dice.below(60) as u32));
            }
        }
    }
    ticks
}

/// The same outside: a tax on each packet, keepalives, and a capture point whose clock is behind by a tenth of a second.
fn encapsulated(dice: &mut Dice, inside: &[Tick]) -> Vec<Tick> {
    let tax = 60 + dice.below(20) as u32;
    let mut outside = vec![([0, 0], [0, 0]); inside.len()];
    for (i, (packets, bytes)) in inside.iter().enumerate() {
        for dir in 0..2 {
            // What passed at the end of the tick is counted in the next one.
            let late = packets[dir] * 2 / 5;
            let late_bytes = bytes[dir] / packets[dir].max(1) * late;
            put(&mut outside[i], dir, packets[dir] - late, bytes[dir] - late_bytes + tax * (packets[dir] - late));
            if let Some(next) = outside.get_mut(i + 1) {
                put(next, dir, late, late_bytes + tax * late);
            }
        }
        if i % 100 == 0 {
            put(&mut outside[i], 0, 1, 60);
            put(&mut outside[i], 1, 1, 60);
        }
    }
    outside
}

fn tell(ledger: &Ledger, side: TunnelSide, address: IpAddr, ticks: &[Tick]) {
    let volume = |(tick, (packets, bytes)): (i64, &Tick)| Volume { tick, packets: *packets, bytes: *bytes };
    let volumes: Vec<Volume> = (7_000_000_000..).zip(ticks).filter(|(_, tick)| tick.0 != [0, 0]).map(volume).collect();
    volumes.chunks(16).for_each(|piece| ledger.on_volumes(side, address, piece));
}

fn outside(worker: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x4400_0000 + worker).into()
}

fn inside(worker: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0A08_0000 + worker).into()
}

/// Workers joined rightly, wrongly, and those whose tunnel and inside were both seen, by what they do.
#[derive(Debug, Default)]
struct Tally {
    right: [usize; 4],
    wrong: [usize; 4],
    both_seen: [usize; 4],
    seen: [usize; 4],
}

/// A site with so many workers of each kind. Of a third the tunnel was not captured, of a third the inside.
fn site(seed: u64, workers: u32, seconds: usize) -> Tally {
    let mut dice = Dice(seed);
    let ledger = Ledger::new(Premises::default(), LedgerLimits::default());
    let mut tally = Tally::default();
    for worker in 0..workers {
        let kind = worker as usize % 4;
        let ticks = traffic(&mut dice, WORK[kind], seconds);
        let (tunnel_seen, inside_seen) = [(true, true), (true, false), (false, true)][dice.below(3) as usize];
        let around = encapsulated(&mut dice, &ticks);
        if tunnel_seen {
            tell(&ledger, TunnelSide::Outer, outside(worker), &around);
        }
        if inside_seen {
            tell(&ledger, TunnelSide::Inner, inside(worker), &ticks);
            tally.seen[kind] += 1;
        }
        tally.both_seen[kind] += usize::from(tunnel_seen && inside_seen);
    }
    ledger.join_tunnels();
    for (inner, joined) in ledger.joins().iter() {
        let IpAddr::V4(address) = inner else { panic!("{inner}") };
        let worker = address.to_bits() - 0x0A08_0000;
        let kind = worker as usize % 4;
        if joined.outer == outside(worker) {
            tally.right[kind] += 1;
        } else {
            tally.wrong[kind] += 1;
        }
    }
    tally
}

#[test]
fn of_many_workers_none_is_joined_to_the_tunnel_of_another() {
    for (seed, seconds) in [(1, 120), (2, 300)] {
        let tally = site(seed, 160, seconds);
        println!("{seconds} s: {tally:?}");
        assert_eq!(tally.wrong, [0; 4], "{tally:?}");
        assert_eq!(tally.right[0], 0, "who is idle can't be told from others: {tally:?}");
        assert!(tally.right[2] * 10 >= tally.both_seen[2] * 9, "{tally:?}");
    }
}

/// The figures of docs/tunnels.md; takes some seconds with `--release`.
#[test]
#[ignore = "prints figures"]
fn false_matches_among_a_thousand_workers() {
    for seconds in [60, 120, 300, 600] {
        let mut all = Tally::default();
        for seed in 0..10 {
            let one = site(100 + seed, 1_000, seconds);
            for kind in 0..4 {
                all.right[kind] += one.right[kind];
                all.wrong[kind] += one.wrong[kind];
                all.both_seen[kind] += one.both_seen[kind];
                all.seen[kind] += one.seen[kind];
            }
        }
        println!("{seconds} s: {all:?}");
    }
}

/// How long joining takes: 1,000 tunnels and 10,000 addresses inside.
#[test]
#[ignore = "measures"]
fn a_thousand_tunnels_and_ten_thousand_addresses() {
    let mut dice = Dice(5);
    let ledger = Ledger::new(Premises::default(), LedgerLimits::default());
    for worker in 0..10_000 {
        let ticks = traffic(&mut dice, WORK[worker as usize % 4], 1_200);
        tell(&ledger, TunnelSide::Inner, inside(worker), &ticks);
        if worker < 1_000 {
            let around = encapsulated(&mut dice, &ticks);
            tell(&ledger, TunnelSide::Outer, outside(worker), &around);
        }
    }
    #[expect(clippy::disallowed_methods, reason = "measures the run itself")]
    let began = std::time::Instant::now();
    ledger.join_tunnels();
    let right = ledger.joins().iter().filter(|(_, joined)| joined.by == "volume").count();
    println!("{right} joined in {:.1} s", began.elapsed().as_secs_f64());
}

/// Two laptops in one home, and a worker with an IPv4 and an IPv6 address inside: no address alone is the tunnel.
#[test]
fn several_addresses_of_one_tunnel_are_found_by_their_sum() {
    let mut dice = Dice(11);
    let ledger = Ledger::new(Premises::default(), LedgerLimits::default());
    let all: Vec<Vec<Tick>> = (0..40).map(|i| traffic(&mut dice, WORK[1 + i % 2], 400)).collect();
    for (i, ticks) in all.iter().enumerate() {
        tell(&ledger, TunnelSide::Inner, inside(i as u32), ticks);
    }
    for members in [&[3usize, 5][..], &[7, 9, 15], &[21]] {
        let mut sum = vec![([0, 0], [0, 0]); 1_600];
        for member in members {
            for (sum, tick) in sum.iter_mut().zip(&all[*member]) {
                (0..2).for_each(|dir| put(sum, dir, tick.0[dir], tick.1[dir]));
            }
        }
        tell(&ledger, TunnelSide::Outer, outside(members[0] as u32), &encapsulated(&mut dice, &sum));
    }
    ledger.join_tunnels();
    let found: Vec<(IpAddr, IpAddr)> = ledger.joins().iter().map(|(inner, joined)| (inner, joined.outer)).collect();
    let expected = [(3, 3), (5, 3), (7, 7), (9, 7), (15, 7), (21, 21)];
    assert_eq!(found, expected.map(|(inner, outer)| (inside(inner), outside(outer))));
}

/// Two workers who do the same at the same time, to the byte: which is whose can't be told, and is not guessed.
#[test]
fn what_cannot_be_told_apart_stays_apart() {
    let ledger = Ledger::new(Premises::default(), LedgerLimits::default());
    for worker in 0..2 {
        let mut dice = Dice(4);
        let ticks = traffic(&mut dice, Work::Browses, 300);
        tell(&ledger, TunnelSide::Inner, inside(worker), &ticks);
        tell(&ledger, TunnelSide::Outer, outside(worker), &encapsulated(&mut dice, &ticks));
    }
    ledger.join_tunnels();
    assert_eq!(ledger.joins().iter().count(), 0);
}

/// An address that another worker gets later holds the traffic of two: it is nobody's.
#[test]
fn an_address_of_two_workers_in_turn_is_joined_to_neither() {
    let mut dice = Dice(8);
    let ledger = Ledger::new(Premises::default(), LedgerLimits::default());
    let mut both = Vec::new();
    for worker in 0..2u32 {
        let mut ticks = vec![([0, 0], [0, 0]); 1_200 * worker as usize];
        ticks.extend(traffic(&mut dice, Work::Browses, 300));
        let around = encapsulated(&mut dice, &ticks)[1_200 * worker as usize..].to_vec();
        let mut padded = vec![([0, 0], [0, 0]); 1_200 * worker as usize];
        padded.extend(around);
        tell(&ledger, TunnelSide::Outer, outside(worker), &padded);
        both.push(ticks);
    }
    both.iter().for_each(|ticks| tell(&ledger, TunnelSide::Inner, inside(0), ticks));
    ledger.join_tunnels();
    assert_eq!(ledger.joins().iter().count(), 0);
}

/// A claim goes before the volume, and what two claims in turn say is nobody's.
#[test]
fn claims_go_first() {
    let Some(shared) = shared() else { return };
    let Some(run) = runs(&shared).into_iter().find(|run| run.name == "b2-wireguard-s12") else { return };
    let at = |seconds| Timestamp::from_parts(1_795_439_000 + seconds, 0);
    let says = |ledger: &Ledger, outer: IpAddr, session: &str, from: i64, to: i64| {
        for (seconds, stay) in [(from, Stay::Begins), (to, Stay::Ends)] {
            let mut claim = Claim::new("radius-accounting", Whereabouts::Address(outer), IdentityKind::User, "alice")
                .worth(Sureness::Accepted);
            claim.stay = stay;
            claim.session = Some(session.to_owned());
            claim.inner = Some(run.inner);
            ledger.on_claim(Located { at: at(seconds), address: outer, claim });
        }
    };
    let analysis = || {
        let mut inputs = Inputs::open(&run.captures, None).unwrap();
        analyze_within(&mut inputs, 1, premises("208.77.188.0/24,10.0.0.0/8", "")).ledger
    };
    let ledger = analysis();
    says(&ledger, run.outer, "1", 0, 3_600);
    ledger.join_tunnels();
    let joined = *ledger.joins().of_inner(run.inner).unwrap();
    assert_eq!((joined.outer, joined.by, joined.correlation), (run.outer, "radius-accounting", None));
    let inner = ledger.inner_of(run.outer);
    assert_eq!(inner.len(), 1);
    assert!(inner[0].account.sessions > 5, "what passed inside is the worker's, too");
    // An address of which nothing was captured has no ladder to add to: the volume decides.
    let ledger = analysis();
    says(&ledger, "198.51.100.7".parse().unwrap(), "1", 0, 3_600);
    ledger.join_tunnels();
    assert_eq!(ledger.joins().of_inner(run.inner).unwrap().by, "volume");
}

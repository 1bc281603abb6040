//! The room as a whole: same seed same bytes, causality at the tap, truth against what the frames show.

use super::*;
use crate::simulate::scenario::Taps;
use crate::simulate::truth::EndpointTruth;
use crate::simulate::worker::{Topology, Traffic};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Scenarios of one computer that opens web and shell sessions past the outer tap.
fn office() -> impl Iterator<Item = &'static Scenario> {
    let plain = |s: &&Scenario| s.traffic == Traffic::Office && s.taps == Taps::Outside && s.hosts == 1;
    SCENARIOS.iter().copied().filter(plain)
}

/// A TCP segment as the tap saw it, `home` being the address outside.
#[derive(Debug, Clone)]
struct Seen {
    at: i64,
    from_home: bool,
    syn: bool,
    fin: bool,
    seq: u32,
    ack: u32,
    data: Vec<u8>,
    options: Vec<u8>,
    ttl: u8,
}

impl Seen {
    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.data.len() as u32).wrapping_add(u32::from(self.syn))
    }
}

/// Every TCP flow by home address and its port.
fn flows(outcome: &Outcome) -> BTreeMap<(IpAddr, u16), Vec<Seen>> {
    let mut flows: BTreeMap<(IpAddr, u16), Vec<Seen>> = BTreeMap::new();
    for (at, bytes) in &outcome.frames {
        let sliced = SlicedPacket::from_ethernet(bytes).unwrap();
        let (from, to, ttl): (IpAddr, IpAddr, u8) = match sliced.net.unwrap() {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), header.ttl())
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), header.hop_limit())
            }
            NetSlice::Arp(_) => panic!("no ARP is simulated"),
        };
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { continue };
        let from_home = matches!(tcp.destination_port(), 22 | 443);
        let key = if from_home { (from, tcp.source_port()) } else { (to, tcp.destination_port()) };
        flows.entry(key).or_default().push(Seen {
            at: at.nanos(),
            from_home,
            syn: tcp.syn(),
            fin: tcp.fin(),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            data: tcp.payload().to_vec(),
            options: tcp.options().to_vec(),
            ttl,
        });
    }
    flows
}

/// What was sent towards home for the first time, with its place in the flow: an answer may be to the first copy even
/// when a needless second one went past in between.
fn asked(flow: &[Seen]) -> impl DoubleEndedIterator<Item = (usize, &Seen)> {
    let copied = |i: usize, s: &Seen| flow[..i].iter().any(|e| !e.from_home && e.seq == s.seq && e.end() == s.end());
    flow.iter().enumerate().filter(move |(i, s)| !s.from_home && (s.syn || !s.data.is_empty()) && !copied(*i, s))
}

/// Round trips tap to home and back, milliseconds: each segment towards home to the first acknowledgement covering it.
fn tcp_loops(flow: &[Seen]) -> Vec<f64> {
    let answer = |(i, sent): (usize, &Seen)| {
        let covers = |s: &&Seen| s.from_home && s.ack.wrapping_sub(sent.end()) < 1 << 31;
        flow[i..].iter().find(covers).map(|answer| (answer.at - sent.at) as f64 / 1e6)
    };
    asked(flow).filter_map(answer).collect()
}

/// The loop of the TLS or SSH handshake that only the application can close: from the last segment of the server's
/// first words to the client's next ones (for SSH the KEXINIT, since the banners cross).
fn app_loop(flow: &[Seen]) -> Option<f64> {
    let first = flow.iter().position(|s| !s.from_home && !s.data.is_empty())?;
    let ssh = flow[first].data.starts_with(b"SSH-");
    // New words, not a second copy of the hello.
    let is_new = |i: usize| !flow[..i].iter().any(|e| e.from_home && !e.data.is_empty() && e.seq == flow[i].seq);
    let is_answer = |s: &Seen| s.from_home && !s.data.is_empty() && !(ssh && s.data.starts_with(b"SSH-"));
    let answer = (first..flow.len()).find(|&i| is_answer(&flow[i]) && is_new(i))?;
    let question = if ssh { &flow[first] } else { asked(flow).rfind(|(i, _)| *i < answer)?.1 };
    Some((flow[answer].at - question.at) as f64 / 1e6)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Handshake, data and application loops of one endpoint.
fn loops_of(outcome: &Outcome, endpoint: &EndpointTruth) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut shakes, mut all, mut app) = (Vec::new(), Vec::new(), Vec::new());
    for flow in flows(outcome).iter().filter(|((ip, _), _)| *ip == endpoint.endpoint_ip).map(|(_, flow)| flow) {
        let loops = tcp_loops(flow);
        shakes.extend(loops.first());
        all.extend(loops);
        app.extend(app_loop(flow));
    }
    (shakes, all, app)
}

fn busy(seed: u64) -> Options {
    Options { seed, sessions: Some(40), bystanders: Some(3), ..Options::default() }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for scenario in SCENARIOS {
        let short = Some(std::time::Duration::from_secs(60));
        let of = |seed| {
            let options =
                Options { seed, sessions: Some(4), bystanders: Some(1), duration: short, ..Options::default() };
            run(scenario.name, &options).unwrap()
        };
        let (a, b, c) = (of(3), of(3), of(4));
        assert!(a.frames == b.frames && a.truth == b.truth, "{}", scenario.name);
        assert_ne!(a.frames, c.frames, "{}", scenario.name);
        assert!(a.frames.is_sorted_by_key(|(at, _)| *at), "{}", scenario.name);
    }
}

#[test]
fn what_the_frames_show_is_what_the_truth_says() {
    for scenario in office() {
        let outcome = run(scenario.name, &busy(5)).unwrap();
        for endpoint in &outcome.truth.endpoints {
            let (shakes, all, app) = loops_of(&outcome, endpoint);
            let tcp = endpoint.expected_tcp_rtt_ms.unwrap();
            let who = format!("{} {}", scenario.name, endpoint.endpoint_ip);
            assert_eq!((shakes.len(), app.len()), (endpoint.sessions as usize, endpoint.sessions as usize), "{who}");
            assert!(minimum(&all) >= endpoint.minimum_tcp_rtt_ms.unwrap(), "{who}: {}", minimum(&all));
            assert!(minimum(&app) >= endpoint.minimum_app_rtt_ms, "{who}: {}", minimum(&app));
            assert!(minimum(&shakes) < tcp && minimum(&app) < endpoint.expected_app_rtt_ms + 4.0, "{who}: {app:?}");
            if matches!(scenario.name, "bufferbloat" | "wifi-jitter" | "leo-satellite" | "mobile" | "accelerator") {
                continue;
            }
            assert!((mean(&shakes) - tcp).abs() < 1.5, "{who}: {} is not {tcp}", mean(&shakes));
            // The application adds computing and serialisation.
            let above = mean(&app) - endpoint.expected_app_rtt_ms;
            assert!((-2.0..9.0).contains(&above), "{who}: {above}");
        }
    }
}

#[test]
fn a_proxy_shows_the_hidden_leg_above_tcp_and_an_exit_shows_it_everywhere() {
    let gap = |name: &str| {
        let outcome = run(name, &busy(6)).unwrap();
        let (shakes, _, app) = loops_of(&outcome, &outcome.truth.subject);
        (minimum(&app) - minimum(&shakes), minimum(&shakes), outcome.truth.subject.hidden_leg_rtt_ms)
    };
    let (direct, home, none) = gap("home-direct");
    assert!(direct.abs() < 3.0 && none == 0.0, "{direct}");
    let (proxied, tcp, hidden) = gap("home-proxy");
    assert!((proxied - hidden).abs() < 4.0 && (tcp - home).abs() < 1.5, "{proxied} {hidden} {tcp}");
    let (exited, tcp, hidden) = gap("home-exit");
    assert!(exited.abs() < 4.0 && (tcp - home - hidden).abs() < 4.0, "{exited} {tcp}");
    let (sky, tcp, _) = gap("geo-satellite");
    assert!(sky >= 477.0 && tcp < 5.0, "{sky} {tcp}");
}

#[test]
fn an_exit_lowers_mss_and_ttl_and_its_largest_packet() {
    let look = |name: &str| {
        let outcome = run(name, &busy(6)).unwrap();
        let subject = &outcome.truth.subject;
        let mine: Vec<Seen> = flows(&outcome)
            .into_iter()
            .filter(|((ip, _), _)| *ip == subject.endpoint_ip)
            .flat_map(|(_, flow)| flow)
            .collect();
        let syn = mine.iter().find(|s| s.syn && s.from_home).unwrap();
        assert_eq!(i16::from(syn.ttl), if subject.tcp_stack == "linux" { 64 } else { 128 } - i16::from(subject.hops));
        let largest = mine.iter().map(|s| s.data.len() + s.options.len()).max().unwrap();
        (u16::from_be_bytes([syn.options[2], syn.options[3]]), largest)
    };
    assert_eq!(look("home-direct"), (1460, 1460));
    assert_eq!(look("home-proxy"), (1460, 1460));
    assert_eq!(look("home-exit"), (1380, 1380));
}

#[test]
fn bloat_comes_and_goes_and_leaves_the_minimum_alone() {
    let outcome = run("bufferbloat", &busy(8)).unwrap();
    let (shakes, _, _) = loops_of(&outcome, &outcome.truth.subject);
    let expected = outcome.truth.subject.expected_tcp_rtt_ms.unwrap();
    let swollen = shakes.iter().filter(|rtt| **rtt > expected + 80.0).count();
    let quiet = shakes.iter().filter(|rtt| **rtt < expected + 10.0).count();
    assert!(swollen >= 8 && quiet >= 8 && swollen + quiet >= 30, "{swollen} {quiet} of {}", shakes.len());
}

#[test]
fn wireguard_confirms_each_response_after_the_whole_path() {
    for name in ["home-vpn", "exit-vpn"] {
        let outcome = run(name, &Options { bystanders: Some(0), ..Options::default() }).unwrap();
        let datagrams: Vec<(i64, Vec<u8>)> = outcome
            .frames
            .iter()
            .filter_map(|(at, bytes)| match SlicedPacket::from_ethernet(bytes).unwrap().transport {
                Some(TransportSlice::Udp(udp)) => Some((at.nanos(), udp.payload().to_vec())),
                _ => None,
            })
            .collect();
        assert_eq!(datagrams.len(), outcome.frames.len());
        let answered = |(i, (at, _)): (usize, &(i64, Vec<u8>))| {
            // What goes on inside meanwhile still has the old key.
            let (confirmed, _) = datagrams[i..].iter().find(|(_, data)| (data[0], data.len()) == (4, 32)).unwrap();
            (confirmed - at) as f64 / 1e6
        };
        let loops: Vec<f64> = datagrams.iter().enumerate().filter(|(_, (_, d))| d[0] == 2).map(answered).collect();
        assert_eq!(loops.len(), 10);
        let truth = &outcome.truth.subject;
        assert!(minimum(&loops) >= truth.minimum_app_rtt_ms && truth.expected_tcp_rtt_ms.is_none());
        assert!((mean(&loops) - truth.expected_app_rtt_ms).abs() < 4.0, "{loops:?} {}", truth.expected_app_rtt_ms);
    }
}

#[test]
fn a_driven_laptop_answers_only_what_has_come_and_the_operator_no_sooner_than_the_path_allows() {
    for name in ["remote-desktop-webrtc", "ip-kvm"] {
        let duration = Some(std::time::Duration::from_secs(60));
        let outcome = run(name, &Options { duration, bystanders: Some(0), ..Options::default() }).unwrap();
        let mut asked = BTreeMap::new();
        let mut loops = Vec::new();
        for (at, bytes) in &outcome.frames {
            let sliced = SlicedPacket::from_ethernet(bytes).unwrap();
            let Some(TransportSlice::Udp(udp)) = sliced.transport else { continue };
            match (udp.destination_port(), udp.payload()) {
                (3_478, [0, 1, _, _, _, _, _, _, id @ ..]) => drop(asked.insert(id[..12].to_vec(), *at)),
                (_, [1, 1, _, _, _, _, _, _, id @ ..]) if udp.source_port() == 3_478 => {
                    loops.push((at.nanos() - asked[&id[..12]].nanos()) as f64 / 1e6);
                }
                _ => {}
            }
        }
        // From the tap to the relay and on to the operator.
        let truth = &outcome.truth.subject;
        assert!(loops.len() >= 7 && minimum(&loops) > truth.hidden_leg_rtt_ms, "{name}: {loops:?}");
        let all: f64 =
            ["relay_to_operator", "egress_to_relay"].map(|leg| 2.0 * truth.legs_one_way_ms[leg]).iter().sum();
        let way_home = if name == "ip-kvm" { 2.0 * truth.legs_one_way_ms["home_lastmile"] } else { 0.0 };
        assert!(minimum(&loops) < all + way_home + 20.0, "{name}: {} {all}", minimum(&loops));
    }
}

#[test]
fn a_full_tunnel_shows_each_inner_packet_outside_once() {
    let outcome = run("home-full-tunnel", &Options { bystanders: Some(0), ..Options::default() }).unwrap();
    let inner = outcome.truth.subject.inner_ip.unwrap();
    let (mut outside, mut inside) = (0, 0);
    for (_, bytes) in &outcome.frames {
        let sliced = SlicedPacket::from_ethernet(bytes).unwrap();
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("IPv4 only") };
        let (from, to) = (IpAddr::from(ip.header().source_addr()), IpAddr::from(ip.header().destination_addr()));
        inside += usize::from(from == inner || to == inner);
        if let Some(TransportSlice::Udp(udp)) = &sliced.transport {
            outside += usize::from(udp.payload().starts_with(&[4, 0, 0, 0]) && udp.payload().len() > 32);
        }
    }
    assert!(inside > 300 && inside == outside, "{inside} {outside}");
}

#[test]
fn the_documentation_has_a_row_for_each_scenario() {
    let page = include_str!("../../docs/simulate.md");
    let tables: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for scenario in SCENARIOS {
        let name = format!("`{}`", scenario.name);
        let row = tables.iter().find(|row| row.contains(&name)).unwrap_or_else(|| panic!("no row for {name}"));
        assert!(row.contains(&format!("| {} |", scenario.kind)), "{row}");
    }
}

#[test]
fn days_are_workdays_told_one_by_one_and_differ() {
    let dir = tempfile::tempdir().unwrap();
    // Friday and Monday.
    let start = Timestamp::from_parts(1_772_460_000 + 4 * 86_400, 0);
    let duration = Some(std::time::Duration::from_secs(3_600));
    let options = Options { start, duration, sessions: Some(3), bystanders: Some(1), ..Options::default() };
    let frames = write_days("home-proxy", &options, 2, dir.path()).unwrap();
    let pcap = std::fs::read(dir.path().join("capture.pcap")).unwrap();
    let mut r = crate::base::Reader::new(&pcap);
    r.take(24).unwrap();
    let mut times = Vec::new();
    while !r.is_empty() {
        let mut word = || u32::from_le_bytes(r.array().unwrap());
        let (seconds, _, length, _) = (word(), word(), word(), word());
        r.take(length as usize).unwrap();
        times.push(i64::from(seconds));
    }
    assert_eq!(times.len(), frames);
    assert!(times.is_sorted());
    let days: std::collections::BTreeSet<i64> =
        times.iter().map(|at| (at - start.nanos() / 1_000_000_000) / 86_400).collect();
    assert_eq!(days.into_iter().collect::<Vec<_>>(), [0, 3]);
    let day = |day| run("home-proxy", &Options { day: Some(day), ..options.clone() }).unwrap();
    let (first, second) = (day(0), day(1));
    assert_ne!(first.frames, second.frames);
    assert_eq!(first.truth.subject.hops, second.truth.subject.hops);
}

#[test]
fn scenarios_played_together_keep_their_truths() {
    let part = |number: u8| {
        (
            office().nth(usize::from(number)).unwrap().name,
            Options {
                seed: u64::from(number) + 1,
                number: number + 1,
                sessions: Some(2),
                bystanders: Some(0),
                ..Options::default()
            },
        )
    };
    let parts: Vec<_> = (0..5).map(part).collect();
    let outcome = run_together(&parts).unwrap();
    let told: Vec<&str> = outcome.truth.endpoints.iter().map(|e| e.scenario).collect();
    assert_eq!(told, parts.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for endpoint in &outcome.truth.endpoints {
        let (shakes, _, _) = loops_of(&outcome, endpoint);
        assert_eq!(shakes.len(), 2, "{}", endpoint.scenario);
    }
}

#[test]
fn a_relayed_scenario_says_so_and_an_honest_one_hides_nothing() {
    for scenario in SCENARIOS {
        let options =
            Options { sessions: Some(1), duration: Some(std::time::Duration::from_secs(60)), ..Options::default() };
        let truth = run(scenario.name, &options).unwrap().truth.subject;
        assert_eq!((truth.label, truth.kind, truth.hosts), (scenario.label, scenario.kind, scenario.hosts));
        let hides = truth.hidden_leg_rtt_ms > 0.0;
        assert!(!hides || scenario.label == "relayed", "{}", scenario.name);
        let relays = matches!(scenario.topology, Topology::Proxy(_) | Topology::Exit);
        assert!(!relays || hides, "{}", scenario.name);
    }
}

#[test]
fn every_connection_opens_and_closes() {
    let outcome = run("home-proxy", &Options { loss: Some(0.02), ..busy(9) }).unwrap();
    let flows = flows(&outcome);
    assert_eq!(flows.len(), outcome.truth.endpoints.iter().map(|e| e.sessions as usize).sum::<usize>());
    let copies = |flow: &[Seen]| {
        let keys: Vec<_> = flow.iter().filter(|s| !s.data.is_empty()).map(|s| (s.from_home, s.seq)).collect();
        keys.len() - keys.iter().collect::<std::collections::BTreeSet<_>>().len()
    };
    assert!(flows.values().map(|flow| copies(flow)).sum::<usize>() > 5, "losses must show as retransmissions");
    for ((ip, port), flow) in &flows {
        for from_home in [true, false] {
            let mut of_one_end = flow.iter().filter(|s| s.from_home == from_home);
            assert!(of_one_end.next().is_some_and(|s| s.syn), "{ip} {port}: the first segment is no SYN");
            assert!(of_one_end.any(|s| s.fin), "{ip} {port}: one end never closes");
        }
    }
}

#[test]
fn files_are_written_and_the_capture_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = run("home-direct", &Options { sessions: Some(2), ..Options::default() }).unwrap();
    write(&outcome, &dir.path().join("new")).unwrap();
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("new/truth.json")).unwrap()).unwrap();
    assert_eq!(truth["endpoint_ip"], "198.18.1.120");
    assert_eq!(truth["endpoints"][0]["expected_tcp_rtt_ms"], truth["expected_tcp_rtt_ms"]);
    let pcap = std::fs::read(dir.path().join("new/capture.pcap")).unwrap();
    let mut r = crate::base::Reader::new(&pcap);
    assert_eq!(r.take(4), Some(&[0x4d, 0x3c, 0xb2, 0xa1][..]));
    r.take(20).unwrap();
    for (at, bytes) in &outcome.frames {
        let mut word = || u32::from_le_bytes(r.array().unwrap());
        let (seconds, nanos, length, _) = (word(), word(), word(), word());
        assert_eq!(Timestamp::from_parts(seconds.into(), nanos.into()), *at);
        assert_eq!(r.take(length as usize), Some(&bytes[..]));
    }
    assert!(r.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_loop_at_the_tap_is_shorter_than_its_path(
        seed in any::<u64>(),
        which in 0..office().count(),
        loss in prop_oneof![Just(0.0), 0.0..0.05_f64],
        last_mile in 0.0..40.0_f64,
        hidden in 0.0..400.0_f64,
        jitter in 0.0..30.0_f64,
    ) {
        let scenario = office().nth(which).unwrap();
        let options = Options {
            seed,
            loss: Some(loss),
            last_mile_ms: Some(last_mile),
            hidden_rtt_ms: Some(hidden),
            hidden_jitter_ms: Some(jitter),
            sessions: Some(6),
            bystanders: Some(1),
            ..Options::default()
        };
        let outcome = run(scenario.name, &options).unwrap();
        for endpoint in &outcome.truth.endpoints {
            let (_, all, app) = loops_of(&outcome, endpoint);
            let Some(floor) = endpoint.minimum_tcp_rtt_ms else { continue };
            // A thousandth of a millisecond is what the truth is rounded to.
            prop_assert!(minimum(&all) >= floor - 0.001, "{} {} < {}", scenario.name, minimum(&all), floor);
            prop_assert!(minimum(&app) >= endpoint.minimum_app_rtt_ms - 0.001, "{}", scenario.name);
        }
    }
}

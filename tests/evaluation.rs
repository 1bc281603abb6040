//! How often the judgement is right on simulated endpoints: recall by kind and hidden leg, false alarms, and how far
//! the hidden leg is off.
//!
//! The default run is short and asserts. The long one is asked for and prints the tables of `docs/evaluation.md`:
//!
//!     cargo test --release --test evaluation -- --ignored --nocapture
//!
//! Does not: say anything about real networks. The simulator and the rules share a model of how fast the Internet is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops by panicking")]

mod common;

use farmlight::base::LinkType;
use farmlight::evidence::{Site, Verdict, judge};
use farmlight::intel::{Networks, Places};
use farmlight::simulate::{self, EndpointTruth, Options};
use farmlight::source::{Memory, MemoryFrame};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Homes, honest or not.
const HOMES: [&str; 8] = ["Omaha", "Nashville", "Phoenix", "Seattle", "Dallas", "Chicago", "Raleigh", "Miami"];
/// Where operators sit, when the distance shall give the hidden leg.
const OPERATORS: [&str; 7] = ["Shenyang", "Dandong", "Beijing", "Vladivostok", "Moscow", "Dubai", "Vientiane"];
const RELAYED: [&str; 3] = ["home-proxy", "home-exit", "exit-vpn"];
const BENIGN: [&str; 6] = ["home-direct", "home-vpn", "distant-honest", "geo-satellite", "bufferbloat", "wifi-jitter"];
const SESSIONS: [u32; 3] = [3, 6, 12];

/// Minutes a tunnel is watched; it is one session however long it stands, and is measured every two minutes.
const TUNNELS: [u32; 3] = [10, 20, 60];
/// Bands of the hidden leg: from so many ms, and what they are called.
const BANDS: [(f64, &str); 6] = [
    (0.0, "below 100"),
    (100.0, "100 to 120"),
    (120.0, "120 to 160"),
    (160.0, "160 to 200"),
    (200.0, "200 to 250"),
    (250.0, "250 and more"),
];

/// One simulation to judge.
struct Trial {
    scenario: &'static str,
    /// Sessions; of a tunnel, minutes.
    amount: u32,
    options: Options,
}

/// What was said of one endpoint, and what is true.
struct Judged {
    scenario: &'static str,
    /// Whether it is what the scenario is about, or company.
    subject: bool,
    seed: u64,
    /// Sessions; of a tunnel, minutes.
    amount: u32,
    lossy: bool,
    truth: EndpointTruth,
    /// `None`: the program saw no such endpoint.
    verdict: Option<Verdict>,
    score: f64,
    hidden_leg_ms: Option<f64>,
    evidence: Vec<(&'static str, f64, String)>,
}

impl Judged {
    fn is_relayed(&self) -> bool {
        self.truth.label == "relayed"
    }

    fn is_alarm(&self) -> bool {
        self.verdict == Some(Verdict::Relayed)
    }

    fn loss(&self) -> &'static str {
        if self.lossy { ", 3 % loss" } else { "" }
    }

    /// The hidden leg's band: its number among [`BANDS`].
    fn band(&self) -> usize {
        BANDS.iter().rposition(|(from, _)| self.truth.hidden_leg_rtt_ms >= *from).unwrap_or(0)
    }

    fn describe(&self) -> String {
        let mut text = format!(
            "{}{} seed {} {} {} ({}): hidden leg {:.0} ms, {} sessions, said {} with score {:.2}",
            self.scenario,
            if self.subject { "" } else { " (company)" },
            self.seed,
            self.truth.endpoint_ip,
            self.truth.claimed_location,
            self.truth.kind,
            self.truth.hidden_leg_rtt_ms,
            self.truth.sessions,
            self.verdict.map_or("nothing", Verdict::name),
            self.score,
        );
        for (rule, llr, words) in &self.evidence {
            let _ = write!(text, "\n    {rule} ({llr:+.1}): {words}");
        }
        text
    }
}

/// Plays a trial and judges each of its endpoints.
fn judged(trial: &Trial) -> Vec<Judged> {
    let outcome = simulate::run(trial.scenario, &trial.options).unwrap();
    let frames = outcome.frames.into_iter().map(|(at, bytes)| MemoryFrame {
        at,
        link: LinkType::ETHERNET,
        orig_len: u32::try_from(bytes.len()).unwrap(),
        bytes,
    });
    let own: Networks = format!("{},{}", outcome.truth.corp["net"], outcome.truth.corp["net6"]).parse().unwrap();
    let analysis = common::analyze_within(&mut Memory::new(frames.collect()), 1, own);
    let geo = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(geo.path(), &outcome.geo_csv).unwrap();
    let places = Places::open(Some(geo.path()), None, None).unwrap();
    let [lat, lon] = outcome.truth.sensor_coordinates;
    let site = Site { location: Some(format!("{lat},{lon}").parse().unwrap()), has_places: true, ..Site::default() };
    let mut all = Vec::new();
    for (number, truth) in outcome.truth.endpoints.into_iter().enumerate() {
        let address = truth.endpoint_ip;
        let place = places.lookup(address);
        let finding = analysis.ledger.look(address, |account| judge(address, account, place.as_ref(), &site, true));
        all.push(Judged {
            scenario: trial.scenario,
            subject: number == 0,
            seed: trial.options.seed,
            amount: trial.amount,
            lossy: trial.options.loss.is_some(),
            verdict: finding.as_ref().map(|f| f.verdict),
            score: finding.as_ref().map_or(f64::NAN, |f| f.score),
            hidden_leg_ms: finding.as_ref().and_then(|f| f.hidden_leg_ms),
            evidence: finding.into_iter().flat_map(|f| f.evidence).map(|e| (e.rule, e.llr, e.text)).collect(),
            truth,
        });
    }
    all
}

fn home(seed: u64) -> Option<String> {
    HOMES.get(usize::try_from(seed).unwrap() % HOMES.len()).map(|city| (*city).to_owned())
}

fn is_tunnel(scenario: &str) -> bool {
    scenario.ends_with("-vpn")
}

/// So many sessions, or minutes of a tunnel.
fn sized(scenario: &str, amount: u32) -> Options {
    if is_tunnel(scenario) {
        Options { duration: Some(Duration::from_secs(u64::from(amount) * 60)), ..Options::default() }
    } else {
        Options { sessions: Some(amount), ..Options::default() }
    }
}

fn amounts(scenario: &str) -> [u32; 3] {
    if is_tunnel(scenario) { TUNNELS } else { SESSIONS }
}

/// A relay of this hidden leg.
fn relay(scenario: &'static str, seed: u64, amount: u32, hidden_rtt_ms: Option<f64>) -> Trial {
    let options = Options {
        seed,
        home: home(seed),
        bystanders: Some(1),
        hidden_rtt_ms,
        operator: hidden_rtt_ms.is_none().then(|| OPERATORS[usize::try_from(seed).unwrap() % 7].to_owned()),
        ..sized(scenario, amount)
    };
    Trial { scenario, amount, options }
}

/// An honest home; the access line differs with the seed.
fn honest(scenario: &'static str, seed: u64, amount: u32, bystanders: u32) -> Trial {
    let at_home = !matches!(scenario, "distant-honest" | "geo-satellite");
    let options = Options {
        seed,
        home: home(seed).filter(|_| at_home),
        last_mile_ms: [None, Some(8.0), Some(14.0)][usize::try_from(seed).unwrap() % 3].filter(|_| at_home),
        bystanders: Some(bystanders),
        ..sized(scenario, amount)
    };
    Trial { scenario, amount, options }
}

/// The Wilson score interval at 95 % of `hits` in `n`.
fn wilson(hits: usize, n: usize) -> (f64, f64) {
    let (hits, n, z) = (hits as f64, n as f64, 1.959_964);
    if n == 0.0 {
        return (0.0, 1.0);
    }
    let share = hits / n;
    let middle = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z * z / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

fn share(hits: usize, n: usize) -> String {
    let (low, high) = wilson(hits, n);
    format!("{hits}/{n} | {:.1} % | {:.2}-{:.2} %", 100.0 * hits as f64 / n as f64, 100.0 * low, 100.0 * high)
}

/// The value at this share of the sorted values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn grouped<'a, K: Ord>(
    all: impl Iterator<Item = &'a Judged>,
    key: impl Fn(&Judged) -> K,
) -> BTreeMap<K, Vec<&'a Judged>> {
    let mut groups: BTreeMap<K, Vec<&Judged>> = BTreeMap::new();
    for one in all {
        groups.entry(key(one)).or_default().push(one);
    }
    groups
}

fn recall_table(all: &[Judged]) -> String {
    let mut text = String::from(
        "| scenario | hidden leg, ms | seen | called clear | found | recall | 95 % |\n|---|---|---|---|---|---|---|\n",
    );
    let relayed = all.iter().filter(|j| j.is_relayed());
    let groups = grouped(relayed, |j| (RELAYED.iter().position(|s| *s == j.scenario), j.lossy, j.band(), j.amount));
    for ((_, _, band, amount), group) in groups {
        let found = group.iter().filter(|j| j.is_alarm()).count();
        let clear = group.iter().filter(|j| j.verdict == Some(Verdict::Clear)).count();
        let one = group[0];
        let unit = if is_tunnel(one.scenario) { "min" } else { "sessions" };
        let (name, loss, leg) = (one.scenario, one.loss(), BANDS[band].1);
        let _ = writeln!(text, "| {name}{loss} | {leg} | {amount} {unit} | {clear} | {} |", share(found, group.len()));
    }
    text
}

fn alarm_table(all: &[Judged]) -> String {
    let mut text = String::from(
        "| honest endpoint | clear | can't be told | not seen | false alarms | rate | 95 % |\n|---|---|---|---|---|---|---|\n",
    );
    let mut row = |name: &str, group: &[&Judged]| {
        let of = |verdict| group.iter().filter(|j| j.verdict == verdict).count();
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            of(Some(Verdict::Clear)),
            of(Some(Verdict::Insufficient)),
            of(None),
            share(of(Some(Verdict::Relayed)), group.len()),
        );
    };
    let honest = || all.iter().filter(|j| !j.is_relayed());
    for ((company, scenario), group) in grouped(honest(), |j| (!j.subject, if j.subject { j.scenario } else { "" })) {
        row(if company { "company of all scenarios" } else { scenario }, &group);
    }
    row("all", &honest().collect::<Vec<_>>());
    text
}

fn error_table(all: &[Judged]) -> String {
    let mut text = String::from(
        "| scenario | estimates | median error, ms | median size, ms | 95 % below, ms |\n|---|---|---|---|---|\n",
    );
    let told = all.iter().filter(|j| j.is_relayed() && j.is_alarm() && j.hidden_leg_ms.is_some());
    for ((scenario, _), group) in grouped(told, |j| (j.scenario, j.lossy)) {
        let mut errors: Vec<f64> = group.iter().map(|j| j.hidden_leg_ms.unwrap() - j.truth.hidden_leg_rtt_ms).collect();
        errors.sort_by(f64::total_cmp);
        let median = quantile(&errors, 0.5);
        let mut sizes: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let (middle, most) = (quantile(&sizes, 0.5), quantile(&sizes, 0.95));
        let _ = writeln!(
            text,
            "| {scenario}{} | {} | {median:+.1} | {middle:.1} | {most:.1} |",
            group[0].loss(),
            group.len()
        );
    }
    text
}

/// The relays that are to be found: a hidden leg of 120 ms and more, and six sessions.
fn in_reach(all: &[Judged]) -> impl Iterator<Item = &Judged> {
    all.iter().filter(|j| j.is_relayed() && j.truth.hidden_leg_rtt_ms >= 120.0 && j.truth.sessions >= 6)
}

fn run(trials: &[Trial]) -> Vec<Judged> {
    trials.iter().flat_map(judged).collect()
}

#[test]
fn few_simulated_relays_are_missed_and_no_honest_home_is_accused() {
    #[expect(clippy::disallowed_methods, reason = "the test keeps itself short")]
    let began = Instant::now();
    let mut trials = Vec::new();
    for seed in 1..=3 {
        for scenario in RELAYED {
            let [_, some, many] = amounts(scenario);
            for hidden in [120.0, 160.0, 250.0] {
                trials.push(relay(scenario, seed, some, Some(hidden)));
            }
            trials.push(relay(scenario, seed, many, None));
        }
        trials.extend(BENIGN.map(|scenario| honest(scenario, seed, amounts(scenario)[1], 2)));
    }
    let all = run(&trials);
    println!("{} endpoints in {:.1} s", all.len(), began.elapsed().as_secs_f64());
    println!("{}\n{}\n{}", recall_table(&all), alarm_table(&all), error_table(&all));
    let accused: Vec<String> = all.iter().filter(|j| !j.is_relayed() && j.is_alarm()).map(Judged::describe).collect();
    assert!(accused.is_empty(), "honest endpoints accused:\n{}", accused.join("\n"));
    let missed: Vec<String> = in_reach(&all).filter(|j| !j.is_alarm()).map(Judged::describe).collect();
    let (found, n) = (in_reach(&all).count() - missed.len(), in_reach(&all).count());
    assert!(n >= 20 && found * 10 >= n * 9, "{found} of {n} relays found; missed:\n{}", missed.join("\n"));
}

#[test]
#[ignore = "long: prints the tables of docs/evaluation.md"]
fn tables() {
    #[expect(clippy::disallowed_methods, reason = "says how long it took")]
    let began = Instant::now();
    let mut trials = Vec::new();
    for scenario in RELAYED {
        for amount in amounts(scenario) {
            for seed in 5_001..=5_020 {
                for hidden in [80.0, 100.0, 120.0, 160.0, 200.0, 250.0, 300.0] {
                    trials.push(relay(scenario, seed, amount, Some(hidden)));
                }
                trials.push(relay(scenario, 100 + seed, amount, None));
            }
        }
        for seed in (5_201..=5_220).filter(|_| scenario != "exit-vpn") {
            for hidden in [120.0, 200.0] {
                let mut trial = relay(scenario, seed, 6, Some(hidden));
                trial.options.loss = Some(0.03);
                trials.push(trial);
            }
        }
    }
    for scenario in BENIGN {
        for amount in amounts(scenario) {
            trials.extend((5_301..=5_400).map(|seed| honest(scenario, seed, amount, 3)));
        }
    }
    let all = run(&trials);
    println!("{} simulations, {} endpoints, {:.0} s\n", trials.len(), all.len(), began.elapsed().as_secs_f64());
    println!("{}\n{}\n{}", recall_table(&all), alarm_table(&all), error_table(&all));
    let (found, n) = (in_reach(&all).filter(|j| j.is_alarm()).count(), in_reach(&all).count());
    println!("Hidden leg of 120 ms or more and six sessions or more: {}\n", share(found, n));
    println!("Honest endpoints accused:\n");
    for one in all.iter().filter(|j| !j.is_relayed() && j.is_alarm()) {
        println!("{}", one.describe());
    }
    println!("\nRelays missed, one of each group:\n");
    let missed = all.iter().filter(|j| j.is_relayed() && !j.is_alarm());
    for ((scenario, ..), group) in grouped(missed, |j| (j.scenario, j.lossy, j.band(), j.amount)) {
        println!("{scenario}: {} like this:\n{}", group.len(), group[0].describe());
    }
}

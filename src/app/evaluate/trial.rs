//! One capture with known truth: analyzed, judged, and compared endpoint by endpoint.
//!
//! Reads: a folder as `simulate` writes it, or a trial of a matrix. Emits: what was said of each endpoint and what is
//! so. Does not: count.

use super::matrix::Trial;
use crate::app::analyze::engine_config;
use crate::app::outlet::{Records, Sessions, SharedJoin, WorkerOutlet};
use crate::app::report::Bench;
use crate::base::{Layer, LinkType, Timestamp};
use crate::cli::{RunArgs, RunConfig};
use crate::evidence::{Account, Ledger, LedgerLimits, Policy, Verdict, expected_ms, rules};
use crate::intel::Homes;
use crate::pipeline::Engine;
use crate::simulate::{EndpointTruth, Outcome, run_together};
use crate::source::{Inputs, Memory, MemoryFrame, Next, Source};
use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The truth about one endpoint, of a simulation or of a folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    pub(super) scenario: String,
    pub(super) label: String,
    pub(super) kind: String,
    pub(super) endpoint_ip: Option<IpAddr>,
    pub(super) expected_tcp_rtt_ms: Option<f64>,
    pub(super) expected_app_rtt_ms: Option<f64>,
    /// What no packet can beat.
    pub(super) minimum_app_rtt_ms: Option<f64>,
    pub(super) hidden_leg_rtt_ms: Option<f64>,
    pub(super) seed: Option<u64>,
    /// Company of another endpoint, not what the scenario is about.
    #[serde(skip)]
    pub(super) company: bool,
    /// It is known where those who work from it say that they live.
    pub(super) homes: bool,
}

impl Known {
    fn of(truth: &EndpointTruth, seed: u64, trial: &Trial) -> Self {
        let homes = trial.homes && !truth.declared_homes.is_empty();
        let variant = if homes { HOMES_KNOWN } else { trial.variant };
        Self {
            scenario: if truth.scenario.is_empty() { "company".into() } else { format!("{}{variant}", truth.scenario) },
            homes,
            label: truth.label.to_owned(),
            kind: truth.kind.to_owned(),
            endpoint_ip: Some(truth.endpoint_ip),
            expected_tcp_rtt_ms: truth.expected_tcp_rtt_ms,
            expected_app_rtt_ms: Some(truth.expected_app_rtt_ms),
            minimum_app_rtt_ms: Some(truth.minimum_app_rtt_ms),
            hidden_leg_rtt_ms: Some(truth.hidden_leg_rtt_ms),
            seed: Some(seed),
            company: truth.scenario.is_empty(),
        }
    }

    pub(super) fn is_malicious(&self) -> bool {
        self.label != "benign"
    }
}

/// What was said of one endpoint, and what is so.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Judged {
    pub(super) truth: Known,
    /// Absent: no such endpoint was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<&'static str>,
    pub(super) hypothesis: &'static str,
    /// The highest of its findings, in log odds.
    pub(super) score: f64,
    /// The same by question.
    pub(super) scores: BTreeMap<&'static str, f64>,
    /// What each rule would say alone for a malicious answer, where that is loud, in log ratios.
    pub(super) alone: BTreeMap<&'static str, f64>,
    pub(super) accused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hidden_leg_ms: Option<f64>,
    /// Rules by their weight in the finding, heaviest first.
    pub(super) evidence: Vec<(&'static str, f64)>,
    /// Whether it is accused when a rule is not asked, where that differs.
    pub(super) without: BTreeMap<&'static str, bool>,
    /// Seconds from its first packet, and handshakes, until it was accused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found_after: Option<(f64, u64)>,
    pub(super) measured: Measured,
}

/// What the meters gave, in ms.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Measured {
    /// Shortest and median round trip of TCP's handshakes.
    pub(super) tcp: Option<(f64, f64)>,
    /// The same of the layer above that answers soonest.
    pub(super) application: Option<(f64, f64)>,
    /// The lowest layer's shortest above what the place allows.
    pub(super) excess: Option<f64>,
    /// Median of the gaps between upper layer and TCP.
    pub(super) gap: Option<f64>,
    /// Median of the waits before the first bytes.
    pub(super) lag: Option<f64>,
    /// Segment size announced.
    pub(super) mss: Option<u16>,
}

/// What sets an endpoint apart of which it is known where its people say that they live.
const HOMES_KNOWN: &str = ", homes known";

/// Whether a rule alone says something: 20 to 1, or nearly all that it is allowed to say.
fn is_loud(rule: &str, llr: f64) -> bool {
    let cap = rules::RULES.iter().find(|known| known.name == rule).map_or(f64::INFINITY, |rule| rule.cap);
    llr >= f64::min(3.0, 0.9 * cap)
}

/// How often it is looked whether an endpoint is accused by now, in capture time.
const LOOK_EVERY: i64 = 20_000_000_000;

/// What to analyze with.
pub(super) struct Setting {
    pub(super) config: RunConfig,
    pub(super) bench: Bench,
    /// Whether each endpoint is judged again without each rule.
    pub(super) ablate: bool,
}

impl Setting {
    pub(super) fn of(args: RunArgs, ablate: bool) -> anyhow::Result<Self> {
        let config = RunConfig { workers: 1, ..args.resolve()? };
        let bench = Bench::of(&config)?;
        Ok(Self { config, bench, ablate })
    }

    /// Plays a trial in memory and judges its endpoints.
    pub(super) fn simulated(&self, trial: &Trial) -> anyhow::Result<Vec<Judged>> {
        let parts: Vec<(&str, _)> = trial.parts.iter().map(|(name, options)| (*name, options.clone())).collect();
        let Outcome { frames, truth, .. } = run_together(&parts)?;
        let seed = trial.parts.first().map_or(0, |(_, options)| options.seed);
        let known: Vec<Known> = truth.endpoints.iter().map(|truth| Known::of(truth, seed, trial)).collect();
        let told = truth.homes_csv().filter(|_| trial.homes);
        let homes = told.map(|csv| Homes::parse(Path::new("homes.csv"), csv.as_bytes(), None)).transpose()?;
        let at_home = homes.map(|homes| self.bench.with_homes(homes));
        let bench = at_home.as_ref().unwrap_or(&self.bench);
        let frames = frames.into_iter().map(|(at, bytes)| MemoryFrame {
            at,
            link: LinkType::ETHERNET,
            orig_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            bytes,
        });
        let ledger = Arc::new(Ledger::new(self.config.premises.clone(), LedgerLimits::default()));
        Ok(self.analyzed(bench, &ledger, &mut Memory::new(frames.collect()), known))
    }

    fn analyzed(
        &self,
        bench: &Bench,
        ledger: &Arc<Ledger>,
        source: &mut impl Source,
        known: Vec<Known>,
    ) -> Vec<Judged> {
        let join = SharedJoin::default();
        let records = || Records::new(Sessions::Counted, &bench.notes, ledger);
        let mut engine = Engine::start(&engine_config(&self.config), || WorkerOutlet::new(&join, records()));
        let sought = known.iter().filter(|known| known.is_malicious()).filter_map(|known| known.endpoint_ip);
        let mut sought: Vec<IpAddr> = sought.collect();
        let mut found = BTreeMap::new();
        let mut look_at = Timestamp::MIN;
        loop {
            match source.next() {
                Next::Frame(frame) => {
                    engine.frame(&frame);
                    if frame.at >= look_at && !sought.is_empty() {
                        look_at = Timestamp::from_nanos(frame.at.nanos().saturating_add(LOOK_EVERY));
                        ledger.join_tunnels();
                        sought.retain(|address| match accused_by_now(bench, ledger, *address, frame.at) {
                            Some(after) => {
                                found.insert(*address, after);
                                false
                            }
                            None => true,
                        });
                    }
                }
                Next::Idle(now) => engine.tick(now),
                Next::End => break,
            }
        }
        drop(engine.finish());
        ledger.join_tunnels();
        ledger.compare_endpoints();
        known.into_iter().map(|known| self.judged(bench, ledger, known, &found)).collect()
    }

    fn judged(&self, bench: &Bench, ledger: &Ledger, truth: Known, found: &BTreeMap<IpAddr, (f64, u64)>) -> Judged {
        let address = truth.endpoint_ip.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let accused = |findings: &[crate::evidence::Finding]| findings.iter().any(|f| f.verdict.is_finding());
        let mut judged = Judged {
            verdict: None,
            hypothesis: "",
            // Who is not seen is taken for as innocent as anybody.
            score: (Policy::PRIOR * bench.site.policy.prior_scale).ln(),
            scores: BTreeMap::new(),
            alone: BTreeMap::new(),
            accused: false,
            hidden_leg_ms: None,
            evidence: Vec::new(),
            without: BTreeMap::new(),
            found_after: found.get(&address).copied(),
            measured: Measured::default(),
            truth,
        };
        let Some((findings, place)) = bench.judge(ledger, address, true) else { return judged };
        let Some(first) = findings.first() else { return judged };
        judged.verdict = Some(first.verdict.name());
        judged.hypothesis = first.hypothesis.name();
        judged.score = findings.iter().map(|f| f.score).fold(f64::NEG_INFINITY, f64::max);
        judged.scores = findings.iter().map(|f| (f.question.name(), f.score)).collect();
        judged.alone = bench.alone(ledger, address).into_iter().filter(|(rule, llr)| is_loud(rule, *llr)).collect();
        judged.accused = accused(&findings);
        judged.hidden_leg_ms = findings.iter().find_map(|f| f.hidden_leg_ms.filter(|_| f.verdict != Verdict::Clear));
        judged.evidence = first.evidence.iter().map(|e| (e.rule, e.llr)).collect();
        judged.evidence.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        if judged.accused && judged.found_after.is_none() {
            // Only what was counted when its sessions ended gave it away.
            judged.found_after = ledger.look(address, |account| after(account, account.last_seen?)).flatten();
        }
        let measured = |account: &Account| measured(account, expected_ms(account, place.as_ref(), &bench.site));
        judged.measured = ledger.look(address, measured).unwrap_or_default();
        for rule in rules::RULES.iter().filter(|_| self.ablate) {
            let again = bench.judge_without(ledger, address, &[rule.name]);
            let again = again.is_some_and(|(findings, _)| accused(&findings));
            if again != judged.accused {
                judged.without.insert(rule.name, again);
            }
        }
        judged
    }
}

fn accused_by_now(bench: &Bench, ledger: &Ledger, address: IpAddr, now: Timestamp) -> Option<(f64, u64)> {
    let (findings, _) = bench.judge(ledger, address, false)?;
    if !findings.iter().any(|finding| finding.verdict.is_finding()) {
        return None;
    }
    ledger.look(address, |account| after(account, now))?
}

/// Seconds from its first packet to then, and handshakes so far.
fn after(account: &Account, now: Timestamp) -> Option<(f64, u64)> {
    Some((now.since(account.first_seen?)?.as_secs_f64(), handshakes(account)))
}

/// Handshakes that gave a round trip, of the lowest layer there is.
fn handshakes(account: &Account) -> u64 {
    account.ladder.rungs().next().map_or(0, |(_, rung)| rung.samples.n())
}

fn measured(account: &Account, expected: Option<f64>) -> Measured {
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
    let rung = |(layer, rung): (Layer, &crate::fingerprint::Rung)| {
        let (min, middle) = (rung.samples.min()?, rung.samples.quantile(0.5)?);
        Some((layer, (ms(min), ms(middle))))
    };
    let rungs: Vec<_> = account.ladder.rungs().filter_map(rung).collect();
    let is_tcp = |layer: Layer| matches!(layer, Layer::TcpHandshake | Layer::TcpData);
    let middle = |values: Vec<f64>| super::statistics::quantile(&values, 0.5);
    Measured {
        tcp: rungs.iter().find(|(layer, _)| *layer == Layer::TcpHandshake).map(|(_, rung)| *rung),
        application: rungs
            .iter()
            .filter(|(layer, _)| !is_tcp(*layer))
            .map(|(_, rung)| *rung)
            .min_by(|a, b| a.0.total_cmp(&b.0)),
        excess: rungs.first().zip(expected).map(|((_, (min, _)), expected)| min - expected),
        gap: middle(account.gaps.iter().map(crate::evidence::Gap::ms).collect()),
        lag: middle(account.lags.iter().map(|lag| f64::from(lag.us) / 1e3).collect()),
        mss: account.path.mss().map(|(mss, _)| mss),
    }
}

/// A folder with truth and captures.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    truth: Truth,
    captures: Vec<PathBuf>,
}

/// What of `truth.json` is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Truth {
    captures: Vec<PathBuf>,
    corp: BTreeMap<String, String>,
    sensor_coordinates: Option<[f64; 2]>,
    endpoints: Vec<Known>,
    #[serde(flatten)]
    subject: Known,
}

/// The folders with truth among those named, and in them one level down.
pub(super) fn folders(named: &[PathBuf]) -> anyhow::Result<Vec<Folder>> {
    let mut all = Vec::new();
    for dir in named {
        let mut inside = vec![dir.clone()];
        if !dir.join("truth.json").is_file() {
            let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
            inside = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
            inside.sort();
        }
        for path in inside.into_iter().filter(|path| path.join("truth.json").is_file()) {
            all.push(Folder::open(path)?);
        }
    }
    Ok(all)
}

impl Folder {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let file = path.join("truth.json");
        let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let truth: Truth = serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        let named = truth.captures.iter().map(|name| path.join(name));
        let captures: Vec<PathBuf> = named.filter(|capture| capture.is_file()).collect();
        if captures.is_empty() {
            return Err(anyhow!("{}: none of its captures is there", file.display()));
        }
        Ok(Self { path, truth, captures })
    }

    /// Judges its endpoints; the run's own options win over what the folder says. Whether all could be read.
    pub(super) fn judged(&self, args: &RunArgs, ablate: bool) -> anyhow::Result<(Vec<Judged>, bool)> {
        let mut args = args.clone();
        let geo = self.path.join("geo.csv");
        if args.geo_csv.is_none() && args.geo_city.is_none() && geo.is_file() {
            args.geo_csv = Some(geo);
        }
        let homes = self.path.join("homes.csv");
        if args.homes.is_none() && homes.is_file() {
            args.homes = Some(homes);
        }
        let [lat, lon] = self.truth.sensor_coordinates.unwrap_or([f64::NAN; 2]);
        if args.site.is_none() && lat.is_finite() {
            args.site = Some(format!("{lat},{lon}"));
        }
        if args.internal.is_empty() && args.vpn_pool.is_empty() {
            args.internal = own_networks(&self.truth.corp);
        }
        let mut setting = Setting::of(args, ablate)?;
        let ledger = setting.bench.ledger(&setting.config, LedgerLimits::default());
        let mut inputs = Inputs::open(&self.captures, None)?;
        let judged = setting.analyzed(&setting.bench, &ledger, &mut inputs, self.known());
        let errors: Vec<_> =
            inputs.reports().into_iter().filter_map(|input| Some((input.path, input.error?))).collect();
        for (path, fault) in &errors {
            tracing::error!("{path}: {}", fault.reason);
        }
        Ok((judged, errors.is_empty()))
    }

    fn known(&self) -> Vec<Known> {
        let Truth { subject, endpoints, .. } = &self.truth;
        let whole = |known: &Known, company: bool| Known {
            scenario: if company { "company".to_owned() } else { subject.scenario.clone() },
            seed: subject.seed,
            company,
            ..known.clone()
        };
        if endpoints.is_empty() {
            return vec![whole(subject, false)];
        }
        endpoints.iter().map(|known| whole(known, known.endpoint_ip != subject.endpoint_ip)).collect()
    }
}

/// The company's networks, and the private one its inner addresses are in.
fn own_networks(corp: &BTreeMap<String, String>) -> Vec<String> {
    let mut own: Vec<String> = corp.values().filter(|value| value.contains('/')).cloned().collect();
    if corp.values().any(|value| value.starts_with("10.")) {
        own.push("10.0.0.0/8".to_owned());
    }
    own
}

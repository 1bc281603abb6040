//! `farmlight watch`: a live interface in, findings as they change.

use super::analyze::{engine_config, stop_on};
use super::history::{History, Unkept, of_watch};
use super::outlet::{Records, Sessions, SharedFile, SharedJoin, WorkerOutlet};
use super::reload::Files;
use super::report::{Bench, Run, create, look, print_finding};
use super::{Outcome, Wrong};
use crate::base::Timestamp;
use crate::cli::{Format, RunArgs, RunConfig, Watch};
use crate::evidence::{Finding, Forgotten, Hypothesis, Ledger, LedgerLimits, Question, Severity, Verdict};
use crate::pipeline::Engine;
use crate::sink::{FindingRecord, JsonLines, Table};
use crate::source::{Live, LiveOptions, Next, Source, interfaces};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Capture time between two looks at the endpoints that have news.
const JUDGE_EVERY: Duration = Duration::from_secs(2);
/// Capture time between two times that tunnels are joined with what is inside and endpoints compared; more if that takes long, so that it is
/// never more than a twentieth of the work.
const JOIN_EVERY: Duration = Duration::from_secs(30);
/// Capture time between two times that what is new is put into the store: so much is lost if the power is.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Findings that wait for a store that can't be written to; the latest stay.
const UNKEPT: usize = 10_000;
/// Capture time between two looks at what is too old.
const FORGET_EVERY: Duration = Duration::from_secs(600);

pub(super) fn run(args: Watch, quiet: bool) -> anyhow::Result<Outcome> {
    if args.interface == "list" {
        return list_interfaces();
    }
    let config = RunArgs { retention: args.retention, ..args.run }.resolve()?;
    let files = Files::of(&config);
    let mut bench = Bench::of(&config)?;
    bench.history = History::open(&config, bench.pseudonyms.as_ref())?;
    let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    stop_on(&[SIGINT, SIGTERM], &stop)?;
    if io::stdout().is_terminal() {
        // It means that the terminal is gone, and nobody reads any more.
        stop_on(&[SIGHUP], &stop)?;
    } else {
        signal_hook::flag::register(SIGHUP, Arc::clone(&reload))?;
    }
    let options = LiveOptions {
        filter: config.filter.clone(),
        stop: Arc::clone(&stop),
        ..LiveOptions::new(args.interface.as_str())
    };
    let mut live = Live::open(options).map_err(|e| Wrong(e.to_string()))?;
    if let Some(history) = &bench.history {
        history.begin(of_watch(config.sensor.as_deref().unwrap_or(&args.interface), wall_clock()))?;
        history.register()?;
    }
    if !quiet {
        let _ = writeln!(io::stderr(), "farmlight: watching {}; Ctrl-C ends and reports", args.interface);
    }
    let limits = LedgerLimits { track_changes: true, ..LedgerLimits::default() };
    let ledger = bench.ledger(&config, limits);
    let said = std::mem::take(&mut bench.said);
    let bench = Arc::new(bench);
    let _reloader = files.watch(&bench, &ledger, (said, config.identities.1), reload)?;
    let limit = args.duration.map(Duration::from_secs);
    watch(&config, (&bench, &ledger), &mut live, limit, &stop)
}

/// When a watch begins: two of one place are two sources.
fn wall_clock() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "names the run itself")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().plus(since)
}

fn list_interfaces() -> anyhow::Result<Outcome> {
    let mut out = io::stdout().lock();
    for interface in interfaces() {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        let state = if interface.up { "up" } else { "down" };
        let line = format!("{:<16} {state:<5} {}", interface.name, addresses.join(" "));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(Outcome::Done)
}

fn watch(
    config: &RunConfig,
    (bench, ledger): (&Bench, &Arc<Ledger>),
    live: &mut Live,
    limit: Option<Duration>,
    stop: &AtomicBool,
) -> anyhow::Result<Outcome> {
    #[expect(clippy::disallowed_methods, reason = "measures the run itself")]
    let began = std::time::Instant::now();
    let sessions: Option<SharedFile> = match &config.out {
        Some(dir) => Some(Arc::new(Mutex::new(create(dir, "sessions.jsonl")?))),
        None => None,
    };
    let join = SharedJoin::default();
    let written = || {
        let streamed = sessions.clone().map_or(Sessions::Counted, Sessions::Streamed);
        Records::new(streamed, &bench.notes, ledger)
    };
    let mut engine = Engine::start(&engine_config(config), || WorkerOutlet::new(&join, written()));
    let mut joined = written();
    let joined_at = (Timestamp::MIN, Duration::ZERO);
    let unkept = Unkept { since: Timestamp::MIN, ..Unkept::default() };
    let keeper = Keeper { unkept, last: Timestamp::MIN, writing: None };
    let mut teller = Teller { config, bench, ledger, told: HashMap::new(), joined: joined_at, keeper };
    let (mut looked, mut swept) = (Timestamp::MIN, Timestamp::MIN);
    let mut forgotten = Forgotten::default();
    loop {
        let now = match live.next() {
            Next::Frame(frame) => {
                engine.frame(&frame);
                frame.at
            }
            Next::Idle(now) => {
                engine.tick(now);
                now
            }
            Next::End => break,
        };
        if apart(now, looked) >= JUDGE_EVERY {
            looked = now;
            engine.tick(now);
            joined.add_joined(&join, Some(now));
            if let Some(kept) = config.retention.filter(|_| apart(now, swept) >= FORGET_EVERY) {
                swept = now;
                forgotten += ledger.forget_before(now.minus(kept));
                teller.told.retain(|(address, _), _| ledger.look(*address, |_| ()).is_some());
            }
            teller.join(now);
            let listening = teller.tell()?;
            if let Some(history) = &bench.history {
                teller.keeper.keep(history, ledger, now);
            }
            if !listening {
                stop.store(true, Ordering::Relaxed);
            }
            if limit.is_some_and(|limit| began.elapsed() >= limit) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
    let inputs = live.reports();
    let (totals, outlets) = engine.finish();
    joined.add_joined(&join, None);
    let mut records: Vec<Records> = outlets.into_iter().map(|outlet| outlet.records).collect();
    records.push(joined);
    teller.tell()?;
    if let Some(history) = &bench.history {
        teller.keeper.finish(history, ledger);
    }
    if let Some(file) = sessions
        && let Ok(mut file) = file.lock()
    {
        file.flush()?;
    }
    Run { config, bench, ledger, totals, records, inputs, began, live: true, whole: true, forgotten }.report()
}

/// The time between two moments, whichever was first: a clock set back must not silence the watch.
fn apart(a: Timestamp, b: Timestamp) -> Duration {
    Duration::from_nanos(a.nanos().abs_diff(b.nanos()))
}

/// Tells a finding when it is new and when what it says has changed.
struct Teller<'a> {
    config: &'a RunConfig,
    bench: &'a Bench,
    ledger: &'a Arc<Ledger>,
    told: HashMap<(IpAddr, Question), (Verdict, Hypothesis, Severity)>,
    /// When tunnels were last joined, by capture time, and how long that took.
    joined: (Timestamp, Duration),
    keeper: Keeper,
}

/// Writes what is new to the store, beside the watch, which must not stop reading for it.
struct Keeper {
    unkept: Unkept,
    /// When it was last written to.
    last: Timestamp,
    writing: Option<JoinHandle<Result<(), Unkept>>>,
}

impl Keeper {
    /// Takes back what could not be written; whether a new beginning can be made.
    fn is_free(&mut self) -> bool {
        match self.writing.take_if(|writing| writing.is_finished()) {
            Some(done) => self.ended(done),
            None => return self.writing.is_none(),
        }
        true
    }

    fn ended(&mut self, writing: JoinHandle<Result<(), Unkept>>) {
        if let Ok(Err(left)) = writing.join() {
            self.unkept.endpoints.extend(left.endpoints);
            for (address, days) in left.days {
                self.unkept.days.entry(address).or_insert(days);
            }
            self.unkept.findings.splice(0..0, left.findings);
            let over = self.unkept.findings.len().saturating_sub(UNKEPT);
            self.unkept.findings.drain(..over);
            self.unkept.since = left.since;
        }
    }

    /// Puts what is new into the store, every minute. What could not be written is tried again the next minute.
    fn keep(&mut self, history: &Arc<History>, ledger: &Arc<Ledger>, now: Timestamp) {
        if apart(now, self.last) < KEEP_EVERY || !self.is_free() {
            return;
        }
        let new = std::mem::take(&mut self.unkept);
        // Samples that were told a little late count, too.
        (self.last, self.unkept.since) = (now, now.minus(KEEP_EVERY));
        let (history, ledger) = (Arc::clone(history), Arc::clone(ledger));
        self.writing = Some(std::thread::spawn(move || {
            history.keep(&ledger, &new).map_err(|error| {
                tracing::warn!("--state: {error}; tried again in a minute");
                new
            })
        }));
    }

    /// Waits for what is being written and writes the rest: what was found and then withdrawn is in no report at the end.
    fn finish(mut self, history: &History, ledger: &Ledger) {
        if let Some(writing) = self.writing.take() {
            self.ended(writing);
        }
        if let Err(error) = history.keep(ledger, &self.unkept) {
            tracing::warn!("--state: {error}");
        }
    }
}

impl Teller<'_> {
    /// Joins tunnels with what is inside them, now and then.
    fn join(&mut self, now: Timestamp) {
        let (last, took) = self.joined;
        if apart(now, last) < JOIN_EVERY.max(took * 20) {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "measures the run itself")]
        let began = std::time::Instant::now();
        self.ledger.join_tunnels();
        self.ledger.compare_endpoints();
        self.joined = (now, began.elapsed());
    }

    /// Whether anybody still listens: a closed pipe ends the watch, and its files are written as ever.
    fn tell(&mut self) -> anyhow::Result<bool> {
        let mut changed = self.ledger.take_changed();
        if self.bench.history.is_some() {
            self.keeper.unkept.endpoints.extend(&changed);
        }
        // What passes inside a tunnel counts for the endpoint outside.
        let joins = self.ledger.joins();
        let outside: Vec<IpAddr> = changed.iter().filter_map(|ip| joins.of_inner(*ip)).map(|j| j.outer).collect();
        changed.extend(outside);
        for address in changed {
            let Some((findings, place)) = self.bench.judge(self.ledger, address, true) else { continue };
            if self.bench.history.is_some() {
                let days = self.bench.days_by_now(self.ledger, address);
                self.keeper.unkept.days.insert(address, days);
            }
            for finding in &findings {
                let said = (finding.verdict, finding.hypothesis, finding.severity);
                let known = self.told.get(&(address, finding.question));
                let worth_telling = finding.is_raised() || known.is_some() || self.config.all;
                if !worth_telling || known == Some(&said) {
                    continue;
                }
                self.told.insert((address, finding.question), said);
                if self.bench.history.is_some() {
                    self.keeper.unkept.findings.push(finding.clone());
                }
                match self.print(finding, place.as_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
                    other => other?,
                }
            }
        }
        Ok(true)
    }

    fn print(&self, finding: &Finding, place: Option<&crate::intel::Place>) -> io::Result<()> {
        let stdout = io::stdout().lock();
        match self.config.format {
            Format::Table => {
                let mut table = Table::new(stdout, look());
                print_finding(&mut table, self.ledger, self.bench, finding, place)?;
                table.flush()
            }
            Format::Json | Format::Jsonl => {
                let mut lines = JsonLines::new(stdout);
                lines.write(&FindingRecord::of(finding))?;
                lines.flush()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_is_a_reason_to_look_again() {
        let noon = Timestamp::from_parts(43_200, 0);
        assert!(apart(noon, Timestamp::MIN) >= JUDGE_EVERY);
        assert!(apart(Timestamp::from_parts(39_600, 0), noon) >= JUDGE_EVERY);
        assert!(apart(noon.plus(Duration::from_millis(1)), noon) < JUDGE_EVERY);
    }
}

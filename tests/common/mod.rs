//! What the integration tests share: a run in memory, and the folder of outside captures where it is there.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops by panicking and says what it skips"
)]

use farmlight::base::Frame;
use farmlight::evidence::{Ledger, LedgerLimits};
use farmlight::intel::Premises;
use farmlight::pipeline::{Engine, EngineConfig, Limits, Outlet, Totals};
use farmlight::session::{Ended, Join, News, Session};
use farmlight::source::{InputReport, Inputs, Next, Source};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a run gave.
pub struct Analysis {
    pub sessions: Vec<Session>,
    pub totals: Totals,
    pub inputs: Vec<InputReport>,
    pub ledger: Arc<Ledger>,
}

struct Collect {
    sessions: Vec<Session>,
    join: Join,
    joined: bool,
    ledger: Arc<Ledger>,
}

impl Outlet for Collect {
    fn ended(&mut self, ended: Ended) {
        self.ledger.on_session(&ended.session, ended.fresh(), ended.lag);
        if self.joined {
            self.sessions.extend(self.join.add(ended.session));
        } else {
            self.sessions.push(ended.session);
        }
    }

    fn news(&mut self, news: News<'_>) {
        match news {
            News::Samples { flow, story, fresh, lag } => self.ledger.on_samples(flow, story, fresh, lag),
            News::Name { at, address, name } => self.ledger.on_name(at, address, name),
            News::Claim(located) => self.ledger.on_claim(located),
            News::Asked { .. } | News::Answered { .. } => {}
            News::Volumes { side, address, volumes } => self.ledger.on_volumes(side, address, volumes),
        }
    }
}

/// Analyzes one file with so many workers.
pub fn analyze(path: &Path, workers: usize) -> Analysis {
    let mut inputs = Inputs::open(&[path.to_owned()], None).expect("a path was named");
    analyze_source(&mut inputs, workers)
}

/// Analyzes any source.
pub fn analyze_source(source: &mut impl Source, workers: usize) -> Analysis {
    analyze_within(source, workers, Premises::default())
}

/// Analyzes one file flow by flow: flows of one session are not joined.
pub fn analyze_flows(path: &Path) -> Analysis {
    let mut inputs = Inputs::open(&[path.to_owned()], None).expect("a path was named");
    run(&mut inputs, 1, Premises::default(), false)
}

/// Analyzes any source, knowing the site's own networks.
pub fn analyze_within(source: &mut impl Source, workers: usize, own: impl Into<Premises>) -> Analysis {
    run(source, workers, own.into(), true)
}

fn run(source: &mut impl Source, workers: usize, premises: Premises, joined: bool) -> Analysis {
    let ledger = Arc::new(Ledger::new(premises.clone(), LedgerLimits::default()));
    let limits = Limits { premises: Arc::new(premises), ..Limits::default() };
    let config = EngineConfig { workers, limits };
    let mut engine = Engine::start(&config, || Collect {
        sessions: Vec::new(),
        join: Join::default(),
        joined,
        ledger: Arc::clone(&ledger),
    });
    loop {
        match source.next() {
            Next::Frame(frame) => engine.frame(&Frame { ..frame }),
            Next::Idle(now) => engine.tick(now),
            Next::End => break,
        }
    }
    let (totals, outlets) = engine.finish();
    let mut sessions = Vec::new();
    let mut join = Join::default();
    for outlet in outlets {
        sessions.extend(outlet.sessions);
        join.absorb(outlet.join);
    }
    sessions.extend(join.finish());
    sessions.sort_by_key(|s| (s.start, s.community_id()));
    Analysis { sessions, totals, inputs: source.reports(), ledger }
}

/// The folder of outside captures, scenarios and lists, if it is on this machine; says so if not.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("FARMLIGHT_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a folder").join("shared"),
        PathBuf::from,
    );
    if folder.join("captures/MANIFEST.tsv").is_file() {
        return Some(folder);
    }
    println!("skipped: no outside captures at {}", folder.display());
    None
}

/// The rows of a tab-separated file with a header, by column name.
pub fn table(path: &Path) -> Vec<HashMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .map(|line| header.iter().map(|h| (*h).to_owned()).zip(line.split('\t').map(str::to_owned)).collect())
        .collect()
}

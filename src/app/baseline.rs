//! `farmlight baseline`: what a site's honest endpoints are like, learned from what runs wrote, and shown.
//!
//! Reads: endpoints.jsonl, sessions.jsonl and summary.json of folders; a baseline's file. Emits: such a file; tables.
//! Does not: take an address or a name of anybody over into it.

use super::folder::Folder;
use super::{Outcome, Wrong};
use crate::cli::{BaselineCommand, BaselineLearn, BaselineShow, RunConfig};
use crate::evidence::{
    Baseline, BaselineOrigin, DayMeasured, Learner, Line, Measured, ProgramMeasured, Signal, Spread, program_hash,
};
use crate::intel::{GeoPoint, Kind};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::path::Path;

/// The largest file that is read as a baseline: its parts are bounded far below that.
const MOST_BYTES: u64 = 64 << 20;
/// If more than one in so many is left out, what is shipped may not fit the site.
const MANY_LEFT_OUT: u32 = 20;
/// The version of the records that is known.
const RECORDS: u64 = 1;
/// Attributes of sessions that name their program, as the ledger looks for them.
const FINGERPRINTS: [&str; 3] = ["tls.ja4", "ssh.hassh", "ssh.client_banner"];

pub(super) fn run(command: &BaselineCommand) -> anyhow::Result<Outcome> {
    match command {
        BaselineCommand::Learn(args) => learn(args),
        BaselineCommand::Show(args) => show(args),
    }
}

/// The baseline that a run is to use, if any.
pub(super) fn open(config: &RunConfig) -> anyhow::Result<Option<Baseline>> {
    let Some(path) = &config.baseline else { return Ok(None) };
    open_for(path, config.site).map(Some)
}

/// The baseline in that file, for a capture point there.
pub(super) fn open_for(path: &Path, site: Option<GeoPoint>) -> anyhow::Result<Baseline> {
    let baseline = read(path).map_err(|why| Wrong(format!("--baseline {}: {why}", path.display())))?;
    let here = site.map(|site| format!("{:.2},{:.2}", site.lat(), site.lon()));
    if let (Some(here), Some(there)) = (here, &baseline.origin().site)
        && here != *there
    {
        tracing::warn!("--baseline: learned at {there}, and this capture point is at {here}");
    }
    Ok(baseline)
}

fn read(path: &Path) -> Result<Baseline, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Baseline::from_bytes(&bytes).map_err(|error| error.to_string())
}

/// A line of endpoints.jsonl, as far as it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointView {
    schema: u64,
    ip: Option<IpAddr>,
    verdict: String,
    place: PlaceView,
    distant: bool,
    days: Vec<DayView>,
    programs: Vec<ProgramView>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PlaceView {
    asn: Option<u32>,
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DayView {
    day: String,
    n: u64,
    excess_ms: Option<f64>,
    gaps: u64,
    gap_ms: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProgramView {
    program: String,
    gaps_ms: Vec<f64>,
    lag_ms: Option<f64>,
}

/// A line of sessions.jsonl, as far as it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SessionView {
    attributes: BTreeMap<String, String>,
}

impl EndpointView {
    fn line(self) -> Option<Line> {
        let raised = matches!(self.verdict.as_str(), "relayed" | "remote-controlled" | "farm" | "exit");
        let programs = self.programs.into_iter().filter_map(ProgramView::measured);
        let measured =
            Measured { days: self.days.iter().filter_map(DayView::measured).collect(), programs: programs.collect() };
        Some(Line {
            endpoint: self.ip?,
            kind: self.place.kind.parse().unwrap_or(Kind::Unknown),
            asn: self.place.asn,
            distant: self.distant,
            raised,
            measured,
        })
    }
}

impl DayView {
    fn measured(&self) -> Option<DayMeasured> {
        let date: jiff::civil::Date = self.day.parse().ok()?;
        let day = jiff::civil::date(1970, 1, 1).until(date).ok()?.get_days();
        let with = |n: u64| move |ms: f64| (n, ms);
        let (excess, gap) = (self.excess_ms.map(with(self.n)), self.gap_ms.map(with(self.gaps)));
        Some(DayMeasured { day: i64::from(day), excess, gap })
    }
}

impl ProgramView {
    fn measured(self) -> Option<(u64, ProgramMeasured)> {
        let program = u64::from_str_radix(&self.program, 16).ok()?;
        Some((program, ProgramMeasured { gaps_ms: self.gaps_ms, lag_ms: self.lag_ms }))
    }
}

fn learn(args: &BaselineLearn) -> anyhow::Result<Outcome> {
    let mut learner = Learner::default();
    let mut sites = BTreeSet::new();
    for dir in &args.dirs {
        learn_from(dir, &mut learner, &mut sites)?;
    }
    let origin = BaselineOrigin {
        learned: today(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // Of several places none is said.
        site: sites.pop_first().filter(|_| sites.is_empty()),
        ..BaselineOrigin::default()
    };
    let baseline = learner.finish(origin).map_err(|few| Wrong(few.to_string()))?;
    write(&args.out, &baseline.to_bytes()?).with_context(|| format!("can't write {}", args.out.display()))?;
    let from = baseline.origin();
    if from.left_out > from.endpoints / MANY_LEFT_OUT {
        tracing::warn!(
            "{} endpoints of which something was found are left out, and with them what may be usual here: look at them; if \
             they are honest, analyze again with this baseline, and learn from that",
            from.left_out,
        );
    }
    writeln!(
        io::stdout(),
        "{}: learned from {} honest endpoints on {} days of theirs, {} to {}; {} left out because something was found \
         of them.",
        args.out.display(),
        from.endpoints,
        from.days,
        from.from,
        from.to,
        from.left_out,
    )?;
    Ok(Outcome::Done)
}

fn learn_from(dir: &Path, learner: &mut Learner, sites: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let folder = Folder::open(dir).map_err(|error| Wrong(format!("{error:#}")))?;
    if !folder.path("endpoints.jsonl").is_file() {
        let why = "no endpoints.jsonl: not a folder that analyze or watch wrote with --out";
        return Err(Wrong(format!("{}: {why}", dir.display())).into());
    }
    learner.source();
    let (mut newer, mut programs) = (0, BTreeSet::new());
    folder.each(
        "endpoints.jsonl",
        |_| true,
        |endpoint: EndpointView| {
            newer = endpoint.schema.max(newer);
            if let Some(line) = endpoint.line() {
                programs.extend(line.measured.programs.keys().copied());
                learner.add(line);
            }
        },
    )?;
    if newer > RECORDS {
        let why = format!("its records are of a newer farmlight (schema {newer}, this one knows {RECORDS})");
        return Err(Wrong(format!("{}: {why}", dir.display())).into());
    }
    // Only to say what hashes stand for.
    if folder.path("sessions.jsonl").is_file() {
        folder.each(
            "sessions.jsonl",
            |line| FINGERPRINTS.iter().any(|key| line.contains(key)),
            |session: SessionView| {
                if let Some(name) = FINGERPRINTS.iter().find_map(|key| session.attributes.get(*key))
                    && programs.remove(&program_hash(name))
                {
                    learner.name(program_hash(name), name);
                }
            },
        )?;
    }
    if folder.path("summary.json").is_file() {
        let summary = folder.summary()?;
        sites.extend(summary.pointer("/config/site").and_then(Value::as_str).and_then(rounded));
    }
    Ok(())
}

/// A place to a kilometre or so.
fn rounded(site: &str) -> Option<String> {
    let site: crate::intel::GeoPoint = site.parse().ok()?;
    Some(format!("{:.2},{:.2}", site.lat(), site.lon()))
}

/// The day, in UTC.
fn today() -> String {
    #[expect(clippy::disallowed_methods, reason = "names the file itself, measures nothing")]
    let now = std::time::SystemTime::now();
    let now = jiff::Timestamp::try_from(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    now.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// Whole or not at all: the file that was there stays until then.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".farmlight-baseline-").tempfile_in(folder)?;
    new.write_all(bytes)?;
    new.persist(path)?;
    Ok(())
}

fn show(args: &BaselineShow) -> anyhow::Result<Outcome> {
    let baseline = read(&args.file).map_err(|why| Wrong(format!("{}: {why}", args.file.display())))?;
    io::stdout().write_all(page(&baseline).as_bytes())?;
    Ok(Outcome::Done)
}

/// A baseline as tables.
fn page(baseline: &Baseline) -> String {
    let from = baseline.origin();
    let mut out = format!(
        "Learned on {} by farmlight {} from {} folder{}, {} to {}{}:\n{} honest endpoints on {} days of theirs; {} \
         endpoints left out because something was found of them.\n",
        from.learned,
        from.version,
        from.sources,
        if from.sources == 1 { "" } else { "s" },
        from.from,
        from.to,
        from.site.as_ref().map(|site| format!(", at {site}")).unwrap_or_default(),
        from.endpoints,
        from.days,
        from.left_out,
    );
    for signal in Signal::ALL {
        let _ = writeln!(out, "\n{}, ms", signal.title());
        let _ = writeln!(
            out,
            "  {:<38}{:>9}{:>9}{:>8}{:>8}{:>8}{:>8}{:>9}",
            "group", "endpoints", "values", "5 %", "50 %", "95 %", "99 %", "greatest"
        );
        for (group, learned) in baseline.groups(signal) {
            let name = baseline.program_name(group).unwrap_or(group);
            let _ = writeln!(out, "  {:<38}{}", shortened(name), row(&learned.spread));
        }
        if baseline.groups(signal).next().is_none() {
            out.push_str("  no group is large enough\n");
        }
        let stays = baseline.staying(signal).into_iter().flat_map(|staying| staying.told());
        for (share, again, still) in stays.filter(|(_, again, _)| *again >= 0.5) {
            let _ = writeln!(
                out,
                "  Of lines among the farthest {} % one day, {:.0} % of {again:.0} were so the next.",
                percent(share),
                100.0 * still / again,
            );
        }
    }
    out
}

fn row(spread: &Spread) -> String {
    let [low, middle, high, top] = [0.05, 0.5, 0.95, 0.99].map(|q| spread.quantile(q));
    let (endpoints, values) = (spread.endpoints(), spread.values());
    format!("{endpoints:>9}{values:>9}{low:>8.1}{middle:>8.1}{high:>8.1}{top:>8.1}{:>9.1}", spread.greatest())
}

/// A share as a person reads it.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 1.0 { format!("{percent:.0}") } else { format!("{percent:.2}") }
}

/// A name that leaves the columns where they are.
fn shortened(name: &str) -> String {
    const ROOM: usize = 37;
    if name.chars().count() <= ROOM {
        return name.to_owned();
    }
    let kept: String = name.chars().take(ROOM - 1).collect();
    format!("{kept}…")
}

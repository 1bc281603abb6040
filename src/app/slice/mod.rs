//! `farmlight slice`: the packets behind a finding, as a capture with comments.
//!
//! Reads: captures twice over: the frames of the wanted flows go to a temporary file and through the pipeline, which
//! tells where each round trip closed; then they are written with what was learned as comments. Emits: pcapng, whole or
//! not at all. Does not: change a frame: tunnels and fragments are undone only to see which flow is in them.

mod pick;

use super::analyze::stop_on;
use super::folder::{FindingView, Folder, Found, Wanted};
use super::progress::Progress;
use super::{Outcome, Wrong, stdin};
use crate::cli::Slice;
use crate::evidence::signed;
use crate::flow::community_id;
use crate::pipeline::{Engine, EngineConfig, Outlet};
use crate::session::{Ended, News};
use crate::sink::PcapNg;
use crate::source::{CaptureReader, InputReport, Inputs, Next, Source as _};
use anyhow::{Context as _, bail};
use pick::{Picker, Wants};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name of standard output.
const STDOUT: &str = "-";

pub(super) fn run(args: &Slice, quiet: bool) -> anyhow::Result<Outcome> {
    let folder = Folder::open(&args.from)?;
    let found = folder.find(&Wanted::parse(&args.what))?;
    let wants = wants(&found)?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on(&[SIGINT, SIGTERM, SIGHUP], &stop)?;
    if args.inputs.iter().any(|path| path.as_os_str() == "-") {
        stdin::ends_on(&stop).context("standard input")?;
    }
    let mut inputs = Inputs::open(&args.inputs, None).map_err(|e| Wrong(e.to_string()))?;
    refuse_to_overwrite(&args.out, &inputs.reports(), &folder)?;
    let mut spool = PcapNg::new(BufWriter::new(scratch(&args.out)?), &[])?;
    let mut picker = Picker::new(wants);
    let mut engine = Engine::start(&EngineConfig::default(), Loops::default);
    let mut progress = Progress::new(inputs.total(), quiet);
    loop {
        match inputs.next() {
            Next::Frame(frame) => picker.frame(&frame, &mut |frame| {
                engine.frame(frame);
                spool.frame(frame, &[])
            })?,
            Next::Idle(_) => {}
            Next::End => break,
        }
        progress.step(|| inputs.position());
        if stop.load(Ordering::Relaxed) {
            progress.finish();
            bail!("interrupted: nothing was written");
        }
    }
    picker.finish(&mut |frame| {
        engine.frame(frame);
        spool.frame(frame, &[])
    })?;
    progress.finish();
    let reports = inputs.reports();
    let incomplete = tell_faults(&reports);
    if picker.picked() == 0 {
        bail!("{}: none of its packets is in these captures", args.what);
    }
    let (_, outlets) = engine.finish();
    let mut spool = spool.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    spool.rewind()?;
    let notes =
        Notes { evidence: evidence(&found), loops: outlets.into_iter().flat_map(|loops| loops.closed).collect() };
    write(&args.out, &section(&found), spool, &notes)?;
    report(&args.out, &picker)?;
    Ok(if incomplete { Outcome::Incomplete } else { Outcome::Done })
}

/// A file for the frames picked, beside the output: a folder that can't be written is found out now, not after an hour
/// of reading.
fn scratch(out: &Path) -> anyhow::Result<File> {
    if out.as_os_str() == STDOUT {
        return Ok(tempfile::tempfile()?);
    }
    tempfile::tempfile_in(folder_of(out)).map_err(|e| Wrong(format!("-o {}: {e}", out.display())).into())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Of a finding the flows that it cites, of an address all.
fn wants(found: &Found) -> anyhow::Result<Wants> {
    if !found.by_finding {
        return Ok(Wants::Address(found.address.parse().context("the address")?));
    }
    let cites: BTreeSet<String> = evidence(found).into_keys().collect();
    if cites.is_empty() {
        let id = found.findings.first().map_or("", |line| line.view.id.as_str());
        bail!("finding {id} cites no flow; {} gives all packets of its endpoint", found.address);
    }
    Ok(Wants::Flows(cites))
}

/// The rules that cite each flow.
fn evidence(found: &Found) -> BTreeMap<String, BTreeSet<String>> {
    let mut rules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for evidence in found.findings.iter().flat_map(|line| &line.view.evidence) {
        for cite in &evidence.cites {
            rules.entry(cite.clone()).or_default().insert(evidence.rule.clone());
        }
    }
    rules
}

/// What stands at the head of the file: each finding in words.
fn section(found: &Found) -> Vec<String> {
    if found.findings.is_empty() {
        return vec![format!("farmlight: all packets of {}; no finding of it is recorded", found.address)];
    }
    found.findings.iter().map(|line| about(&line.view)).collect()
}

fn about(finding: &FindingView) -> String {
    let mut text = format!(
        "farmlight finding {}: {} is {} ({}), severity {}, posterior log-odds {:+.1}.",
        finding.id, finding.endpoint, finding.verdict, finding.hypothesis, finding.severity, finding.score
    );
    if let Some(ms) = finding.hidden_leg_ms {
        text += &format!("\nHidden part of the way: about {ms:.0} ms there and back.");
    }
    for evidence in &finding.evidence {
        text += &format!("\n{} ({}): {}", evidence.rule, signed(evidence.llr), evidence.text);
    }
    text + &format!("\nBest innocent story: {}", finding.innocent.text)
}

/// Where round trips closed, by flow and time.
#[derive(Debug, Default)]
struct Loops {
    closed: Vec<((String, i64), String)>,
}

impl Outlet for Loops {
    fn ended(&mut self, ended: Ended) {
        let flow = community_id(&ended.session.tuple);
        for sample in &ended.session.samples {
            let ambiguous = if sample.ambiguous { ", ambiguous" } else { "" };
            let text = format!(
                "farmlight: closes a round trip to the {}: {} ({}), {:.3} ms{ambiguous}",
                sample.side.name(),
                sample.layer.name(),
                sample.method,
                sample.rtt.as_secs_f64() * 1e3
            );
            self.closed.push(((flow.clone(), sample.at.nanos()), text));
        }
    }

    fn news(&mut self, _: News<'_>) {}
}

/// What goes beside packets.
struct Notes {
    evidence: BTreeMap<String, BTreeSet<String>>,
    loops: HashMap<(String, i64), String>,
}

impl Notes {
    fn of(&self, flow: &str, at: i64) -> Vec<String> {
        let of_flow = match self.evidence.get(flow) {
            Some(rules) => {
                format!("farmlight: {}: flow {flow}", Vec::from_iter(rules.iter().map(String::as_str)).join(", "))
            }
            None => format!("farmlight: flow {flow}"),
        };
        let closes = self.loops.get(&(flow.to_owned(), at)).cloned();
        std::iter::once(of_flow).chain(closes).collect()
    }
}

/// Writes the file, or nothing: it takes its place when it is whole.
fn write(path: &Path, section: &[String], spool: File, notes: &Notes) -> anyhow::Result<()> {
    if path.as_os_str() == STDOUT {
        return annotate(BufWriter::new(io::stdout().lock()), section, spool, notes).map(drop);
    }
    let dir = folder_of(path);
    let failed = || format!("can't write {}", path.display());
    let file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(dir)
        .with_context(failed)?;
    let file = annotate(BufWriter::new(file), section, spool, notes).with_context(failed)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

fn annotate<W: Write>(out: W, section: &[String], spool: File, notes: &Notes) -> anyhow::Result<W> {
    let mut file = PcapNg::new(out, section)?;
    let mut reader = CaptureReader::new("the packets picked", spool);
    let mut flows = pick::Flows::default();
    while reader.advance().is_some() {
        let Some(frame) = reader.frame() else { break };
        let comments = match flows.of(&frame) {
            Some(flow) => notes.of(&flow, frame.at.nanos()),
            None => vec!["farmlight: a fragment of a packet below".to_owned()],
        };
        file.frame(&frame, &comments)?;
    }
    if let Some(fault) = reader.report().error {
        bail!("the packets picked: {}", fault.reason);
    }
    Ok(file.into_inner()?)
}

/// An output that is one of the inputs, or a record of the folder, would destroy what it is made from.
fn refuse_to_overwrite(out: &Path, inputs: &[InputReport], folder: &Folder) -> anyhow::Result<()> {
    let Ok(there) = std::fs::metadata(out) else { return Ok(()) };
    if there.is_dir() {
        bail!(Wrong(format!("-o {}: a folder, not a file", out.display())));
    }
    let records = ["sessions.jsonl", "endpoints.jsonl", "findings.jsonl", "identities.jsonl", "summary.json"];
    let ours = inputs.iter().map(|input| PathBuf::from(&input.path)).chain(records.map(|name| folder.path(name)));
    for path in ours {
        if std::fs::metadata(&path).is_ok_and(|other| (other.dev(), other.ino()) == (there.dev(), there.ino())) {
            bail!(Wrong(format!("-o {}: it is the input {}", out.display(), path.display())));
        }
    }
    Ok(())
}

fn tell_faults(reports: &[InputReport]) -> bool {
    let mut any = false;
    for report in reports {
        if let Some(fault) = &report.error {
            any = true;
            tracing::error!("{}: {} (at byte {})", report.path, fault.reason, fault.offset);
        }
    }
    any
}

fn report(out: &Path, picker: &Picker) -> io::Result<()> {
    for flow in picker.not_seen() {
        tracing::warn!("flow {flow} is not in these captures");
    }
    if out.as_os_str() == STDOUT {
        return Ok(());
    }
    let (packets, flows) = (plural(picker.picked(), "frame"), plural(picker.seen() as u64, "flow"));
    writeln!(io::stdout(), "{}: {packets} of {flows}", out.display())
}

fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

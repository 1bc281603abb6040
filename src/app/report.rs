//! The end of a run: every endpoint judged, files written, standard output served.

use super::Outcome;
use super::history::{History, Longer};
use super::outlet::{Current, Notes, Records, Sessions};
use crate::base::{Identity, IdentityKind, Located, Timestamp, commas};
use crate::cli::{Format, RunConfig};
use crate::evidence::{
    Account, Baseline, Case, DayJudged, DayMeasured, Finding, Forgotten, Inner, Journey, Ledger, LedgerLimits,
    Measured, Question, Site, Stop, Suppressed, Verdict, alone, expected_ms, false_discovery_rates, judge, judge_all,
    ln_strength,
};
use crate::intel::{AllowList, AllowUse, Homes, Place, Places, Pseudonyms, Roll, inspect, read_roll};
use crate::pipeline::Totals;
use crate::session::Roster;
use crate::sink::{
    AllowRecord, EndpointRecord, ErrorRecord, FindingRecord, FramesRecord, IdentityRecord, InputRecord, JsonLines,
    Look, RecognisedRecord, SummaryRecord, Table, Verdicts, merge, rfc3339,
};
use crate::source::InputReport;
use anyhow::Context as _;
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What judging needs besides the ledger.
#[derive(Debug)]
pub(super) struct Bench {
    /// Where addresses and people are.
    pub(super) known: Current<Known>,
    /// What goes beside sessions.
    pub(super) notes: Arc<Current<Notes>>,
    /// Names go out as these only.
    pub(super) pseudonyms: Option<Pseudonyms>,
    /// The lines that the licences of databases in use want.
    attribution: Vec<&'static str>,
    /// Who is where, as the user's files say; given to the ledger.
    rolls: Vec<Roll>,
    /// What they said, as hashes.
    pub(super) said: HashSet<u64>,
    pub(super) site: Site,
    /// What the site's honest endpoints are like.
    pub(super) baseline: Current<Option<Arc<Baseline>>>,
    /// What earlier runs saw.
    pub(super) history: Option<Arc<History>>,
}

/// Where addresses and people are, as the user's files say now.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) places: Places,
    /// Where people say that they work from.
    pub(super) homes: Arc<Homes>,
}

/// What tells one claim of a file from another, so that a file may be read again.
pub(super) fn claim_hash(located: &Located) -> u64 {
    FixedState::default().hash_one(located)
}

/// What a run leaves behind.
pub(super) struct Run<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) bench: &'a Bench,
    pub(super) ledger: &'a Ledger,
    pub(super) totals: Totals,
    pub(super) records: Vec<Records>,
    pub(super) inputs: Vec<InputReport>,
    pub(super) began: Instant,
    /// Findings have been printed and filed while the run went on.
    pub(super) live: bool,
    /// It was read to its end, and is worth keeping.
    pub(super) whole: bool,
    /// What was dropped because it was too old.
    pub(super) forgotten: Forgotten,
}

/// The findings on one endpoint, what matters most first, and its place.
pub(super) type Judgement = (Vec<Finding>, Option<Place>);

/// What judging gave.
#[derive(Default)]
struct Judged {
    /// Endpoints, in order.
    to_tell: Vec<(Option<Timestamp>, IpAddr)>,
    told: Vec<(Finding, Option<Place>)>,
    endpoints: u64,
    findings: u64,
    suppressed: u64,
    verdicts: Verdicts,
}

impl Judged {
    /// An endpoint counts once, by the finding that matters most.
    fn count(&mut self, findings: &[Finding], all: bool) {
        let Some(leading) = findings.first() else { return };
        self.endpoints += 1;
        *self.verdicts.entry(leading.verdict.name()).or_default() += 1;
        self.findings += findings.iter().map(|finding| u64::from(finding.is_raised())).sum::<u64>();
        self.suppressed += findings.iter().map(|finding| u64::from(finding.suppressed.is_some())).sum::<u64>();
        if leading.verdict.is_finding() || all {
            self.to_tell.push((leading.first_seen, leading.endpoint));
        }
    }
}

impl Judged {
    /// Says of what is raised how much of such a list is expected to be wrong.
    fn rate(&mut self) {
        let mut raised: Vec<&mut Finding> =
            self.told.iter_mut().map(|(finding, _)| finding).filter(|finding| finding.verdict.is_finding()).collect();
        let over_days = |finding: &&mut Finding| finding.over_days.map(|over| over.e_value);
        let strengths: Vec<f64> =
            raised.iter().map(|finding| ln_strength(finding.ln_bayes, over_days(finding))).collect();
        for (finding, rate) in raised.iter_mut().zip(false_discovery_rates(&strengths, self.endpoints)) {
            // Three digits are more than it is worth.
            finding.false_discovery_rate = Some((rate * 1e3).ceil() / 1e3);
        }
    }
}

impl Bench {
    pub(super) fn of(config: &RunConfig) -> anyhow::Result<Self> {
        let (csv, city, asn) = &config.geo;
        let places = Places::open(csv.as_deref(), city.as_deref(), asn.as_deref())
            .map_err(|error| super::Wrong(error.to_string()))?;
        let places = places.with_kinds(&config.geo_kind).map_err(|error| super::Wrong(error.to_string()))?;
        let (tools, lists) = match &config.intel {
            Some(folder) => super::intel::read(folder)?,
            None => Default::default(),
        };
        let places = places.with_lists(lists);
        let pseudonyms = config.hash_identities.as_deref().map(Pseudonyms::open).transpose();
        let pseudonyms = pseudonyms.map_err(|e| super::Wrong(format!("--hash-identities: {e}")))?;
        let (rolls, year) = &config.identities;
        let rolls = rolls.iter().map(|path| read_roll(path, *year)).collect::<Result<Vec<_>, _>>();
        let rolls = rolls.map_err(|e| super::Wrong(format!("--identities: {e}")))?;
        let homes = config.homes.as_deref().map(|path| Homes::open(path, pseudonyms.as_ref())).transpose();
        let homes = homes.map_err(|e| super::Wrong(format!("--homes: {e}")))?.unwrap_or_default();
        let site =
            Site { location: config.site, has_places: !places.is_empty() || !homes.is_empty(), policy: config.policy };
        let allow = AllowList::new(config.allow.clone(), pseudonyms.as_ref());
        let mut attribution: Vec<_> =
            city.iter().chain(asn).chain(&config.geo_kind).filter_map(|p| inspect(p).ok()?.attribution).collect();
        attribution.dedup();
        let notes = Notes { tools: Arc::new(tools), allow: Arc::new(allow), pseudonyms: pseudonyms.clone() };
        let known = Current::new(Known { places, homes: Arc::new(homes) });
        let notes = Arc::new(Current::new(notes));
        let baseline = Current::new(super::baseline::open(config)?.map(Arc::new));
        let said = HashSet::new();
        Ok(Self { known, notes, pseudonyms, attribution, rolls, said, site, baseline, history: None })
    }

    /// An empty ledger that knows what the user's files say of who is where.
    pub(super) fn ledger(&mut self, config: &RunConfig, limits: LedgerLimits) -> Arc<Ledger> {
        let ledger = Ledger::new(config.premises.clone(), limits).with_pseudonyms(self.pseudonyms.clone());
        for roll in std::mem::take(&mut self.rolls) {
            for (line, reason) in &roll.left_out {
                tracing::warn!("--identities: line {line} left out: {reason}");
            }
            for located in roll.claims {
                self.said.insert(claim_hash(&located));
                ledger.on_claim(located);
            }
        }
        Arc::new(ledger)
    }

    /// The same for a company that has such a list of homes.
    pub(super) fn with_homes(&self, homes: Homes) -> Self {
        let places = self.known.get().places.clone();
        Self {
            known: Current::new(Known { places, homes: Arc::new(homes) }),
            notes: Arc::clone(&self.notes),
            pseudonyms: self.pseudonyms.clone(),
            attribution: self.attribution.clone(),
            rolls: Vec::new(),
            said: self.said.clone(),
            site: self.site,
            baseline: Current::new(self.baseline.get().as_ref().clone()),
            history: self.history.clone(),
        }
    }

    /// The judgement on one endpoint.
    pub(super) fn judge(&self, ledger: &Ledger, address: IpAddr, told: bool) -> Option<Judgement> {
        // Not while the account is locked: these are accounts, too.
        let inner = ledger.inner_of(address);
        if self.history.is_some() {
            // Nor while the store is read.
            let account = ledger.look(address, Account::clone)?;
            return Some(self.judge_account(ledger, address, &account, &inner, (told, &[])));
        }
        ledger.look(address, |account| self.judge_account(ledger, address, account, &inner, (told, &[])))
    }

    /// The bare judgement on one endpoint when these rules are not asked.
    pub(super) fn judge_without(&self, ledger: &Ledger, address: IpAddr, rules: &[&str]) -> Option<Judgement> {
        let inner = ledger.inner_of(address);
        ledger.look(address, |account| self.judge_account(ledger, address, account, &inner, (false, rules)))
    }

    /// What each rule would say of one endpoint alone: see [`alone`].
    pub(super) fn alone(&self, ledger: &Ledger, address: IpAddr) -> Vec<(&'static str, f64)> {
        let inner = ledger.inner_of(address);
        let said = ledger.look(address, |account| self.on_case(ledger, address, account, &inner, alone));
        said.unwrap_or_default()
    }

    /// Lays an account out with its place, who is said to be there, and what earlier runs saw.
    fn on_case<R>(
        &self,
        ledger: &Ledger,
        address: IpAddr,
        account: &Account,
        inner: &[Inner],
        f: impl FnOnce(&Case<'_>) -> R,
    ) -> R {
        let longer = self.longer(ledger, address, account);
        let account = longer.as_ref().map_or(account, |longer| &longer.account);
        let place = self.place_of(ledger, address, account);
        let mut people = match (account.first_seen, account.last_seen) {
            (Some(from), Some(to)) => ledger.claims().between(address, from, to),
            _ => Vec::new(),
        };
        let before = longer.iter().flat_map(|longer| &longer.people);
        people.extend(before.filter(|who| !people.contains(who)).cloned().collect::<Vec<_>>());
        let at_once = match (account.first_seen, account.last_seen) {
            (Some(from), Some(to)) => ledger.claims().people_at_once(address, from, to),
            _ => None,
        };
        let journey = self.fastest_journey(ledger, &people, address);
        let users = people.iter().filter(|who| who.kind == IdentityKind::User);
        let towns = self.known.get().homes.towns(users.map(|who| who.name.as_str()));
        let peers = ledger.peers();
        let new = Case::new(account, place.as_ref(), &self.site);
        let baseline = self.baseline.get();
        let baseline = baseline.as_ref().as_deref();
        let ties = peers.of(address);
        f(&Case { people: &people, at_once, towns, journey: journey.as_ref(), inner, baseline, ties, ..new })
    }

    /// The judgement on an account. Adds who is said to be there, and the entry of the allow-list that covers a finding.
    fn judge_account(
        &self,
        ledger: &Ledger,
        address: IpAddr,
        account: &Account,
        inner: &[Inner],
        (told, without): (bool, &[&str]),
    ) -> Judgement {
        self.on_case(ledger, address, account, inner, |case| {
            let case = Case { without, ..*case };
            let mut findings = match ledger.joins().of_inner(address) {
                Some(joined) => vec![self.left_to(joined.outer, address, case.account, told)],
                None => judge_all(address, &case, &self.site, told),
            };
            let own = Case { inner, ..Case::new(account, case.place, &self.site) };
            self.note_days(&mut findings, address, &own);
            findings.iter_mut().for_each(|finding| self.note(finding, case.people));
            (findings, case.place.cloned())
        })
    }

    /// Says what the days of an endpoint say together: those of this run and those that earlier runs kept.
    fn note_days(&self, findings: &mut [Finding], address: IpAddr, own: &Case<'_>) {
        let baseline = self.baseline.get();
        let Some(baseline) = baseline.as_ref() else { return };
        let mut days = self.history.as_ref().map_or_else(Vec::new, |history| history.days(address, own.account));
        days.extend(baseline.days_of(own));
        let over = baseline.over_days(&days);
        for finding in findings.iter_mut().filter(|finding| finding.question == Question::Connection) {
            finding.over_days = over;
        }
    }

    /// The days of an endpoint as this run saw it, compared with the baseline if there is one.
    fn days_of(&self, ledger: &Ledger, address: IpAddr, account: &Account, inner: &[Inner]) -> Vec<DayJudged> {
        let place = self.place_of(ledger, address, account);
        let case = Case { inner, ..Case::new(account, place.as_ref(), &self.site) };
        let bare = |measured| DayJudged { measured, ..DayJudged::default() };
        match self.baseline.get().as_ref() {
            Some(baseline) => baseline.days_of(&case),
            None => DayMeasured::all_of(&case).into_iter().map(bare).collect(),
        }
    }

    /// The same of an endpoint that goes on.
    pub(super) fn days_by_now(&self, ledger: &Ledger, address: IpAddr) -> Vec<DayJudged> {
        let account = ledger.look(address, Account::clone);
        account.map_or_else(Vec::new, |account| self.days_of(ledger, address, &account, &ledger.inner_of(address)))
    }

    /// An account with what earlier runs saw of the endpoint. An address inside a tunnel is another's every day: of it
    /// nothing is said of earlier.
    pub(super) fn longer(&self, ledger: &Ledger, address: IpAddr, account: &Account) -> Option<Longer> {
        let history = self.history.as_ref().filter(|_| ledger.joins().of_inner(address).is_none())?;
        history.longer(address, account)
    }

    /// The fastest way that one of those at `address` would have had to travel, as servers accepted them.
    fn fastest_journey(&self, ledger: &Ledger, people: &[Arc<Identity>], address: IpAddr) -> Option<Journey> {
        let known = self.known.get();
        let stop = |(address, from, to): (IpAddr, Timestamp, Timestamp)| {
            let place = known.places.lookup(address)?;
            Some(Stop { address, point: place.point?, kind: place.kind, from, to })
        };
        let users = people.iter().filter(|who| who.kind == IdentityKind::User);
        let journeys = users.filter_map(|who| {
            let stops: Vec<Stop> = ledger.claims().accepted_stays(who).into_iter().filter_map(stop).collect();
            Journey::fastest(who, &stops, address)
        });
        journeys.max_by(|a, b| a.speed().total_cmp(&b.speed()).then(b.who.cmp(&a.who)))
    }

    /// Where an endpoint is: at the declared home of whoever a server has accepted there, else where the address is.
    fn place_of(&self, ledger: &Ledger, address: IpAddr, account: &Account) -> Option<Place> {
        let known = self.known.get();
        let place = known.places.lookup(address);
        if known.homes.is_empty() {
            return place;
        }
        let (Some(from), Some(to)) = (account.first_seen, account.last_seen) else { return place };
        let identities = ledger.claims().accepted_between(address, from, to);
        let users = identities.iter().filter(|identity| identity.kind == IdentityKind::User);
        match known.homes.shared_by(users.map(|identity| identity.name.as_str())) {
            Some(home) => Some(place.unwrap_or_default().at_home(home)),
            None => place,
        }
    }

    /// What is said of an address inside a tunnel: nothing, its packets count for the endpoint outside.
    fn left_to(&self, outer: IpAddr, address: IpAddr, account: &Account, told: bool) -> Finding {
        let silent = Account { first_seen: account.first_seen, last_seen: account.last_seen, ..Account::default() };
        let mut finding = judge(address, &silent, None, &self.site, told);
        if told {
            finding.missing = vec![format!("nothing: it is inside the tunnel of {outer} and counts there")];
        }
        finding
    }

    fn note(&self, finding: &mut Finding, people: &[Arc<Identity>]) {
        let Some(to) = finding.last_seen else { return };
        finding.identities = people.to_vec();
        if finding.verdict.is_finding() {
            let names: Vec<&str> = people.iter().map(|identity| identity.name.as_str()).collect();
            let allow = Arc::clone(&self.notes.get().allow);
            finding.suppressed = allow.of_endpoint(finding.endpoint, &names, to).map(|entry| Suppressed {
                allow: entry.allow.name(),
                reason: entry.reason.clone(),
                owner: entry.owner.clone(),
                expires: entry.expires.clone(),
            });
        }
    }
}

/// Opens a file of the output directory.
pub(super) fn create(dir: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    let path = dir.join(name);
    let file = File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
    Ok(BufWriter::with_capacity(1 << 16, file))
}

impl Run<'_> {
    /// Writes everything and says how it ended.
    pub(super) fn report(mut self) -> anyhow::Result<Outcome> {
        let mut records = std::mem::take(&mut self.records);
        let sessions = records.iter().map(|o| o.count).sum();
        let mut roster = Roster::default();
        records.iter_mut().for_each(|records| roster.absorb(std::mem::take(&mut records.roster)));
        self.sessions_file(records)?;
        let judged = self.endpoints()?;
        self.findings_file(&judged.told)?;
        self.identities_file()?;
        let summary = self.summary(sessions, &roster, &judged);
        if let Some(dir) = &self.config.out {
            let mut out = create(dir, "summary.json")?;
            serde_json::to_writer_pretty(&mut out, &summary)?;
            out.write_all(b"\n")?;
            out.flush()?;
        }
        for input in &self.inputs {
            if let Some(fault) = &input.error {
                // Before the first byte there is no place to tell.
                let place = if fault.offset == 0 { String::new() } else { format!(" (at byte {})", fault.offset) };
                tracing::error!("{}: {}{place}", input.path, fault.reason);
            }
        }
        match self.stdout(&judged.told, &roster, &summary) {
            // Who reads only the first lines still gets the exit code.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        // Last: whatever becomes of the store, the report is there.
        self.keep(&judged.told)?;
        Ok(self.outcome(&judged.told))
    }

    fn outcome(&self, told: &[(Finding, Option<Place>)]) -> Outcome {
        if self.inputs.iter().any(|i| i.error.is_some()) {
            return Outcome::Incomplete;
        }
        let met = |level| told.iter().any(|(f, _)| f.is_raised() && f.severity >= level);
        if self.config.fail_on.is_some_and(met) { Outcome::Alarm } else { Outcome::Done }
    }

    /// Judges every endpoint and keeps the findings to tell of, in the order their endpoints were first seen.
    fn endpoints(&self) -> anyhow::Result<Judged> {
        self.ledger.join_tunnels();
        self.ledger.compare_endpoints();
        let mut judged = Judged::default();
        if let Some(dir) = &self.config.out {
            let mut lines = JsonLines::new(create(dir, "endpoints.jsonl")?);
            for (_, address) in self.ledger.in_order() {
                let Some((findings, place)) = self.bench.judge(self.ledger, address, false) else { continue };
                let Some(leading) = findings.first() else { continue };
                self.endpoint_line(&mut lines, leading, place.as_ref())?;
                judged.count(&findings, self.config.all);
            }
            lines.flush().context("can't write endpoints.jsonl")?;
        } else {
            // Without a file the order of judging doesn't matter: walk the ledger as it lies in memory.
            self.ledger.for_each(|address, account| {
                let inner = self.ledger.inner_of(address);
                let (findings, _) = self.bench.judge_account(self.ledger, address, account, &inner, (false, &[]));
                judged.count(&findings, self.config.all);
            });
        }
        judged.to_tell.sort_unstable();
        for (_, address) in &judged.to_tell {
            let Some((findings, place)) = self.bench.judge(self.ledger, *address, true) else { continue };
            let wanted = |finding: &Finding| finding.verdict.is_finding() || self.config.all;
            judged.told.extend(findings.into_iter().filter(wanted).map(|finding| (finding, place.clone())));
        }
        judged.rate();
        Ok(judged)
    }

    fn endpoint_line(
        &self,
        lines: &mut JsonLines<BufWriter<File>>,
        finding: &Finding,
        place: Option<&Place>,
    ) -> io::Result<()> {
        let name = self.ledger.name_of(finding.endpoint);
        let inner = self.ledger.inner_of(finding.endpoint);
        let outer = self.ledger.joins().of_inner(finding.endpoint).copied();
        let record = self.ledger.look(finding.endpoint, |account| {
            let longer = self.bench.longer(self.ledger, finding.endpoint, account);
            let account = longer.as_ref().map_or(account, |longer| &longer.account);
            let expected = expected_ms(account, place, &self.bench.site);
            let record = EndpointRecord::of(account, finding, place, name, expected);
            let record = if longer.is_some() { record.with_history(account) } else { record };
            let case = Case { inner: &inner, ..Case::new(account, place, &self.bench.site) };
            let record = record.with_measured(&Measured::of(&case), case.is_distant());
            let record = record.with_identities(&finding.identities).with_tunnels(self.ledger.claims());
            record.with_joins(&inner, outer.as_ref()).under(self.bench.pseudonyms.as_ref())
        });
        record.map_or(Ok(()), |record| lines.write(&record))
    }

    /// Keeps the run for later ones.
    fn keep(&self, told: &[(Finding, Option<Place>)]) -> anyhow::Result<()> {
        let Some(history) = self.bench.history.as_ref().filter(|_| self.whole) else { return Ok(()) };
        let findings: Vec<&Finding> = told.iter().map(|(finding, _)| finding).collect();
        history.keep_all(self.ledger, &findings, |address, account| {
            self.bench.days_of(self.ledger, address, account, &self.ledger.inner_of(address))
        })
    }

    /// Sessions in order of their start; the server's name, known only now, is added to each.
    fn sessions_file(&self, records: Vec<Records>) -> anyhow::Result<()> {
        let Some(dir) = &self.config.out else { return Ok(()) };
        if self.live {
            return Ok(());
        }
        let mut out = create(dir, "sessions.jsonl")?;
        let spools = records
            .into_iter()
            .filter_map(|records| match records.sessions {
                Sessions::Spooled(spool) => Some(spool),
                _ => None,
            })
            .collect();
        merge(spools, |key, line| {
            match (self.ledger.name_of(key.server), line.strip_suffix(b"}")) {
                (Some(name), Some(open)) => {
                    out.write_all(open)?;
                    write!(out, ",\"server_name\":{}}}", serde_json::Value::String(name))?;
                }
                _ => out.write_all(line)?,
            }
            out.write_all(b"\n")
        })
        .context("can't write sessions.jsonl")?;
        out.flush().context("can't write sessions.jsonl")
    }

    /// Who is said to have been where.
    fn identities_file(&self) -> anyhow::Result<()> {
        let Some(dir) = &self.config.out else { return Ok(()) };
        let mut lines = JsonLines::new(create(dir, "identities.jsonl")?);
        for stay in self.ledger.claims().in_order() {
            lines.write(&IdentityRecord::of(&stay))?;
        }
        lines.flush().context("can't write identities.jsonl")
    }

    fn findings_file(&self, told: &[(Finding, Option<Place>)]) -> anyhow::Result<()> {
        let Some(dir) = &self.config.out else { return Ok(()) };
        let mut lines = JsonLines::new(create(dir, "findings.jsonl")?);
        for (finding, _) in told {
            lines.write(&FindingRecord::of(finding))?;
        }
        lines.flush().context("can't write findings.jsonl")
    }

    fn stdout(
        &self,
        told: &[(Finding, Option<Place>)],
        roster: &Roster,
        summary: &SummaryRecord<'_>,
    ) -> io::Result<()> {
        let stdout = BufWriter::new(io::stdout().lock());
        match self.config.format {
            Format::Jsonl => {
                let mut lines = JsonLines::new(stdout);
                if !self.live {
                    told.iter().try_for_each(|(finding, _)| lines.write(&FindingRecord::of(finding)))?;
                }
                lines.write(summary)?;
                lines.flush()
            }
            Format::Json => {
                let findings: Vec<FindingRecord<'_>> = told.iter().map(|(f, _)| FindingRecord::of(f)).collect();
                let mut out = stdout;
                let whole = serde_json::json!({ "findings": findings, "summary": summary });
                serde_json::to_writer_pretty(&mut out, &whole).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
                out.flush()
            }
            Format::Table => {
                let mut table = Table::new(stdout, look());
                if !self.live {
                    for (finding, place) in told {
                        print_finding(&mut table, self.ledger, self.bench, finding, place.as_ref())?;
                    }
                }
                table.roster(roster)?;
                for entry in &summary.allow {
                    let AllowRecord { entry, reason, owner, state } = entry;
                    table.line(&format!("Entry {entry} of the allow-list ({reason}; {owner}) is {state}."))?;
                }
                for line in &summary.attribution {
                    table.line(line)?;
                }
                table.line(&closing(summary, self.config.all))?;
                table.flush()
            }
        }
    }

    /// Entries of the allow-list that need a look: expired ones that would have covered something, unused ones.
    fn allow_records(&self) -> Vec<AllowRecord> {
        let state = |usage: &AllowUse| match (usage.used, usage.expired) {
            (_, 1..) => Some("expired"),
            (0, _) => Some("unused"),
            _ => None,
        };
        let uses = self.bench.notes.get().allow.uses().into_iter();
        uses.filter_map(|usage| {
            let state = state(&usage)?;
            Some(AllowRecord { entry: usage.number, reason: usage.reason, owner: usage.owner, state })
        })
        .collect()
    }

    fn summary<'a>(&self, sessions: u64, roster: &'a Roster, judged: &Judged) -> SummaryRecord<'a> {
        let totals = &self.totals;
        let seconds = self.began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = if seconds > 0.0 { totals.frames as f64 / seconds } else { 0.0 };
        let kernel: u64 = self.inputs.iter().filter_map(|i| i.kernel_dropped).sum();
        SummaryRecord {
            kind: "summary",
            schema: 1,
            inputs: self.inputs.iter().map(input_record).collect(),
            frames: FramesRecord {
                read: totals.frames,
                decoded: totals.decoded,
                not_understood: totals.not_understood.clone(),
            },
            flows: totals.workers.flows,
            sessions,
            recognised: roster.iter().map(RecognisedRecord::of).collect(),
            endpoints: judged.endpoints,
            findings: judged.findings,
            suppressed: judged.suppressed,
            allow: self.allow_records(),
            attribution: self.bench.attribution.clone(),
            verdicts: judged.verdicts.clone(),
            evicted: BTreeMap::from([
                ("flows", totals.workers.evicted),
                ("endpoints", self.forgotten.endpoints),
                ("names", self.forgotten.names),
                ("claims", self.forgotten.claims),
            ]),
            dropped: BTreeMap::from([
                ("kernel", kernel),
                ("ledger", self.ledger.turned_away()),
                ("volumes", self.ledger.volumes_turned_away()),
                ("claims", self.ledger.claims().turned_away()),
            ]),
            duplicates: totals.workers.duplicates,
            time_backwards: totals.time_backwards,
            seconds: (seconds * 1e3).round() / 1e3,
            packets_per_second: rate.round(),
            version: env!("CARGO_PKG_VERSION"),
            config: self.config.effective.clone(),
        }
    }
}

/// The terminal's look.
pub(super) fn look() -> Look {
    let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    Look { colour, ..Look::default() }
}

/// One finding as a block.
pub(super) fn print_finding<W: Write>(
    table: &mut Table<W>,
    ledger: &Ledger,
    bench: &Bench,
    finding: &Finding,
    place: Option<&Place>,
) -> io::Result<()> {
    let inner = ledger.inner_of(finding.endpoint);
    let told = ledger.look(finding.endpoint, |account| {
        let longer = bench.longer(ledger, finding.endpoint, account);
        let account = longer.as_ref().map_or(account, |longer| &longer.account);
        table.finding(finding, account, &inner, place, expected_ms(account, place, &bench.site))
    });
    told.unwrap_or(Ok(()))
}

fn input_record(input: &InputReport) -> InputRecord {
    InputRecord {
        path: input.path.clone(),
        frames: input.frames,
        bytes: input.bytes,
        start: input.start.map(rfc3339),
        end: input.end.map(rfc3339),
        error: input.error.as_ref().map(|e| ErrorRecord { offset: e.offset, reason: e.reason.clone() }),
    }
}

/// The last line of the table.
fn closing(summary: &SummaryRecord<'_>, all: bool) -> String {
    let plural = |n: u64, one: &str, many: &str| format!("{} {}", commas(n), if n == 1 { one } else { many });
    let of = |verdict: Verdict| summary.verdicts.get(verdict.name()).copied().unwrap_or(0);
    let mut text = format!(
        "{} in {} ({} clear, {} can't be told), {}, {}, {:.1} s.",
        plural(summary.findings, "finding", "findings"),
        plural(summary.endpoints, "endpoint", "endpoints"),
        commas(of(Verdict::Clear)),
        commas(of(Verdict::Insufficient)),
        plural(summary.sessions, "session", "sessions"),
        plural(summary.frames.read, "frame", "frames"),
        summary.seconds,
    );
    if summary.suppressed > 0 {
        let _ = write!(text, " {} suppressed by the allow-list.", plural(summary.suppressed, "finding", "findings"));
    }
    let broken = summary.inputs.iter().filter(|i| i.error.is_some()).count();
    if broken > 0 {
        text.push_str(&match summary.inputs.len() {
            1 => " The input could not be read to its end.".to_owned(),
            all => format!(" {broken} of {all} inputs could not be read to their end."),
        });
    }
    if !all && summary.endpoints > summary.findings {
        text.push_str(" --all tells of the others, too.");
    }
    text
}

//! `--state`: what earlier runs saw of an endpoint is added to what this one sees, and this one is kept for later ones.
//!
//! Reads and writes: the store. Emits: longer accounts. A run's captures are known again by their times and frames, so
//! that what is analysed twice counts once. Does not: judge.

use super::Wrong;
use crate::base::{Identity, Timestamp};
use crate::cli::RunConfig;
use crate::evidence::{Account, DayJudged, Finding, Ledger};
use crate::intel::Pseudonyms;
use crate::source::InputReport;
use crate::state::{Batch, Origin, Past, StateError, Store, day_of};
use anyhow::Context as _;
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Days of capture time that count where `retention` says nothing: five weeks, as many hours as an account keeps.
const DAYS: i64 = 35;
/// Endpoints whose past is kept in memory between two looks at them.
const READ: usize = 4_096;
/// Endpoints written in one transaction while a watch goes on: others wait for it.
const BATCH: usize = 1_000;

/// An endpoint on a day.
type Moment = (IpAddr, i64);

/// The store, and what this run is in it.
#[derive(Debug)]
pub(super) struct History {
    store: Store,
    days: i64,
    pseudonyms: Option<Pseudonyms>,
    own: Mutex<Own>,
    read: Mutex<HashMap<Moment, Option<Arc<Past>>>>,
    failed: AtomicBool,
}

/// What of a run that goes on is not in the store yet.
#[derive(Debug, Default)]
pub(super) struct Unkept {
    pub(super) endpoints: BTreeSet<IpAddr>,
    /// Days of those, as they were judged last.
    pub(super) days: BTreeMap<IpAddr, Vec<DayJudged>>,
    pub(super) findings: Vec<Finding>,
    /// Stays heard of since then.
    pub(super) since: Timestamp,
}

/// This run's place in the store.
#[derive(Debug, Default, Clone)]
struct Own {
    origin: Option<Origin>,
    /// Sources that share inputs with this run, and itself: not its past.
    same: Vec<i64>,
    /// Sources that it stands in the place of.
    replaced: Vec<i64>,
}

/// An account with what was seen before.
#[derive(Debug)]
pub(super) struct Longer {
    pub(super) account: Account,
    /// Who was said to be there, then.
    pub(super) people: Vec<Arc<Identity>>,
}

impl History {
    /// Opens the store, if there is to be one.
    pub(super) fn open(config: &RunConfig, pseudonyms: Option<&Pseudonyms>) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(path) = &config.state else { return Ok(None) };
        let store = Store::open(path).map_err(|error| Wrong(format!("--state: {error}")))?;
        let kept = config.retention.map(|kept| i64::try_from(kept.as_secs() / 86_400).unwrap_or(i64::MAX));
        Ok(Some(Arc::new(Self {
            store,
            days: kept.unwrap_or(DAYS),
            pseudonyms: pseudonyms.cloned(),
            own: Mutex::default(),
            read: Mutex::default(),
            failed: AtomicBool::new(false),
        })))
    }

    fn own(&self) -> Own {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what this run is: who shares inputs with it is not its past.
    pub(super) fn begin(&self, origin: Origin) -> anyhow::Result<()> {
        let overlap = self.store.overlap(&origin).context("--state")?;
        let mut own = Own { same: overlap.shared.clone(), ..Own::default() };
        if overlap.wider.is_empty() && !origin.inputs.is_empty() {
            own.origin = Some(origin);
            own.replaced = overlap.shared;
        } else {
            for name in &overlap.wider {
                tracing::warn!(
                    "--state: \"{name}\" holds inputs of this run and others: it is not counted in, and this run not kept"
                );
            }
        }
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = own;
        Ok(())
    }

    /// Gives this run its number now, so that nothing it writes is taken for its past while it goes on.
    pub(super) fn register(&self) -> anyhow::Result<()> {
        self.write(|_, _| Ok(())).context("--state")
    }

    /// An account with what other runs saw of the endpoint, if they saw anything.
    pub(super) fn longer(&self, address: IpAddr, account: &Account) -> Option<Longer> {
        let past = self.past((address, day_of(account.last_seen?)))?;
        let mut longer = past.account.clone();
        longer.merge(account.clone());
        let people = past.people.iter().map(|(identity, pseudonym)| {
            let mut identity = identity.clone();
            if let (Some(pseudonyms), false) = (&self.pseudonyms, pseudonym) {
                identity.name = pseudonyms.of(&identity.name);
            }
            Arc::new(identity)
        });
        Some(Longer { people: people.collect(), account: longer })
    }

    /// The days of an endpoint that other runs kept.
    pub(super) fn days(&self, address: IpAddr, account: &Account) -> Vec<DayJudged> {
        let past = account.last_seen.and_then(|last| self.past((address, day_of(last))));
        past.map_or_else(Vec::new, |past| past.days.clone())
    }

    /// On the days before and after that count: the order in which captures are analysed doesn't matter.
    fn past(&self, moment: Moment) -> Option<Arc<Past>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(&moment) {
            return known.clone();
        }
        let (address, day) = moment;
        let days = (day.saturating_sub(self.days), day.saturating_add(self.days));
        let past = self.store.past(address, days, &self.own().same).unwrap_or_else(|error| {
            if !self.failed.swap(true, Ordering::Relaxed) {
                tracing::warn!("--state: {error}; judged without what it holds");
            }
            None
        });
        if read.len() >= READ {
            read.clear();
        }
        read.entry(moment).or_insert(past.map(Arc::new)).clone()
    }

    /// Keeps what is new of a run that goes on.
    pub(super) fn keep(&self, ledger: &Ledger, new: &Unkept) -> Result<(), StateError> {
        self.write(|batch, source| {
            new.findings.iter().try_for_each(|finding| batch.finding(source, finding))?;
            self.stays(batch, source, ledger, new.since)
        })?;
        let endpoints: Vec<IpAddr> = new.endpoints.iter().copied().collect();
        for some in endpoints.chunks(BATCH) {
            self.write(|batch, source| {
                some.iter().try_for_each(|address| {
                    let account = ledger.look(*address, Account::clone);
                    let days = new.days.get(address).map_or(&[][..], Vec::as_slice);
                    account.map_or(Ok(()), |account| put(batch, source, ledger, (*address, &account, days)))
                })
            })?;
        }
        Ok(())
    }

    /// Keeps all of a run, as one: nothing of it or all.
    pub(super) fn keep_all(
        &self,
        ledger: &Ledger,
        findings: &[&Finding],
        days: impl Fn(IpAddr, &Account) -> Vec<DayJudged>,
    ) -> anyhow::Result<()> {
        let kept = self.write(|batch, source| {
            let mut done = Ok(());
            ledger.for_each(|address, account| {
                if done.is_ok() {
                    done = put(batch, source, ledger, (address, account, &days(address, account)));
                }
            });
            done?;
            findings.iter().try_for_each(|finding| batch.finding(source, finding))?;
            self.stays(batch, source, ledger, Timestamp::MIN)?;
            batch.forget(source, self.days)
        });
        kept.context("--state: this run is not kept")
    }

    fn stays(&self, batch: &Batch<'_>, source: i64, ledger: &Ledger, since: Timestamp) -> Result<(), StateError> {
        let stays = ledger.claims().heard_since(since);
        stays.iter().try_for_each(|stay| batch.stay(source, stay, self.pseudonyms.is_some()))
    }

    /// Writes under this run's source, which from then on is not its past.
    fn write(&self, f: impl FnOnce(&Batch<'_>, i64) -> Result<(), StateError>) -> Result<(), StateError> {
        let own = self.own();
        let Some(origin) = &own.origin else { return Ok(()) };
        let source = self.store.write(|batch| {
            batch.drop_sources(&own.replaced)?;
            let source = batch.source(origin)?;
            f(batch, source)?;
            Ok(source)
        })?;
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.replaced.clear();
        if !own.same.contains(&source) {
            own.same.push(source);
        }
        Ok(())
    }
}

/// Not what nothing can be told of, and not what is inside a tunnel: those addresses are given to one today and to
/// another tomorrow.
fn put(
    batch: &Batch<'_>,
    source: i64,
    ledger: &Ledger,
    (address, account, days): (IpAddr, &Account, &[DayJudged]),
) -> Result<(), StateError> {
    if account.tells() && ledger.joins().of_inner(address).is_none() {
        batch.account(source, address, account)?;
        batch.days(source, address, days)?;
    }
    Ok(())
}

/// The source that a set of captures is.
pub(super) fn of_captures(reports: &[InputReport]) -> Origin {
    let read = reports.iter().filter(|report| report.frames > 0);
    let inputs: BTreeSet<u64> = read.map(|report| hash(&[report.start, report.end], report.frames)).collect();
    let inputs: Vec<u64> = inputs.into_iter().collect();
    let whole: Vec<u8> = inputs.iter().flat_map(|input| input.to_be_bytes()).collect();
    let name = format!("captures {:016x}: {} read", first(&whole), inputs.len());
    Origin { name, inputs }
}

/// The source that a watch is: each is its own, because what the one before saw is not in its memory.
pub(super) fn of_watch(place: &str, began: Timestamp) -> Origin {
    let name = format!("watch of {place} since {}", crate::sink::rfc3339(began));
    let inputs = vec![first(format!("{place} {}", began.nanos()).as_bytes())];
    Origin { name, inputs }
}

/// Of times and frames, not of the bytes of the file: compressed or not, it is the same capture.
fn hash(times: &[Option<Timestamp>], frames: u64) -> u64 {
    let times = times.iter().map(|at| at.unwrap_or_default().nanos().to_be_bytes());
    let all: Vec<u8> = times.chain([frames.to_be_bytes()]).flatten().collect();
    first(&all)
}

/// The first eight bytes of SHA-256: the same in every version and on every machine.
fn first(bytes: &[u8]) -> u64 {
    digest(&SHA256, bytes).as_ref().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

//! Files of the user that may change while a watch runs: databases of places, lists, homes, identities, a baseline,
//! the allow-list.
//!
//! A thread of its own looks at them every few seconds and when SIGHUP asks, reads what has changed, and puts it in the
//! old one's place; what can't be used is told with the reason, and the old one stays. Nothing waits for it: whoever
//! judges takes what is there. Does not: take back who was said to be where, or change what the command line named.

use super::report::{Bench, claim_hash};
use crate::base::Located;
use crate::cli::{RunArgs, RunConfig};
use crate::evidence::Ledger;
use crate::intel::{Homes, PlacePart, read_growing_roll};
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time between two looks at the flags.
const NAP: Duration = Duration::from_millis(100);

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Place(PlacePart),
    /// A folder of imported lists.
    Intel,
    Homes,
    Identities,
    Baseline,
    Allow,
}

impl Role {
    const fn option(self) -> &'static str {
        match self {
            Self::Place(PlacePart::Csv) => "--geo-csv",
            Self::Place(PlacePart::City) => "--geo-city",
            Self::Place(PlacePart::Asn) => "--geo-asn",
            Self::Place(PlacePart::Kind(_)) => "--geo-kind",
            Self::Intel => "--intel",
            Self::Homes => "--homes",
            Self::Identities => "--identities",
            Self::Baseline => "--baseline",
            Self::Allow => "--config",
        }
    }
}

/// What tells one state of a file from another: modification time, length, where it lies on the disk.
type Stamp = (i64, i64, u64, u64);

/// A file, and its state when it was last read and last looked at.
#[derive(Debug)]
struct File {
    role: Role,
    path: PathBuf,
    read: Vec<Option<Stamp>>,
    seen: Vec<Option<Stamp>>,
}

impl File {
    fn new(role: Role, path: &Path) -> Self {
        let mut file = Self { role, path: path.to_owned(), read: Vec::new(), seen: Vec::new() };
        file.read = file.stamps();
        file.seen.clone_from(&file.read);
        file
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        let of = |path: &Path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.mtime(), about.mtime_nsec(), about.len(), about.ino()))
        };
        match self.role {
            Role::Intel => super::intel::TABLES.iter().map(|name| of(&self.path.join(name))).collect(),
            _ => vec![of(&self.path)],
        }
    }

    /// Whether it is to be read again: it has changed, and is not being written any more. A log that grows is never
    /// still; of that only whole lines are taken.
    fn is_due(&mut self) -> bool {
        let now = self.stamps();
        let still = now == self.seen || self.role == Role::Identities;
        self.seen.clone_from(&now);
        let due = still && now != self.read;
        if due {
            self.read = now;
        }
        due
    }
}

/// The thread that looks after the files. Ends with the value.
#[derive(Debug)]
pub(super) struct Reloader {
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The files of a configuration, as they are before they are read for the first time.
#[derive(Debug)]
pub(super) struct Files(Vec<File>);

impl Files {
    pub(super) fn of(config: &RunConfig) -> Self {
        let (csv, city, asn) = &config.geo;
        let parts = [(PlacePart::Csv, csv), (PlacePart::City, city), (PlacePart::Asn, asn)];
        let mut files: Vec<File> = Vec::new();
        files.extend(parts.iter().filter_map(|(part, path)| Some(File::new(Role::Place(*part), path.as_deref()?))));
        let kinds = config.geo_kind.iter().enumerate();
        files.extend(kinds.map(|(i, path)| File::new(Role::Place(PlacePart::Kind(i)), path)));
        files.extend(config.identities.0.iter().map(|path| File::new(Role::Identities, path)));
        let others = [
            (Role::Intel, &config.intel),
            (Role::Homes, &config.homes),
            (Role::Baseline, &config.baseline),
            (Role::Allow, &config.file),
        ];
        files.extend(others.iter().filter_map(|(role, path)| Some(File::new(*role, path.as_deref()?))));
        Self(files)
    }

    /// Looks after them from now on; `asked` is raised by a signal. `said` are the claims that the ledger has.
    pub(super) fn watch(
        self,
        bench: &Arc<Bench>,
        ledger: &Arc<Ledger>,
        (said, year): (HashSet<u64>, Option<i16>),
        asked: Arc<AtomicBool>,
    ) -> std::io::Result<Reloader> {
        let ended = Arc::new(AtomicBool::new(false));
        let mut desk = Desk { bench: Arc::clone(bench), ledger: Arc::clone(ledger), said, year };
        let stop = Arc::clone(&ended);
        let mut files = self.0;
        let work = move || {
            let mut waited = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(NAP);
                waited += NAP;
                let all = asked.swap(false, Ordering::Relaxed);
                if all || waited >= LOOK_EVERY {
                    waited = Duration::ZERO;
                    files.iter_mut().for_each(|file| desk.look(file, all));
                }
            }
        };
        let thread = thread::Builder::new().name("reload".to_owned()).spawn(work)?;
        Ok(Reloader { ended, thread: Some(thread) })
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It holds nothing that a panic could have left half done.
            let _ = thread.join();
        }
    }
}

/// Where what was read goes.
struct Desk {
    bench: Arc<Bench>,
    ledger: Arc<Ledger>,
    /// Hashes of the claims of files that the ledger has.
    said: HashSet<u64>,
    year: Option<i16>,
}

impl Desk {
    fn look(&mut self, file: &mut File, asked: bool) {
        if !file.is_due() && !asked {
            return;
        }
        let (option, path) = (file.role.option(), file.path.display());
        match self.read(file) {
            Ok(()) => tracing::info!("{option} {path}: read again"),
            Err(error) => tracing::error!("{option}: {error}; what was read before stays in use"),
        }
    }

    fn read(&mut self, file: &File) -> anyhow::Result<()> {
        let path = &file.path;
        match file.role {
            Role::Place(part) => self.bench.known.renew(|known| {
                known.places = known.places.with(part, path)?;
                Ok(())
            }),
            Role::Intel => {
                let (tools, lists) = super::intel::read(path)?;
                self.bench.notes.renew(|notes| {
                    notes.tools = Arc::new(tools);
                    Ok(())
                })?;
                self.bench.known.renew(|known| {
                    known.places = known.places.clone().with_lists(lists);
                    Ok(())
                })
            }
            Role::Homes => {
                let homes = Homes::open(path, self.bench.pseudonyms.as_ref())?;
                self.bench.known.renew(|known| {
                    known.homes = Arc::new(homes);
                    Ok(())
                })
            }
            Role::Identities => {
                let roll = read_growing_roll(path, self.year)?;
                let new: Vec<Located> =
                    roll.claims.into_iter().filter(|located| self.said.insert(claim_hash(located))).collect();
                new.into_iter().for_each(|located| self.ledger.on_claim(located));
                Ok(())
            }
            Role::Baseline => {
                let baseline = super::baseline::open_for(path, self.bench.site.location)?;
                self.bench.baseline.renew(|known| {
                    *known = Some(Arc::new(baseline));
                    Ok(())
                })
            }
            Role::Allow => {
                let entries = RunArgs::load(path)?.allow;
                let pseudonyms = self.bench.pseudonyms.as_ref();
                self.bench.notes.renew(|notes| {
                    notes.allow = Arc::new(notes.allow.replaced_by(entries, pseudonyms));
                    Ok(())
                })
            }
        }
    }
}

//! Where the workers' output goes: samples and names to the ledger, session records to a spool or straight to a file.

use crate::base::Timestamp;
use crate::evidence::Ledger;
use crate::intel::{AllowEntry, AllowList, Pseudonyms, Tools};
use crate::pipeline::Outlet;
use crate::session::{Ended, Join, News, Roster, Session};
use crate::sink::{Key, SessionRecord, Spool};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A file that all workers write lines to, in the order they come.
pub(super) type SharedFile = Arc<Mutex<BufWriter<File>>>;
/// Where the flows of one session meet, from whichever worker; few flows are linked to others.
pub(super) type SharedJoin = Arc<Mutex<Join>>;

/// What becomes of session records.
#[derive(Debug)]
pub(super) enum Sessions {
    /// Only counted.
    Counted,
    /// Sorted, written at the end (captures).
    Spooled(Spool),
    /// Written as they end (live).
    Streamed(SharedFile),
}

impl Sessions {
    fn write(&mut self, session: &Session, notes: &Notes, ledger: &Ledger) {
        let record = || {
            let allowed = notes.allowed(session, ledger);
            let record = SessionRecord::of(session).with_tools(session, &notes.tools);
            record.allowed_by(allowed).under(notes.pseudonyms.as_ref())
        };
        match self {
            Self::Counted => {}
            Self::Spooled(spool) => {
                let record = record();
                let id = u64::from_str_radix(record.id(), 16).unwrap_or(0);
                let key = Key { start: session.start.nanos(), id, server: session.tuple.resp.ip };
                // Serializing these shapes to memory can't fail.
                spool.push(key, |out| drop(serde_json::to_writer(out, &record)));
            }
            Self::Streamed(file) => {
                let mut line = serde_json::to_vec(&record()).unwrap_or_default();
                line.push(b'\n');
                if let Ok(mut file) = file.lock()
                    && let Err(error) = file.write_all(&line)
                {
                    tracing::error!(%error, "sessions.jsonl can't be written");
                }
            }
        }
    }
}

/// What the user's files add to a record.
#[derive(Debug, Default, Clone)]
pub(super) struct Notes {
    /// Remote tools by host name, imported.
    pub(super) tools: Arc<Tools>,
    /// What is known to be all right.
    pub(super) allow: Arc<AllowList>,
    /// Names go out as these only.
    pub(super) pseudonyms: Option<Pseudonyms>,
}

/// A value that all read and that one may put another in the place of. Whoever reads keeps what he has got.
#[derive(Debug, Default)]
pub(super) struct Current<T>(RwLock<Arc<T>>);

impl<T: Clone> Current<T> {
    pub(super) fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// What it is now.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes another one of it, or leaves it as it is. Only one thread may do that, else the work of one would be lost.
    pub(super) fn renew(&self, change: impl FnOnce(&mut T) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut value = (*self.get()).clone();
        change(&mut value)?;
        let old = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), Arc::new(value));
        // Not while the lock is held: it may be large.
        drop(old);
        Ok(())
    }
}

impl Notes {
    /// The entry of the allow-list that covers a session of a tool.
    fn allowed(&self, session: &Session, ledger: &Ledger) -> Option<&AllowEntry> {
        if self.allow.is_empty() {
            return None;
        }
        let names: Vec<&str> = [session.protocol, session.application].into_iter().flatten().collect();
        [session.tuple.orig.ip, session.tuple.resp.ip].into_iter().find_map(|address| {
            let identities = ledger.claims().between(address, session.start, session.end);
            let identities: Vec<&str> = identities.iter().map(|identity| identity.name.as_str()).collect();
            self.allow.of_session(&names, address, &identities, session.end)
        })
    }
}

/// One worker's output.
#[derive(Debug)]
pub(super) struct WorkerOutlet {
    pub(super) records: Records,
    join: SharedJoin,
}

/// Session records on their way out, and what was counted of them.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) sessions: Sessions,
    pub(super) count: u64,
    pub(super) roster: Roster,
    notes: Arc<Current<Notes>>,
    ledger: Arc<Ledger>,
}

impl Records {
    pub(super) fn new(sessions: Sessions, notes: &Arc<Current<Notes>>, ledger: &Arc<Ledger>) -> Self {
        let (notes, ledger) = (Arc::clone(notes), Arc::clone(ledger));
        Self { sessions, count: 0, roster: Roster::default(), notes, ledger }
    }

    fn add(&mut self, session: &Session) {
        self.count += 1;
        self.roster.add(session);
        self.sessions.write(session, &self.notes.get(), &self.ledger);
    }

    /// Takes in the sessions of several flows: all that wait, or those that are over by `now`.
    pub(super) fn add_joined(&mut self, join: &SharedJoin, now: Option<Timestamp>) {
        let ready = {
            let mut join = join.lock().unwrap_or_else(PoisonError::into_inner);
            match now {
                Some(now) => join.settled(now),
                None => std::mem::take(&mut *join).finish(),
            }
        };
        ready.iter().for_each(|session| self.add(session));
    }
}

impl WorkerOutlet {
    pub(super) fn new(join: &SharedJoin, records: Records) -> Self {
        Self { join: Arc::clone(join), records }
    }
}

impl Outlet for WorkerOutlet {
    fn ended(&mut self, ended: Ended) {
        self.records.ledger.on_session(&ended.session, ended.fresh(), ended.lag);
        let single = if ended.session.links.is_empty() {
            Some(ended.session)
        } else {
            self.join.lock().unwrap_or_else(PoisonError::into_inner).add(ended.session)
        };
        if let Some(session) = single {
            self.records.add(&session);
        }
    }

    fn news(&mut self, news: News<'_>) {
        match news {
            News::Samples { flow, story, fresh, lag } => self.records.ledger.on_samples(flow, story, fresh, lag),
            News::Name { at, address, name } => self.records.ledger.on_name(at, address, name),
            News::Claim(located) => self.records.ledger.on_claim(located),
            // The worker has seen to these.
            News::Asked { .. } | News::Answered { .. } => {}
            News::Volumes { side, address, volumes } => self.records.ledger.on_volumes(side, address, volumes),
        }
    }
}

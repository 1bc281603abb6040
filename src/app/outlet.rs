//! Where the workers' output goes: samples and names to the ledger, session records to a spool or straight to a file.

use crate::base::Timestamp;
use crate::evidence::Ledger;
use crate::intel::Tools;
use crate::pipeline::Outlet;
use crate::session::{Ended, Join, News, Roster, Session};
use crate::sink::{Key, SessionRecord, Spool};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

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
    fn write(&mut self, session: &Session, tools: &Tools) {
        match self {
            Self::Counted => {}
            Self::Spooled(spool) => {
                let record = SessionRecord::of(session).with_tools(session, tools);
                let id = u64::from_str_radix(record.id(), 16).unwrap_or(0);
                let key = Key { start: session.start.nanos(), id, server: session.tuple.resp.ip };
                // Serializing these shapes to memory can't fail.
                spool.push(key, |out| drop(serde_json::to_writer(out, &record)));
            }
            Self::Streamed(file) => {
                let mut line =
                    serde_json::to_vec(&SessionRecord::of(session).with_tools(session, tools)).unwrap_or_default();
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

/// One worker's output.
#[derive(Debug)]
pub(super) struct WorkerOutlet {
    pub(super) ledger: Arc<Ledger>,
    pub(super) records: Records,
    join: SharedJoin,
}

/// Session records on their way out, and what was counted of them.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) sessions: Sessions,
    pub(super) count: u64,
    pub(super) roster: Roster,
    tools: Arc<Tools>,
}

impl Records {
    pub(super) fn new(sessions: Sessions, tools: &Arc<Tools>) -> Self {
        Self { sessions, count: 0, roster: Roster::default(), tools: Arc::clone(tools) }
    }

    fn add(&mut self, session: &Session) {
        self.count += 1;
        self.roster.add(session);
        self.sessions.write(session, &self.tools);
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
    pub(super) fn new(ledger: &Arc<Ledger>, join: &SharedJoin, records: Records) -> Self {
        Self { ledger: Arc::clone(ledger), join: Arc::clone(join), records }
    }
}

impl Outlet for WorkerOutlet {
    fn ended(&mut self, ended: Ended) {
        self.ledger.on_session(&ended.session, ended.fresh(), ended.lag);
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
            News::Samples { flow, story, fresh, lag } => self.ledger.on_samples(flow, story, fresh, lag),
            News::Name { at, address, name } => self.ledger.on_name(at, address, name),
            News::Claim(located) => self.ledger.on_claim(located),
        }
    }
}

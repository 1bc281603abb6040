//! Where the workers' output goes: samples and names to the ledger, session records to a spool or straight to a file.

use crate::evidence::Ledger;
use crate::pipeline::Outlet;
use crate::session::{Ended, News};
use crate::sink::{Key, SessionRecord, Spool};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex};

/// A file that all workers write lines to, in the order they come.
pub(super) type SharedFile = Arc<Mutex<BufWriter<File>>>;

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

/// One worker's output.
#[derive(Debug)]
pub(super) struct WorkerOutlet {
    pub(super) ledger: Arc<Ledger>,
    pub(super) sessions: Sessions,
    pub(super) count: u64,
}

impl Outlet for WorkerOutlet {
    fn ended(&mut self, ended: Ended) {
        self.count += 1;
        self.ledger.on_session(&ended.session, ended.fresh(), ended.lag);
        let session = &ended.session;
        match &mut self.sessions {
            Sessions::Counted => {}
            Sessions::Spooled(spool) => {
                let record = SessionRecord::of(session);
                let id = u64::from_str_radix(record.id(), 16).unwrap_or(0);
                let key = Key { start: session.start.nanos(), id, server: session.tuple.resp.ip };
                // Serializing these shapes to memory can't fail.
                spool.push(key, |out| drop(serde_json::to_writer(out, &record)));
            }
            Sessions::Streamed(file) => {
                let mut line = serde_json::to_vec(&SessionRecord::of(session)).unwrap_or_default();
                line.push(b'\n');
                if let Ok(mut file) = file.lock()
                    && let Err(error) = file.write_all(&line)
                {
                    tracing::error!(%error, "sessions.jsonl can't be written");
                }
            }
        }
    }

    fn news(&mut self, news: News<'_>) {
        match news {
            News::Samples { flow, story, fresh, lag } => self.ledger.on_samples(flow, story, fresh, lag),
            News::Name { at, address, name } => self.ledger.on_name(at, address, name),
        }
    }
}

//! Records out: JSON lines for machines, a table for people. One format a file.
//!
//! A leaf room: no sink imports another; they share the record shapes of `records`. Reads: sessions, findings,
//! accounts, counts. Does not: judge, or choose what is a finding.

mod jsonl;
mod pcapng;
mod records;
mod spool;
mod table;

pub use jsonl::JsonLines;
pub use pcapng::PcapNg;
pub use records::{
    AllowRecord, EndpointRecord, ErrorRecord, FindingRecord, FramesRecord, IdentityRecord, InputRecord,
    RecognisedRecord, SessionRecord, SummaryRecord, Verdicts, rfc3339,
};
pub use spool::{Key, Spool, merge};
pub use table::{Look, Table};

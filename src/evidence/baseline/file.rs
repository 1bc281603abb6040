//! A baseline as a file: a line that says what it is, and a line that holds it.
//!
//! The first line has the digest of the second, so that a file that was cut, damaged or edited is told from a sound one.
//! Reads and emits: bytes. Does not: open files.

use super::{Baseline, Learned, Origin, Signal, Spread, Staying};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the form.
const SCHEMA: u32 = 1;
/// Groups of a signal, and lengths of names, beyond which a file is none of ours.
const MOST_GROUPS: usize = 1_024;

/// Why a file is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It is something else.
    #[error("is no baseline that `farmlight baseline learn` wrote")]
    Other,
    /// It was written by a newer version.
    #[error("is of a newer farmlight (schema {0}, this one knows {SCHEMA})")]
    Newer(u32),
    /// It is not as it was written.
    #[error("is damaged or was changed ({0}); learn it again")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    schema: u32,
    #[serde(default)]
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    origin: Origin,
    groups: BTreeMap<Signal, BTreeMap<String, Spread>>,
    staying: BTreeMap<Signal, Staying>,
    programs: BTreeMap<String, String>,
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Baseline {
    /// As bytes of a file.
    ///
    /// # Errors
    /// It can't be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let spreads = |groups: &BTreeMap<String, Learned>| {
            groups.iter().map(|(name, learned)| (name.clone(), learned.spread.clone())).collect()
        };
        let body = Body {
            origin: self.origin.clone(),
            groups: self.groups.iter().map(|(signal, groups)| (*signal, spreads(groups))).collect(),
            staying: self.staying.clone(),
            programs: self.programs.clone(),
        };
        let body = serde_json::to_vec(&body)?;
        let head = Head { kind: "baseline".to_owned(), schema: SCHEMA, sha256: hex(&body) };
        let mut bytes = serde_json::to_vec(&head)?;
        bytes.push(b'\n');
        bytes.extend(body);
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// From the bytes of a file.
    ///
    /// # Errors
    /// They are of something else, of a newer version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BaselineError> {
        let damaged = |why: &str| BaselineError::Damaged(why.to_owned());
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(BaselineError::Other)?;
        let (head, body) = bytes.split_at(end);
        let head: Head = serde_json::from_slice(head).map_err(|_| BaselineError::Other)?;
        if head.kind != "baseline" {
            return Err(BaselineError::Other);
        }
        if head.schema > SCHEMA {
            return Err(BaselineError::Newer(head.schema));
        }
        let body = body.trim_ascii();
        if head.schema != SCHEMA {
            return Err(damaged("it has no version"));
        }
        if hex(body) != head.sha256 {
            return Err(damaged("its digest is another"));
        }
        let body: Body = serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))?;
        let spreads = || body.groups.values().flat_map(BTreeMap::values);
        let few = body.groups.values().all(|groups| groups.len() <= MOST_GROUPS);
        if !few || !spreads().all(Spread::is_sound) || !body.staying.values().all(Staying::is_sound) {
            return Err(damaged("its numbers make no sense"));
        }
        let learned = |groups: BTreeMap<String, Spread>| {
            groups.into_iter().map(|(name, spread)| (name, Learned::new(spread))).collect()
        };
        Ok(Self {
            origin: body.origin,
            groups: body.groups.into_iter().map(|(signal, groups)| (signal, learned(groups))).collect(),
            staying: body.staying,
            programs: body.programs,
        })
    }
}

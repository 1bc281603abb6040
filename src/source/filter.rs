//! BPF filters over frames from files: the expressions of pcap-filter(7).
//!
//! Reads: an expression; later frames of any link type. Emits: whether a frame matches.
//! Does not: filter a live interface (there the kernel does it).
//! Each link type needs a program of its own, compiled by libpcap when its first frame comes and run by
//! [`Program`](super::bpf::Program).

use super::bpf::Program;
use super::dlt::dlt;
use crate::base::{Frame, LinkType};
use pcap::Capture;
use std::collections::HashMap;

/// A filter expression that is known to compile for some link type.
#[derive(Debug, Clone)]
pub struct Filter {
    expression: String,
    programs: HashMap<LinkType, Result<Program, String>>,
    /// The link type of the last frame and its program, so that the usual case looks nothing up.
    last: Option<(LinkType, Program)>,
}

/// An expression that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the filter `{expression}` does not compile: {reason}")]
pub struct FilterError {
    /// As it was typed.
    pub expression: String,
    /// What libpcap says.
    pub reason: String,
}

/// Link types that an expression may be made for, the usual one first; its complaint is the one to show.
const TRIED: [LinkType; 4] = [LinkType::ETHERNET, LinkType::RAW, LinkType::LINUX_SLL, LinkType(105)];

impl Filter {
    /// Compiles the expression, to tell early whether it is one.
    ///
    /// # Errors
    /// When it compiles for neither Ethernet, raw IP, Linux cooked nor Wi-Fi captures.
    pub fn new(expression: &str) -> Result<Self, FilterError> {
        let mut filter = Self { expression: expression.to_owned(), programs: HashMap::new(), last: None };
        let mut reason = None;
        for link in TRIED {
            match filter.compile(link) {
                Ok(program) => {
                    filter.programs.insert(link, Ok(program));
                    return Ok(filter);
                }
                Err(e) => {
                    reason.get_or_insert(e);
                }
            }
        }
        Err(FilterError { expression: filter.expression, reason: reason.unwrap_or_default() })
    }

    /// As it was typed.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Whether the frame matches.
    ///
    /// # Errors
    /// Why the expression means nothing for the frame's link type (`ether host` on raw IP).
    #[inline]
    pub fn matches(&mut self, frame: &Frame<'_>) -> Result<bool, &str> {
        match &self.last {
            Some((link, _)) if *link == frame.link => {}
            _ => self.last = self.program(frame.link),
        }
        match &self.last {
            Some((_, program)) => Ok(program.run(frame.bytes, frame.orig_len)),
            None => Err(self.complaint(frame.link)),
        }
    }

    #[cold]
    fn program(&mut self, link: LinkType) -> Option<(LinkType, Program)> {
        if !self.programs.contains_key(&link) {
            let compiled = self.compile(link);
            self.programs.insert(link, compiled);
        }
        let program = self.programs.get(&link)?.as_ref().ok()?;
        Some((link, program.clone()))
    }

    fn complaint(&self, link: LinkType) -> &str {
        match self.programs.get(&link) {
            Some(Err(reason)) => reason,
            _ => "",
        }
    }

    fn compile(&self, link: LinkType) -> Result<Program, String> {
        let compiled = Capture::dead(dlt(link)).and_then(|dead| dead.compile(&self.expression, true));
        compiled.map_err(|e| reason(&e)).and_then(|program| Program::new(&program))
    }
}

/// libpcap's own words.
pub(super) fn reason(e: &pcap::Error) -> String {
    match e {
        pcap::Error::PcapError(words) => words.clone(),
        other => other.to_string(),
    }
}

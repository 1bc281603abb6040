//! Flows that can't tell by themselves that they are part of a session, found by the company they keep.
//!
//! Reads: flows of one worker; both flows of a pair of addresses are always the same worker's. Emits: the link that the
//! join needs. Bounded: [`MAX_PAIRS`] pairs of addresses, after which no more are noted.

use crate::base::Link;
use crate::flow::Flow;
use crate::protocol::GATHERERS;
use crate::session::Session;
use std::collections::HashMap;
use std::net::IpAddr;

/// Pairs of addresses with a gathering flow.
const MAX_PAIRS: usize = 50_000;

/// Which sessions gather flows, by the addresses of both ends, lower first, and the server's port.
#[derive(Debug, Default)]
pub(super) struct Gather {
    kinds: HashMap<(IpAddr, IpAddr, u16), &'static str>,
}

impl Gather {
    /// A flow leads a session of this kind.
    pub(super) fn on_lead(&mut self, flow: &Flow, kind: &'static str) {
        if self.kinds.len() < MAX_PAIRS {
            let tuple = &flow.tuple;
            self.kinds.insert(key(tuple.orig.ip, tuple.resp.ip, tuple.resp.port), kind);
        }
    }

    /// Links a session that has ended to the one that gathers it.
    pub(super) fn on_end(&self, session: &mut Session) {
        let Some(protocol) = session.protocol.filter(|_| !self.kinds.is_empty()) else { return };
        let tuple = &session.tuple;
        let Some(kind) = self.kinds.get(&key(tuple.orig.ip, tuple.resp.ip, tuple.resp.port)) else { return };
        if GATHERERS.iter().any(|(gatherer, gathered)| gatherer == kind && *gathered == protocol) {
            session.links.push(Link::Pair(kind));
        }
    }
}

fn key(a: IpAddr, b: IpAddr, port: u16) -> (IpAddr, IpAddr, u16) {
    (a.min(b), a.max(b), port)
}

//! One worker's counts of what passes at tunnels and at addresses that may be inside one.
//!
//! Reads: packets of flows that are candidates. Emits: [`News::Volumes`], when a meter is full, each minute and at the
//! end. Bounded: [`MAX_METERS`]; what is over is not counted. A flow that is no candidate costs one comparison.

use crate::base::{Direction, Ends, Timestamp, TunnelSide};
use crate::flow::Flow;
use crate::intel::Premises;
use crate::meter::VolumeMeter;
use crate::session::News;
use crate::wire::Packet;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Addresses counted at once.
const MAX_METERS: usize = 100_000;

/// Which meters count a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Metered {
    inner: Ends<Option<MeterId>>,
    outer: Option<MeterId>,
    /// Which end is the worker's, of a tunnel.
    responds: bool,
    asked: bool,
}

impl Metered {
    /// Whether no meter counts it, and it has been asked whether one should.
    const fn is_nothing(&self) -> bool {
        self.asked && self.outer.is_none() && self.inner.orig.is_none() && self.inner.resp.is_none()
    }

    /// Whether it is counted as a tunnel.
    pub(super) const fn is_tunnel(&self) -> bool {
        self.outer.is_some()
    }
}

/// The index of a meter and one more, so that none costs no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MeterId(NonZeroU32);

impl MeterId {
    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

#[derive(Debug)]
struct Counted {
    side: TunnelSide,
    address: IpAddr,
    meter: VolumeMeter,
    /// Flows that it counts.
    flows: u32,
}

/// The meters of one worker.
#[derive(Debug)]
pub(super) struct Volumes {
    premises: Arc<Premises>,
    index: HashMap<(TunnelSide, IpAddr), MeterId, RandomState>,
    meters: Vec<Option<Counted>>,
    free: Vec<MeterId>,
}

impl Volumes {
    pub(super) fn new(premises: Arc<Premises>) -> Self {
        Self { premises, index: HashMap::default(), meters: Vec::new(), free: Vec::new() }
    }

    /// A packet of a flow.
    pub(super) fn on_packet(
        &mut self,
        metered: &mut Metered,
        flow: &Flow,
        packet: &Packet<'_>,
        dir: Direction,
        news: &mut impl FnMut(News<'_>),
    ) {
        if metered.is_nothing() {
            return;
        }
        if !metered.asked {
            metered.asked = true;
            metered.inner = self.inside(flow);
        }
        let (at, len) = (packet.at, packet.ip_len);
        for end in [Direction::Orig, Direction::Resp] {
            if let Some(id) = *metered.inner.of(end) {
                self.count(id, at, dir == end, len, news);
            }
        }
        if let Some(id) = metered.outer {
            let worker = if metered.responds { Direction::Resp } else { Direction::Orig };
            self.count(id, at, dir == worker, len, news);
        }
    }

    /// A flow turns out to be a tunnel.
    pub(super) fn on_tunnel(&mut self, metered: &mut Metered, flow: &Flow) {
        // Of a tunnel seen from its middle the gateway may seem to be the one that opened it.
        let (orig, resp) = (flow.tuple.orig.ip, flow.tuple.resp.ip);
        let turned = self.premises.is_own(orig) && !self.premises.is_own(resp) && !self.premises.may_be_inner(orig);
        metered.responds = turned;
        metered.outer = self.join(TunnelSide::Outer, if turned { resp } else { orig });
    }

    /// A flow has ended, or was read the wrong way round.
    pub(super) fn on_end(&mut self, metered: Metered) {
        for id in [metered.inner.orig, metered.inner.resp, metered.outer].into_iter().flatten() {
            if let Some(Some(counted)) = self.meters.get_mut(id.index()) {
                counted.flows = counted.flows.saturating_sub(1);
            }
        }
    }

    /// Tells what has been counted, and drops the meters of addresses without flows.
    pub(super) fn flush(&mut self, news: &mut impl FnMut(News<'_>)) {
        for (id, slot) in (1u32..).filter_map(NonZeroU32::new).map(MeterId).zip(&mut self.meters) {
            let Some(counted) = slot else { continue };
            counted.tell(news);
            if counted.flows == 0 {
                self.index.remove(&(counted.side, counted.address));
                *slot = None;
                self.free.push(id);
            }
        }
    }

    /// The ends of a flow that may be inside a tunnel. Without a pool only who opens it: servers have such addresses,
    /// too.
    fn inside(&mut self, flow: &Flow) -> Ends<Option<MeterId>> {
        let (orig, resp) = (flow.tuple.orig.ip, flow.tuple.resp.ip);
        if resp.is_multicast() {
            return Ends::default();
        }
        let resp = if self.premises.has_pool() { self.inside_at(resp) } else { None };
        Ends { orig: self.inside_at(orig), resp }
    }

    fn inside_at(&mut self, address: IpAddr) -> Option<MeterId> {
        self.premises.may_be_inner(address).then(|| self.join(TunnelSide::Inner, address)).flatten()
    }

    fn join(&mut self, side: TunnelSide, address: IpAddr) -> Option<MeterId> {
        let address = address.to_canonical();
        let id = match self.index.get(&(side, address)) {
            Some(id) => *id,
            None => self.open(side, address)?,
        };
        if let Some(Some(counted)) = self.meters.get_mut(id.index()) {
            counted.flows += 1;
        }
        Some(id)
    }

    fn open(&mut self, side: TunnelSide, address: IpAddr) -> Option<MeterId> {
        let counted = Counted { side, address, meter: VolumeMeter::default(), flows: 0 };
        let id = if let Some(id) = self.free.pop() {
            *self.meters.get_mut(id.index())? = Some(counted);
            id
        } else if self.meters.len() < MAX_METERS {
            self.meters.push(Some(counted));
            MeterId(NonZeroU32::new(u32::try_from(self.meters.len()).ok()?)?)
        } else {
            return None;
        };
        self.index.insert((side, address), id);
        Some(id)
    }

    fn count(&mut self, id: MeterId, at: Timestamp, from_worker: bool, len: u32, news: &mut impl FnMut(News<'_>)) {
        let Some(Some(counted)) = self.meters.get_mut(id.index()) else { return };
        if !counted.meter.on_packet(at, from_worker, len) {
            counted.tell(news);
            let counted_now = counted.meter.on_packet(at, from_worker, len);
            debug_assert!(counted_now, "an empty meter has room");
        }
    }
}

impl Counted {
    fn tell(&mut self, news: &mut impl FnMut(News<'_>)) {
        let (side, address) = (self.side, self.address);
        self.meter.take(|volumes| news(News::Volumes { side, address, volumes }));
    }
}

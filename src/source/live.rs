//! A live interface through libpcap.
//!
//! Reads: an interface, promiscuously, with a filter in the kernel if one is given. Emits: frames with the kernel's
//! time stamps, and the time when the link is quiet. Does not: change the interface, look names up, or send.
//!
//! On Linux the timeout of libpcap starts with the first frame, so a read on an idle link may never return. Reads here
//! never block; when there is nothing, poll(2) waits on the capture's descriptor, but no longer than `QUIET`, so that the stop
//! flag is seen and time goes on. poll wakes with the first filled block: no sleep loop, no load on an idle link.

use super::dlt::link_type;
use super::filter::reason;
use super::{FilterError, InputFault, InputReport, Next, Source};
use crate::base::{Frame, LinkType, Timestamp};
use pcap::{Active, Capture, Device, Precision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// How the interface is captured.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// Its name.
    pub interface: String,
    /// A pcap-filter(7) expression that the kernel applies.
    pub filter: Option<String>,
    /// Bytes captured of a frame at most.
    pub snaplen: u32,
    /// Bytes the kernel buffers for us.
    pub buffer: u32,
    /// Whether frames to other stations are taken too: needed on a mirror port.
    pub promiscuous: bool,
    /// Ends the capture when it becomes true.
    pub stop: Arc<AtomicBool>,
}

impl LiveOptions {
    /// Whole frames, promiscuously, without a filter, through a buffer of 64 MiB.
    ///
    /// With that buffer libpcap lost none of 200,000 frames sent at once over loopback.
    #[must_use]
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            filter: None,
            snaplen: 262_144,
            buffer: 64 * 1024 * 1024,
            promiscuous: true,
            stop: Arc::default(),
        }
    }
}

/// Why an interface cannot be captured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The filter is not one, or not for this link type.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// There is no such interface.
    #[error("there is no interface `{name}`; there are: {}", known.join(", "))]
    NoInterface {
        /// As it was typed.
        name: String,
        /// The interfaces of this machine.
        known: Vec<String>,
    },
    /// The user may not capture.
    #[error(
        "not allowed to capture on `{name}` ({reason}); run as root, or once: setcap cap_net_raw,cap_net_admin=eip FILE"
    )]
    NotAllowed {
        /// The interface.
        name: String,
        /// What the system says.
        reason: String,
    },
    /// Anything else.
    #[error("cannot capture on `{name}`: {reason}")]
    Failed {
        /// The interface.
        name: String,
        /// What libpcap says.
        reason: String,
    },
}

/// A network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it is up.
    pub up: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
}

/// The network interfaces of this machine, in the order the system gives them.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    pnet::datalink::interfaces()
        .into_iter()
        .map(|i| Interface {
            addresses: i.ips.iter().map(|net| net.ip()).collect(),
            up: i.is_up(),
            loopback: i.is_loopback(),
            name: i.name,
        })
        .collect()
}

/// A capture that is running.
pub struct Live {
    capture: Capture<Active>,
    link: LinkType,
    /// Nanoseconds in one unit of the fraction of a time stamp.
    unit: i64,
    stop: Arc<AtomicBool>,
    /// The last read found nothing, so the next one waits.
    dry: bool,
    ended: bool,
    until_stats: u32,
    /// Waits in a row, modulo [`LOOK_AFTER`], that brought nothing.
    quiet: u32,
    /// libpcap's drop counter when it was last read; it has 32 bits and wraps.
    counter: u32,
    report: InputReport,
}

/// How long a quiet link is waited on before the time is told and the stop flag looked at.
const QUIET: Duration = Duration::from_millis(200);

/// How long the kernel may hold a frame back to fill a block. An idle link tells a time this much in the past, so that
/// no frame still in the kernel is overtaken.
const HOLD: Duration = Duration::from_millis(50);

/// The drop counter is read once in so many frames.
const STATS_EVERY: u32 = 1 << 20;

/// After so many quiet waits it is looked whether the interface is still there.
const LOOK_AFTER: u32 = 5;

impl Live {
    /// Starts a capture.
    ///
    /// # Errors
    /// When there is no such interface, the user may not capture, or the filter does not compile.
    pub fn open(options: LiveOptions) -> Result<Self, LiveError> {
        let LiveOptions { interface: name, filter, snaplen, buffer, promiscuous, stop } = options;
        let known: Vec<String> = interfaces().into_iter().map(|i| i.name).collect();
        if name != ANY && !known.contains(&name) {
            return Err(LiveError::NoInterface { name, known });
        }
        // Packet sockets have nanoseconds; elsewhere libpcap may refuse them, which its binding does not tell.
        let (precision, unit) =
            if cfg!(target_os = "linux") { (Precision::Nano, 1) } else { (Precision::Micro, 1_000) };
        let fail = |e: pcap::Error| LiveError::of(&name, &e);
        let capture = Capture::from_device(Device::from(name.as_str()))
            .map_err(fail)?
            .promisc(promiscuous && name != ANY)
            .snaplen(i32::try_from(snaplen).unwrap_or(i32::MAX))
            .buffer_size(i32::try_from(buffer).unwrap_or(i32::MAX))
            .timeout(i32::try_from(HOLD.as_millis()).unwrap_or(i32::MAX))
            .precision(precision)
            .open()
            .map_err(fail)?;
        let mut capture = capture.setnonblock().map_err(fail)?;
        if let Some(expression) = filter {
            capture.filter(&expression, true).map_err(|e| FilterError { expression, reason: reason(&e) })?;
        }
        let link = link_type(capture.get_datalink());
        let report = InputReport { path: name, kernel_dropped: Some(0), ..InputReport::default() };
        Ok(Self {
            capture,
            link,
            unit,
            stop,
            dry: false,
            ended: false,
            until_stats: STATS_EVERY,
            quiet: 0,
            counter: 0,
            report,
        })
    }

    /// The link type of the interface.
    #[must_use]
    pub const fn link(&self) -> LinkType {
        self.link
    }

    /// Waits for frames, for a while; `false` if none came.
    fn wait(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.capture.as_fd(), PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(QUIET.subsec_nanos()) };
        // A signal ends the wait early, which is as good as silence: the stop flag is looked at next.
        matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0)
    }

    /// Whether the interface was taken away while it was quiet. libpcap is told of that once, through an error pending
    /// on its socket, and another call may have taken that error: a quiet link would be watched for ever.
    fn is_gone(&mut self) -> bool {
        self.quiet = (self.quiet + 1) % LOOK_AFTER;
        self.quiet == 0 && self.report.path != ANY && !interfaces().iter().any(|i| i.name == self.report.path)
    }

    fn read_stats(&mut self) {
        self.until_stats = STATS_EVERY;
        if let Ok(stats) = self.capture.stats() {
            let counter = stats.dropped.wrapping_add(stats.if_dropped);
            let dropped = u64::from(counter.wrapping_sub(self.counter));
            self.counter = counter;
            self.report.kernel_dropped = Some(self.report.kernel_dropped.unwrap_or(0) + dropped);
        }
    }

    fn end(&mut self) -> Next<'static> {
        if !self.ended {
            self.read_stats();
            self.ended = true;
        }
        Next::End
    }
}

/// The name libpcap has for all interfaces together; it cannot be made promiscuous.
const ANY: &str = "any";

impl LiveError {
    fn of(name: &str, e: &pcap::Error) -> Self {
        let (name, reason) = (name.to_owned(), reason(e));
        let lower = reason.to_lowercase();
        if lower.contains("permission") || lower.contains("permitted") {
            return Self::NotAllowed { name, reason };
        }
        Self::Failed { name, reason }
    }
}

impl Source for Live {
    fn next(&mut self) -> Next<'_> {
        if self.ended || self.stop.load(Ordering::Relaxed) {
            return self.end();
        }
        if self.dry && !self.wait() {
            self.read_stats();
            if self.is_gone() {
                let reason = "The interface disappeared".to_owned();
                self.report.error = Some(InputFault { offset: self.report.bytes, reason });
                self.ended = true;
                return Next::End;
            }
            return Next::Idle(idle_time(self.report.end));
        }
        self.until_stats -= 1;
        if self.until_stats == 0 {
            self.read_stats();
        }
        match self.capture.next_packet() {
            Ok(packet) => {
                self.dry = false;
                let at = Timestamp::from_parts(packet.header.ts.tv_sec, packet.header.ts.tv_usec * self.unit);
                self.report.frames += 1;
                self.report.bytes += packet.data.len() as u64;
                self.report.start = Some(self.report.start.map_or(at, |t| t.min(at)));
                self.report.end = Some(self.report.end.map_or(at, |t| t.max(at)));
                Next::Frame(Frame { at, link: self.link, orig_len: packet.header.len, bytes: packet.data })
            }
            // The kernel's buffer is empty: everything up to the last frame has been given.
            Err(pcap::Error::TimeoutExpired) => {
                self.dry = true;
                Next::Idle(self.report.end.unwrap_or_else(|| idle_time(None)))
            }
            Err(e) => {
                let offset = self.report.bytes;
                self.report.error = Some(InputFault { offset, reason: reason(&e) });
                self.ended = true;
                Next::End
            }
        }
    }

    fn reports(&self) -> Vec<InputReport> {
        vec![self.report.clone()]
    }

    fn position(&self) -> u64 {
        self.report.bytes
    }
}

/// Now, less what the kernel may hold back, and never before a frame already given.
#[allow(clippy::disallowed_methods)] // The one clock of the program: a quiet live link brings no frame to tell the time.
fn idle_time(last: Option<Timestamp>) -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let settled = since.saturating_sub(HOLD + HOLD);
    let now = Timestamp::from_nanos(0).plus(settled);
    last.map_or(now, |last| last.max(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    /// A capture of the loopback, or nothing where that is not allowed.
    fn loopback(filter: &str) -> Option<Live> {
        let name = interfaces().into_iter().find(|i| i.loopback && i.up)?.name;
        match Live::open(LiveOptions { filter: Some(filter.to_owned()), ..LiveOptions::new(name) }) {
            Ok(live) => Some(live),
            Err(e @ (LiveError::NotAllowed { .. } | LiveError::Failed { .. })) => {
                println!("skipped: {e}");
                None
            }
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn frames_arrive_the_link_goes_quiet_and_stops() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        let Some(mut live) = loopback(&format!("udp port {}", to.port())) else { return };
        for _ in 0..100 {
            socket.send_to(b"hello live", to).unwrap();
        }
        let (mut frames, mut idle) = (0, None);
        while frames < 100 {
            match live.next() {
                Next::Frame(frame) => {
                    frames += 1;
                    assert!(frame.bytes.ends_with(b"hello live"));
                    assert!(idle.is_none_or(|t| t <= frame.at), "an idle time overtook a frame");
                }
                Next::Idle(t) => idle = Some(t),
                Next::End => panic!("ended"),
            }
        }
        let last = live.reports()[0].end.unwrap();
        // Two quiet waits and the read between them.
        let idles: Vec<_> = (0..4).map(|_| matches!(live.next(), Next::Idle(t) if t >= last)).collect();
        assert_eq!(idles, [true; 4]);
        live.stop.store(true, Ordering::Relaxed);
        assert!(matches!(live.next(), Next::End));
        let report = live.reports().remove(0);
        assert!(report.frames >= 100 && report.kernel_dropped == Some(0) && report.error.is_none(), "{report:?}");
    }

    #[test]
    fn a_person_can_act_on_the_errors() {
        let Err(error) = Live::open(LiveOptions::new("nope0")) else { panic!("opened") };
        assert!(error.to_string().starts_with("there is no interface `nope0`; there are: "), "{error}");
        let denied = pcap::Error::PcapError("socket: Operation not permitted".to_owned());
        assert!(LiveError::of("eth0", &denied).to_string().contains("setcap cap_net_raw"));
        let Some(live) = loopback("udp") else { return };
        let name = live.report.path.clone();
        let Err(error) = Live::open(LiveOptions { filter: Some("prot x".to_owned()), ..LiveOptions::new(name) }) else {
            panic!("opened")
        };
        assert!(matches!(error, LiveError::Filter(_)), "{error}");
    }
}

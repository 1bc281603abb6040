//! Prints every round trip of TCP in a capture, one a line, as the meters take it: for comparison with other tools.
//!
//!     cargo run --example rtt_samples -- FILE...
//!
//! Columns: client, its port, server, its port, side, method, when the loop closed and how long it took in microseconds,
//! the number that the closing segment acknowledges.

use farmlight::base::RttSample;
use farmlight::flow::{Flow, Table, Timeouts};
use farmlight::meter::{TcpData, TcpHandshake};
use farmlight::source::{Inputs, Memory};
use farmlight::wire::{Decoded, Decoder, Packet, TcpFlags, Transport};
use std::io::Write as _;
use std::path::PathBuf;

#[derive(Default)]
struct Meters {
    handshake: TcpHandshake,
    data: Option<TcpData>,
}

impl Meters {
    fn on_packet(
        &mut self,
        flow: &Flow,
        dir: farmlight::base::Direction,
        packet: &Packet<'_>,
        found: &mut impl FnMut(RttSample),
    ) {
        let Transport::Tcp(tcp) = packet.transport else { return };
        self.handshake.on_segment(packet.at, dir, &tcp).into_iter().for_each(&mut *found);
        let goes_on = packet.payload_len > 0 || (tcp.flags.has(TcpFlags::FIN) && !tcp.flags.has(TcpFlags::SYN));
        let (own, unheard) = (flow.ends.of(dir).packets, flow.ends.of(dir.flip()).packets == 0);
        let follows = if unheard { own == 1 && goes_on } else { goes_on || !flow.opening_seen };
        if self.data.is_none() && follows && !(unheard && flow.opening_seen) {
            self.data = Some(TcpData::new(flow.isn, flow.may_sack()));
        }
        if let Some(data) = &mut self.data {
            data.on_segment(packet.at, dir, &tcp, packet.payload_len, found);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let memory = Memory::collect(&mut Inputs::open(&files, None)?);
    let mut table = Table::<Meters>::new(1_000_000, Timeouts::default());
    let mut decoder = Decoder::default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for frame in memory.frames() {
        let Decoded::Packet(packet) = decoder.decode(&frame.frame()) else { continue };
        let touch = table.touch(&packet, packet.at, |_, _| {});
        let Some((flow, meters)) = table.pair_mut(touch.id).filter(|_| !touch.duplicate) else { continue };
        let (flow, mut lines) = (&*flow, Vec::new());
        meters.on_packet(flow, touch.dir, &packet, &mut |sample| lines.push(sample));
        let (client, server) = (flow.tuple.orig, flow.tuple.resp);
        let Transport::Tcp(tcp) = packet.transport else { continue };
        for sample in lines {
            let (side, method, at) = (sample.side.name(), sample.method, sample.at.nanos() / 1_000);
            let micros = sample.rtt.as_secs_f64() * 1e6;
            writeln!(
                out,
                "{}\t{}\t{}\t{}\t{side}\t{method}\t{at}\t{micros:.3}\t{}",
                client.ip, client.port, server.ip, server.port, tcp.ack
            )?;
        }
    }
    Ok(())
}

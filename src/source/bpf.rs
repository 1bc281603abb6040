//! Runs compiled BPF programs over frames.
//!
//! Reads: instructions from libpcap's compiler and frames. Emits: match or no match.
//! Does not: compile; know the Linux extensions (libpcap emits them for live captures only).
//! libpcap can run a program too, but through its Rust binding only with the captured length in the place of the
//! length on the wire, so that `greater 1000` would miss every frame that the snap length cut.
//! Reference: McCanne & Jacobson, "The BSD Packet Filter" (USENIX 1993), table of instructions; libpcap `bpf_filter.c`.

use pcap::BpfProgram;
use std::sync::Arc;

/// A program that was checked: it only jumps forward, so it always ends.
#[derive(Debug, Clone)]
pub(super) struct Program(Arc<[Step]>);

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    code: u16,
    yes: u8,
    no: u8,
    k: u32,
}

/// Cells of scratch memory.
const CELLS: usize = 16;

impl Program {
    /// Takes over a compiled program.
    pub(super) fn new(program: &BpfProgram) -> Result<Self, String> {
        // The binding shows an instruction only as text: code, two jumps, operand.
        let steps = program.get_instructions().iter().map(|i| Step::read(&i.to_string()));
        steps.collect::<Option<Arc<[Step]>>>().map(Self).ok_or_else(|| "an instruction that cannot be read".to_owned())
    }

    /// Whether the program accepts a frame that had `wire_len` bytes on the wire.
    pub(super) fn run(&self, frame: &[u8], wire_len: u32) -> bool {
        self.value(frame, wire_len).is_some_and(|value| value != 0)
    }

    /// What the program returns; `None` where it reads beyond the frame or is not a valid program, which rejects.
    fn value(&self, frame: &[u8], wire_len: u32) -> Option<u32> {
        let (mut a, mut x, mut cells) = (0_u32, 0_u32, [0_u32; CELLS]);
        let mut steps = self.0.iter();
        loop {
            let Step { code, yes, no, k } = *steps.next()?;
            let operand = if code & 0x08 == 0 { k } else { x };
            match code {
                // Loads: word, half and byte at a fixed place, then at a place relative to x.
                0x20 => a = word(frame, k)?,
                0x28 => a = half(frame, k)?,
                0x30 => a = byte(frame, k)?,
                0x40 => a = word(frame, x.checked_add(k)?)?,
                0x48 => a = half(frame, x.checked_add(k)?)?,
                0x50 => a = byte(frame, x.checked_add(k)?)?,
                0x00 => a = k,
                0x01 => x = k,
                0x80 => a = wire_len,
                0x81 => x = wire_len,
                0x60 => a = *cells.get(k as usize)?,
                0x61 => x = *cells.get(k as usize)?,
                // The length of an IPv4 header, which has an instruction of its own.
                0xb1 => x = (byte(frame, k)? & 0x0f) << 2,
                0x02 => *cells.get_mut(k as usize)? = a,
                0x03 => *cells.get_mut(k as usize)? = x,
                0x04 | 0x0c => a = a.wrapping_add(operand),
                0x14 | 0x1c => a = a.wrapping_sub(operand),
                0x24 | 0x2c => a = a.wrapping_mul(operand),
                0x34 | 0x3c => a = a.checked_div(operand)?,
                0x44 | 0x4c => a |= operand,
                0x54 | 0x5c => a &= operand,
                0x64 | 0x6c => a = a.checked_shl(operand).unwrap_or(0),
                0x74 | 0x7c => a = a.checked_shr(operand).unwrap_or(0),
                0x84 => a = a.wrapping_neg(),
                0x94 | 0x9c => a = a.checked_rem(operand)?,
                0xa4 | 0xac => a ^= operand,
                0x05 => jump(&mut steps, k as usize),
                0x15 | 0x1d => jump(&mut steps, usize::from(if a == operand { yes } else { no })),
                0x25 | 0x2d => jump(&mut steps, usize::from(if a > operand { yes } else { no })),
                0x35 | 0x3d => jump(&mut steps, usize::from(if a >= operand { yes } else { no })),
                0x45 | 0x4d => jump(&mut steps, usize::from(if a & operand != 0 { yes } else { no })),
                0x06 => return Some(k),
                0x16 => return Some(a),
                0x07 => x = a,
                0x87 => a = x,
                _ => return None,
            }
        }
    }
}

impl Step {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mut word = || words.next();
        Some(Self {
            code: word()?.parse().ok()?,
            yes: word()?.parse().ok()?,
            no: word()?.parse().ok()?,
            k: word()?.parse().ok()?,
        })
    }
}

/// Leaves out the next `n` steps.
fn jump(steps: &mut std::slice::Iter<'_, Step>, n: usize) {
    if let Some(last) = n.checked_sub(1) {
        steps.nth(last);
    }
}

fn word(frame: &[u8], at: u32) -> Option<u32> {
    frame.get(at as usize..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn half(frame: &[u8], at: u32) -> Option<u32> {
    frame.get(at as usize..)?.first_chunk().map(|bytes| u32::from(u16::from_be_bytes(*bytes)))
}

fn byte(frame: &[u8], at: u32) -> Option<u32> {
    frame.get(at as usize).map(|byte| u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap::{Capture, Linktype};
    use proptest::prelude::*;

    fn compiled(expression: &str) -> (BpfProgram, Program) {
        let program = Capture::dead(Linktype::ETHERNET).unwrap().compile(expression, true).unwrap();
        let own = Program::new(&program).unwrap();
        (program, own)
    }

    const EXPRESSIONS: [&str; 12] = [
        "",
        "tcp",
        "udp port 53 or vlan",
        "host 10.0.0.1 and not port 22",
        "net 192.168.0.0/16",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
        "tcp[((tcp[12] & 0xf0) >> 2):2] = 0x1603",
        "ip[0] & 0xf > 5 and ip[2:2] % 7 = 3 and ip[8] * 2 - 1 >= 63",
        "ether[ip[0]:4] ^ 0x55 != 17 or ether[0] / 3 << 2 = 8",
        "portrange 1000-2000 and (icmp or sctp or greater 100)",
        "ip6 protochain 6",
        "mpls 5 and host 10.0.0.1",
    ];

    proptest! {
        #[test]
        fn agrees_with_libpcap(
            mut frame in proptest::collection::vec(any::<u8>(), 0..120),
            kind in 0..5_usize,
            which in 0..EXPRESSIONS.len(),
            v in any::<u8>(),
        ) {
            let head: [&[u8]; 5] = [&[8, 0, 0x45], &[0x86, 0xdd, 0x60], &[0x81, 0], &[0x88, 0x47], &[8, 0, 0x46]];
            for (to, from) in frame.iter_mut().skip(12).zip(head[kind]) {
                *to = *from;
            }
            if let Some(protocol) = frame.get_mut(23) {
                *protocol = [6, 17, 1, 132][usize::from(v % 4)];
            }
            let (libpcap, own) = compiled(EXPRESSIONS[which]);
            let len = u32::try_from(frame.len()).unwrap();
            prop_assert_eq!(own.run(&frame, len), libpcap.filter(&frame), "{}", EXPRESSIONS[which]);
        }
    }

    #[test]
    fn length_is_the_length_on_the_wire() {
        let (_, own) = compiled("greater 1000");
        assert!(own.run(&[0; 60], 1500));
        assert!(!own.run(&[0; 60], 999));
    }

    #[test]
    fn a_program_that_runs_off_its_end_rejects() {
        let step = |code, yes, k| Step { code, yes, no: 0, k };
        for steps in [vec![], vec![step(0x05, 0, u32::MAX)], vec![step(0xff, 0, 0)], vec![step(0x60, 0, 16)]] {
            assert!(!Program(steps.into()).run(&[0; 10], 10));
        }
    }
}

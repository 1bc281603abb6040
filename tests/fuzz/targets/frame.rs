//! Frames: any bytes under any link type to the decoder, several in a row so that fragments meet.
#![no_main]

use farmlight::base::{Frame, Reader, Timestamp};
use farmlight::wire::{Decoded, Decoder};
use farmlight_fuzz::LINKS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    let mut decoder = Decoder::default();
    let Some(&link) = reader.u8().and_then(|first| LINKS.get(usize::from(first) % LINKS.len())) else { return };
    for i in 0.. {
        // Bytes cut by the snap length, and the length of what was captured, before each frame.
        let Some((cut, len)) = reader.u8().zip(reader.u16()) else { return };
        let Some(frame) = reader.take(usize::from(len).min(reader.len())) else { return };
        let orig_len = u32::try_from(frame.len()).unwrap_or(u32::MAX).saturating_add(cut.into());
        let frame = Frame { at: Timestamp::from_nanos(i), link, orig_len, bytes: frame };
        if let Decoded::Packet(packet) = decoder.decode(&frame) {
            let captured = u32::try_from(packet.payload.len()).unwrap_or(u32::MAX);
            assert!(captured <= packet.payload_len, "more payload captured than there was");
            assert!(packet.payload_len <= packet.ip_len, "more payload than packet");
        }
    }
});

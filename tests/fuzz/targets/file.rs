//! Files: any bytes as a capture file of any format, plain or compressed, to the reader.
#![no_main]

use farmlight::source::{Next, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut source = farmlight::source::from_reader("fuzz", bytes);
    let mut frames = 0u64;
    while let Next::Frame(frame) = source.next() {
        assert!(!frame.bytes.is_empty() || frame.orig_len == 0 || frames < u64::MAX);
        frames += 1;
    }
    let told: u64 = source.reports().iter().map(|report| report.frames).sum();
    assert_eq!(told, frames, "the report counts other frames than were given");
});

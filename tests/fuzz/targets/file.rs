//! Files: any bytes as a capture file of any format, plain or compressed, to the reader.
#![no_main]

use farmlight::source::CaptureReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = CaptureReader::new("fuzz", bytes);
    let (mut frames, mut earliest, mut latest) = (0u64, None, None);
    while let Some(at) = reader.advance() {
        let Some(frame) = reader.frame() else { panic!("a time without a frame") };
        assert_eq!(frame.at, at);
        frames += 1;
        earliest = earliest.min(Some(at)).or(Some(at));
        latest = latest.max(Some(at));
    }
    let report = reader.report();
    assert_eq!(report.frames, frames, "the report counts other frames than were given");
    assert_eq!((report.start, report.end), (earliest, latest), "the report has other times than the frames");
    assert!(report.bytes <= bytes.len() as u64, "read more than there was");
});

//! Datagrams, and packets of other IP protocols: any bytes, in any order of turns, cut by the snap length, to every probe and one analyzer.
#![no_main]

use farmlight::protocol::Carrier;
use farmlight_fuzz::{Dialogue, datagrams};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(dialogue) = Dialogue::read(bytes, Carrier::Datagram) {
        datagrams(&dialogue);
    }
});

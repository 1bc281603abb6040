#!/bin/sh
# A call over the direct way: ICE, DTLS with keys for SRTP, sound one way, a data channel.
# aiortc 1.16.0 with aioice 0.13.0 (PyPI) on both ends, Python 3.11.
. "$(dirname "$0")/webrtc-net.sh"
HOW=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python3}
WORK=$(mktemp -d)
record "$WORK/all.pcap" a_t udp
in_b "$PYTHON" "$HOW/webrtc.py" answer "$WORK" & answering=$!
in_a "$PYTHON" "$HOW/webrtc.py" offer "$WORK"
wait $answering
recorded
editcap -F pcapng "$WORK/all.pcap" "${1:-webrtc.pcapng}"
rm -r "$WORK"
finish

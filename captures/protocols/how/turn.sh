#!/bin/sh
# TURN. First a call of which one end is reached through the relay only (UDP); then a client that sends to itself through the
# relay over TCP; then one that asks with the wrong password. The capture is of the relay's clients, at their router.
# coturn 4.6.1-1 (turnserver, turnutils_uclient; Debian 12), aiortc 1.16.0 with aioice 0.13.0 (PyPI), Python 3.11.
. "$(dirname "$0")/webrtc-net.sh"
HOW=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python3}
WORK=$(mktemp -d)
in_r turnserver -n -L 192.0.2.9 -E 192.0.2.9 --min-port 50000 --max-port 50100 -a -u ann:secret -r relay.example \
    --no-tls --no-dtls --no-cli --pidfile "$WORK/pid" --log-file stdout > "$WORK/log" 2>&1 &
sleep 2
# No direct way between the peers.
ip -n webrtc2-t rule add from 198.51.100.0/24 to 203.0.113.0/24 blackhole
ip -n webrtc2-t rule add from 203.0.113.0/24 to 198.51.100.0/24 blackhole
record "$WORK/all.pcap" a_t host 192.0.2.9
in_b "$PYTHON" "$HOW/webrtc.py" answer "$WORK" & answering=$!
in_a "$PYTHON" "$HOW/webrtc.py" offer "$WORK" turn:192.0.2.9:3478
wait $answering
in_a timeout 20 turnutils_uclient -t -y -n 6 -m 1 -l 100 -c -u ann -w secret 192.0.2.9 > /dev/null 2>&1
in_a timeout 10 turnutils_uclient -y -n 1 -m 1 -c -u ann -w wrong 192.0.2.9 > /dev/null 2>&1
recorded
editcap -F pcapng "$WORK/all.pcap" "${1:-turn.pcapng}"
rm -r "$WORK"
finish

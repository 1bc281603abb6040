#!/bin/sh
# Three namespaces for the captures of calls: two peers and a relay, on one router that is the tap.
#   webrtc2-a 198.51.100.7, webrtc2-b 203.0.113.8, webrtc2-r 192.0.2.9 (the relay); webrtc2-t routes between them.
# Sourced by the other scripts; needs root, iproute2, tcpdump.
set -e
for ns in a b r t; do ip netns del webrtc2-$ns 2>/dev/null || true; done
for ns in a b r t; do ip netns add webrtc2-$ns; ip -n webrtc2-$ns link set lo up; done
reach() {
    ip link add $1_0 netns webrtc2-$1 type veth peer name $1_t netns webrtc2-t
    ip -n webrtc2-$1 addr add $2/24 dev $1_0
    ip -n webrtc2-t addr add $3/24 dev $1_t
    ip -n webrtc2-$1 link set $1_0 up
    ip -n webrtc2-t link set $1_t up
    ip netns exec webrtc2-$1 ethtool -K $1_0 tso off gso off gro off >/dev/null 2>&1 || true
    ip -n webrtc2-$1 route add default via $3
}
reach a 198.51.100.7 198.51.100.1
reach b 203.0.113.8 203.0.113.1
reach r 192.0.2.9 192.0.2.1
ip netns exec webrtc2-t sysctl -qw net.ipv4.ip_forward=1
in_a() { ip netns exec webrtc2-a "$@"; }
in_b() { ip netns exec webrtc2-b "$@"; }
in_r() { ip netns exec webrtc2-r "$@"; }
# record FILE INTERFACE [FILTER]: from here on; stopped by `recorded`.
record() { file=$1; tap=$2; shift 2; ip netns exec webrtc2-t tcpdump -q -U -n -i "$tap" -w "$file" "$@" 2>/dev/null & recorder=$!; sleep 1; }
recorded() { sleep 1; kill $recorder; wait $recorder 2>/dev/null || true; }
set +e
# Ends what was started in the namespaces.
finish() { for ns in a b r t; do ip netns pids webrtc2-$ns | xargs -r kill 2>/dev/null; ip netns del webrtc2-$ns; done; }

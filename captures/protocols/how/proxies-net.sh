#!/bin/sh
# Three namespaces in a row for the captures of proxies and tunnels: a client, a relay, a server.
#   proxies-c 198.51.100.7 -- 198.51.100.9 proxies-p 192.0.2.9 -- 192.0.2.10 proxies-s
# Sourced by the other scripts; needs root, iproute2, tcpdump.
set -e
for ns in c p s; do ip netns del proxies-$ns 2>/dev/null || true; done
for ns in c p s; do ip netns add proxies-$ns; ip -n proxies-$ns link set lo up; done
ip link add c0 netns proxies-c type veth peer name p0 netns proxies-p
ip link add p1 netns proxies-p type veth peer name s0 netns proxies-s
ip -n proxies-c addr add 198.51.100.7/24 dev c0
ip -n proxies-p addr add 198.51.100.9/24 dev p0
ip -n proxies-p addr add 192.0.2.9/24 dev p1
ip -n proxies-s addr add 192.0.2.10/24 dev s0
for pair in c:c0 p:p0 p:p1 s:s0; do
    ip -n proxies-${pair%%:*} link set ${pair##*:} up
    ip netns exec proxies-${pair%%:*} ethtool -K ${pair##*:} tso off gso off gro off >/dev/null 2>&1 || true
done
ip -n proxies-c route add default via 198.51.100.9
ip -n proxies-s route add default via 192.0.2.9
ip netns exec proxies-p sysctl -qw net.ipv4.ip_forward=1
in_c() { ip netns exec proxies-c "$@"; }
in_p() { ip netns exec proxies-p "$@"; }
in_s() { ip netns exec proxies-s "$@"; }
# record FILE [FILTER]: from here on, the client's side; stopped by `recorded`.
record() { file=$1; shift; ip netns exec proxies-c tcpdump -q -U -i c0 -w "$file" "$@" 2>/dev/null & recorder=$!; sleep 1; }
recorded() { sleep 1; kill $recorder; wait $recorder 2>/dev/null || true; }
set +e
# Ends what was started in the namespaces.
finish() { for ns in c p s; do ip netns pids proxies-$ns | xargs -r kill 2>/dev/null; ip netns del proxies-$ns; done; }

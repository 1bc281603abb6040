#!/bin/sh
# nebula.pcap: Nebula 1.6.1 (Debian bookworm's nebula 1.6.1+dfsg-3), a host greets a lighthouse and pings through the tunnel.
# As root: sh nebula.sh OUT.pcap
set -e
OUT=$(realpath "$1"); cd "$(mktemp -d)"
nebula-cert ca -name farmlight-test
nebula-cert sign -name light -ip 10.66.0.1/24
nebula-cert sign -name alpha -ip 10.66.0.2/24
for n in a b; do ip netns add tunnels-$n; ip -n tunnels-$n link set lo up; done
ip link add tun-a netns tunnels-a type veth peer name tun-b netns tunnels-b
ip -n tunnels-a addr add 192.0.2.1/24 dev tun-a; ip -n tunnels-b addr add 192.0.2.2/24 dev tun-b
ip -n tunnels-a link set tun-a up; ip -n tunnels-b link set tun-b up
config() {
  cat <<EOF
pki: {ca: ca.crt, cert: $1.crt, key: $1.key}
static_host_map: {"10.66.0.1": ["192.0.2.1:4242"]}
lighthouse: {am_lighthouse: $2, interval: 10, hosts: [$3]}
listen: {host: 0.0.0.0, port: 4242}
tun: {dev: neb-$1}
firewall: {outbound: [{port: any, proto: any, host: any}], inbound: [{port: any, proto: any, host: any}]}
EOF
}
config light true "" > light.yml; config alpha false '"10.66.0.1"' > alpha.yml
ip netns exec tunnels-b tcpdump -Uni tun-b -w "$OUT" udp & DUMP=$!
sleep 1
ip netns exec tunnels-a nebula -config light.yml & A=$!
sleep 1
ip netns exec tunnels-b nebula -config alpha.yml & B=$!
sleep 3
ip netns exec tunnels-b ping -c 3 10.66.0.1
sleep 1
kill $DUMP $A $B
ip netns del tunnels-a; ip netns del tunnels-b

#!/bin/sh
# wireguard-roaming.pcap: wireguard-go 0.0.20220316 (Debian bookworm), a client whose address changes during a session.
# As root: sh wireguard-roaming.sh OUT.pcap
set -e
OUT=$(realpath "$1"); cd "$(mktemp -d)"
for n in a b; do ip netns add tunnels-$n; ip -n tunnels-$n link set lo up; done
ip link add tun-a netns tunnels-a type veth peer name tun-b netns tunnels-b
ip -n tunnels-a addr add 192.0.2.1/24 dev tun-a; ip -n tunnels-b addr add 192.0.2.2/24 dev tun-b
ip -n tunnels-a link set tun-a up; ip -n tunnels-b link set tun-b up
umask 077
for n in a b; do
  wg genkey > $n.key; wg pubkey < $n.key > $n.pub
  ip netns exec tunnels-$n env LOG_LEVEL=error wireguard-go -f wgt-$n & eval "W$n=$!"
done
sleep 1
ip netns exec tunnels-a wg set wgt-a private-key a.key peer "$(cat b.pub)" allowed-ips 10.69.0.0/24 endpoint 192.0.2.2:51820
ip netns exec tunnels-b wg set wgt-b listen-port 51820 private-key b.key peer "$(cat a.pub)" allowed-ips 10.69.0.1/32
ip -n tunnels-a addr add 10.69.0.1/24 dev wgt-a; ip -n tunnels-b addr add 10.69.0.2/24 dev wgt-b
ip -n tunnels-a link set wgt-a up; ip -n tunnels-b link set wgt-b up
ip netns exec tunnels-b tcpdump -Uni tun-b -w "$OUT" udp & DUMP=$!
sleep 1
ip netns exec tunnels-a ping -c 4 10.69.0.2
# Another address, and a new socket as after a change of networks.
ip -n tunnels-a addr del 192.0.2.1/24 dev tun-a; ip -n tunnels-a addr add 192.0.2.77/24 dev tun-a
ip netns exec tunnels-a wg set wgt-a listen-port 40001
ip netns exec tunnels-a ping -c 4 10.69.0.2
sleep 1
kill $DUMP $Wa $Wb
ip netns del tunnels-a; ip netns del tunnels-b

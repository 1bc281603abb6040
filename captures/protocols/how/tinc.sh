#!/bin/sh
# tinc.pcap: tinc 1.0.36 (Debian bookworm's tinc 1.0.36-2), two nodes connect and ping through the tunnel.
# As root: sh tinc.sh OUT.pcap
set -e
OUT=$(realpath "$1"); cd "$(mktemp -d)"
for n in a b; do ip netns add tunnels-$n; ip -n tunnels-$n link set lo up; done
ip link add tun-a netns tunnels-a type veth peer name tun-b netns tunnels-b
ip -n tunnels-a addr add 192.0.2.1/24 dev tun-a; ip -n tunnels-b addr add 192.0.2.2/24 dev tun-b
ip -n tunnels-a link set tun-a up; ip -n tunnels-b link set tun-b up
for n in alpha beta; do
  mkdir -p $n/hosts
  echo "Name = $n" > $n/tinc.conf
  yes "" | tincd -c $n -K 2048 >/dev/null 2>&1 || true
done
echo "ConnectTo = beta" >> alpha/tinc.conf
printf 'Subnet = 10.67.0.1/32\n' >> alpha/hosts/alpha
printf 'Subnet = 10.67.0.2/32\nAddress = 192.0.2.2\n' >> beta/hosts/beta
cp alpha/hosts/alpha beta/hosts/; cp beta/hosts/beta alpha/hosts/
printf '#!/bin/sh\nip addr add 10.67.0.1/24 dev $INTERFACE; ip link set $INTERFACE up\n' > alpha/tinc-up
printf '#!/bin/sh\nip addr add 10.67.0.2/24 dev $INTERFACE; ip link set $INTERFACE up\n' > beta/tinc-up
chmod +x alpha/tinc-up beta/tinc-up
ip netns exec tunnels-b tcpdump -Uni tun-b -w "$OUT" 'tcp or udp' & DUMP=$!
sleep 1
ip netns exec tunnels-b tincd -c beta -D --pidfile=beta/pid & B=$!
sleep 1
ip netns exec tunnels-a tincd -c alpha -D --pidfile=alpha/pid & A=$!
sleep 3
ip netns exec tunnels-a ping -c 3 10.67.0.2
sleep 1
kill $DUMP $A $B
ip netns del tunnels-a; ip netns del tunnels-b

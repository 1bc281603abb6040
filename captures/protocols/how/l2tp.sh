#!/bin/sh
# L2TP version 2 without IPsec: xl2tpd against xl2tpd, in two network namespaces. Only the control connection and the
# first PPP packets: pppd needs /dev/ppp, which the machine that made this has not.
#
# Debian 12: xl2tpd 1.3.18-1, tcpdump 4.99.3, root. Usage: l2tp.sh OUT.pcap
set -eu
out=$1
work=$(mktemp -d)
trap 'kill $jobs 2>/dev/null || true; ip netns del vpns-a; ip netns del vpns-b; rm -rf "$work"' EXIT
jobs=

ip netns add vpns-a
ip netns add vpns-b
ip link add vpns-a netns vpns-a type veth peer name vpns-b netns vpns-b
ip -n vpns-a addr add 198.51.100.7/24 dev vpns-a
ip -n vpns-b addr add 198.51.100.1/24 dev vpns-b
for end in a b; do
    ip -n vpns-$end link set lo up
    ip -n vpns-$end link set vpns-$end up
done

cat > "$work/b.conf" <<CONF
[global]
port = 1701
[lns default]
ip range = 10.20.30.10-10.20.30.20
local ip = 10.20.30.1
hostname = gate
require authentication = no
pppoptfile = $work/options
CONF
cat > "$work/a.conf" <<CONF
[global]
port = 1701
[lac gate]
lns = 198.51.100.1
hostname = traveller
pppoptfile = $work/options
autodial = yes
CONF
printf 'noauth\n' > "$work/options"

ip netns exec vpns-a tcpdump -q -i vpns-a -w "$out" udp port 1701 &
tcpdump=$!
sleep 1
for end in b a; do
    ip netns exec vpns-$end xl2tpd -D -c "$work/$end.conf" -p "$work/$end.pid" -C "$work/$end.control" &
    jobs="$jobs $!"
    sleep 1
done
# A hello comes after a minute.
sleep 64
kill $jobs
sleep 2
jobs=
kill $tcpdump
wait $tcpdump || true

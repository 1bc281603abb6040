#!/bin/sh
# PPTP: pptp-linux against pptpd, in two network namespaces. Only the control connection: pppd needs /dev/ppp, which the
# machine that made this has not.
#
# Debian 12: pptpd 1.4.0-12, pptp-linux 1.10.0-1, tcpdump 4.99.3, root. Usage: pptp.sh OUT.pcap
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
printf 'option %s\nlocalip 10.20.30.1\nremoteip 10.20.30.10-20\nnoipparam\n' "$work/options" > "$work/pptpd.conf"
printf 'noauth\n' > "$work/options"

ip netns exec vpns-a tcpdump -q -i vpns-a -w "$out" tcp port 1723 or proto 47 &
tcpdump=$!
ip netns exec vpns-b pptpd -f -c "$work/pptpd.conf" -p "$work/pid" &
jobs="$jobs $!"
sleep 1
ip netns exec vpns-a timeout 15 pptp 198.51.100.1 --nolaunchpppd < /dev/zero > /dev/null || true
sleep 2
kill $tcpdump
wait $tcpdump || true

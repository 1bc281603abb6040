#!/bin/sh
# SSTP behind a TLS terminator: sstp-client, socat that ends TLS, sstp-server; captured between the latter two.
#
# Debian 12: sstp-client 1.0.18-1, socat 1.7.4.4, openssl 3.0, tcpdump 4.99.3, root; PyPI: sstp-server 0.6.0 (sstpd on the
# PATH). No PPP gets through: pppd needs /dev/ppp, which the machine that made this has not.
# Usage: sstp.sh OUT.pcap
set -eu
out=$1
work=$(mktemp -d)
trap 'kill $jobs 2>/dev/null || true; ip netns del vpns-a; ip netns del vpns-b; rm -rf "$work"' EXIT
jobs=

ip netns add vpns-a
ip netns add vpns-b
ip link add vpns-a netns vpns-a type veth peer name vpns-b netns vpns-b
ip -n vpns-a addr add 203.0.113.7/24 dev vpns-a
ip -n vpns-b addr add 203.0.113.1/24 dev vpns-b
for end in a b; do
    ip -n vpns-$end link set lo up
    ip -n vpns-$end link set vpns-$end up
done
ip -n vpns-b addr add 198.51.100.1/32 dev lo
ip -n vpns-b addr add 192.0.2.1/32 dev lo

openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 3650 \
    -subj /CN=gate.example.org 2>/dev/null
cat "$work/key.pem" "$work/cert.pem" > "$work/both.pem"
touch "$work/options"
ip netns exec vpns-b sstpd -n -c "$work/both.pem" -l 192.0.2.1 -p 8000 --pppd-config "$work/options" --local 10.20.30.1 &
jobs="$jobs $!"
ip netns exec vpns-b socat "OPENSSL-LISTEN:443,bind=203.0.113.1,reuseaddr,fork,verify=0,cert=$work/both.pem" \
    TCP:192.0.2.1:8000,bind=198.51.100.1 &
jobs="$jobs $!"
sleep 2
ip netns exec vpns-b tcpdump -q -i lo -w "$out" tcp port 8000 &
tcpdump=$!
sleep 1
ip netns exec vpns-a timeout 10 sstpc --log-stderr --log-level 4 --cert-warn --user traveller --password secret \
    --nolaunchpppd 203.0.113.1 < /dev/null || true
sleep 2
kill $tcpdump
wait $tcpdump || true

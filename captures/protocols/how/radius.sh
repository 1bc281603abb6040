#!/usr/bin/env bash
# radius.pcapng: FreeRADIUS and radclient (Debian 12: freeradius 3.2.1, freeradius-utils 3.2.1, tcpdump 4.99.3), in two
# network namespaces: a gateway (192.0.2.1) that asks, a RADIUS server (192.0.2.10) that answers.
# alice signs on (accepted), mallory does not (rejected); then accounting for alice: start, interim, stop, with the
# address outside and the one inside; bob's accounting names a device of Cisco's VPN client;
# carol's counts octets.
# Usage: radius.sh OUT.pcapng, as root.
set -euo pipefail
out=$(realpath "$1")
work=$(mktemp -d)
server=fl-radius-server gateway=fl-radius-gw
cleanup() {
    kill "${pids[@]}" 2>/dev/null || true
    ip netns del "$server" 2>/dev/null || true
    ip netns del "$gateway" 2>/dev/null || true
    rm -rf "$work"
}
pids=()
trap cleanup EXIT
ip netns add "$server"
ip netns add "$gateway"
ip link add gw0 netns "$gateway" type veth peer name srv0 netns "$server"
ip -n "$gateway" addr add 192.0.2.1/24 dev gw0
ip -n "$server" addr add 192.0.2.10/24 dev srv0
ip -n "$server" link set lo up
ip -n "$gateway" link set gw0 up
ip -n "$server" link set srv0 up

cp -r /etc/freeradius/3.0 "$work/raddb"
cat >"$work/raddb/clients.conf" <<'CONF'
client gateway {
    ipaddr = 192.0.2.1
    secret = testing-only
}
CONF
cat >"$work/raddb/mods-config/files/authorize" <<'CONF'
alice Cleartext-Password := "correct horse"
    Framed-IP-Address = 10.8.0.5
CONF
chmod -R go+rX "$work"
chown -R freerad "$work/raddb"
ip netns exec "$server" freeradius -f -X -d "$work/raddb" >"$work/server.log" 2>&1 &
pids+=($!)
ip netns exec "$server" tcpdump -q -i srv0 -U -w "$work/raw.pcap" udp 2>/dev/null &
pids+=($!)
sleep 3

ask() { ip netns exec "$gateway" radclient -x -r 1 -t 5 "192.0.2.10:$1" "$2" testing-only || true; }
ask 1812 auth <<'PAIRS'
User-Name = "alice", User-Password = "correct horse", NAS-IP-Address = 192.0.2.1, NAS-Identifier = "vpn-gateway", NAS-Port-Type = Virtual, Calling-Station-Id = "198.51.100.7"
PAIRS
ask 1812 auth <<'PAIRS'
User-Name = "mallory", User-Password = "guess", NAS-IP-Address = 192.0.2.1, NAS-Identifier = "vpn-gateway", NAS-Port-Type = Virtual, Calling-Station-Id = "203.0.113.66"
PAIRS
for status in Start Interim-Update Stop; do
    ask 1813 acct <<PAIRS
User-Name = "alice", NAS-IP-Address = 192.0.2.1, NAS-Identifier = "vpn-gateway", Acct-Status-Type = $status, Acct-Session-Id = "5F00A1", Framed-IP-Address = 10.8.0.5, Calling-Station-Id = "198.51.100.7", Acct-Delay-Time = 0
PAIRS
done
ask 1813 acct <<'PAIRS'
User-Name = "bob", NAS-IP-Address = 192.0.2.1, Acct-Status-Type = Start, Acct-Session-Id = "5F00A2", Framed-IP-Address = 10.8.0.6, Framed-IPv6-Prefix = "2001:db8:8:6::/64", Tunnel-Client-Endpoint:0 = "198.51.100.8", Cisco-AVPair = "mdm-tlv=device-mac=02-00-5e-10-00-01"
PAIRS
# An access server that counts beyond 32 bits, with its own clock, and the address outside in a pair of Cisco's.
for step in "Start 0 0 0" "Interim-Update 1500 4000000000 0" "Stop 90000 1000 1"; do
    read -r status in out_low out_high <<<"$step"
    ask 1813 acct <<PAIRS
User-Name = "carol", NAS-IP-Address = 192.0.2.1, Called-Station-Id = "192.0.2.1", Acct-Status-Type = $status, Acct-Session-Id = "5F00A3", Framed-IP-Address = 10.8.0.7, Event-Timestamp = $(date +%s), Acct-Input-Octets = $in, Acct-Output-Octets = $out_low, Acct-Output-Gigawords = $out_high, Cisco-AVPair = "ip:source-ip=198.51.100.9"
PAIRS
done
sleep 1
kill "${pids[1]}"
sleep 1
editcap -F pcapng "$work/raw.pcap" "$out"

#!/bin/sh
# A session of SoftEther VPN's client and server: TLS, and the acceleration over UDP, in two network namespaces.
#
# Debian 12: softether-vpnserver, softether-vpnclient, softether-vpncmd 5.01.9674+git20200806, tcpdump 4.99.3, root.
# Both programs keep what is set here in /var/lib/softether; what they say about what is there already does no harm.
# Usage: softether.sh OUT.pcap
set -eu
out=$1
trap 'ip netns pids vpns-a | xargs -r kill -9; ip netns pids vpns-b | xargs -r kill -9
      ip netns del vpns-a; ip netns del vpns-b' EXIT

ip netns add vpns-a
ip netns add vpns-b
ip link add vpns-a netns vpns-a type veth peer name vpns-b netns vpns-b
ip -n vpns-a addr add 198.51.100.7/24 dev vpns-a
ip -n vpns-b addr add 198.51.100.1/24 dev vpns-b
for end in a b; do
    ip -n vpns-$end link set lo up
    ip -n vpns-$end link set vpns-$end up
done
mkdir -p /run/softether /var/lib/softether /var/log/softether
ip netns exec vpns-b vpnserver execsvc &
ip netns exec vpns-a vpnclient execsvc &
sleep 4

server() { ip netns exec vpns-b timeout 20 vpncmd localhost:5555 /SERVER "$@" || true; }
client() { ip netns exec vpns-a timeout 20 vpncmd localhost /CLIENT "$@" || true; }
server /CMD HubCreate hub /PASSWORD:secret
server /HUB:hub /PASSWORD:secret /CMD UserCreate traveller /GROUP:none /REALNAME:none /NOTE:none
server /HUB:hub /PASSWORD:secret /CMD UserPasswordSet traveller /PASSWORD:secret
server /HUB:hub /PASSWORD:secret /CMD SecureNatEnable
client /CMD NicCreate vpn1
client /CMD AccountCreate gate /SERVER:198.51.100.1:443 /HUB:hub /USERNAME:traveller /NICNAME:vpn1
client /CMD AccountPasswordSet gate /PASSWORD:secret /TYPE:standard

ip netns exec vpns-a tcpdump -q -i vpns-a -w "$out" "tcp port 443 or (udp portrange 40000-44999 and not port 137)" &
tcpdump=$!
sleep 1
client /CMD AccountConnect gate
sleep 12
client /CMD AccountDisconnect gate
sleep 1
kill $tcpdump
wait $tcpdump || true

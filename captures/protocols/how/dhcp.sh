#!/bin/sh
# Makes dhcp.pcap: a device that calls itself pikvm asks for an address, and renews it.
#
# Debian 12: isc-dhcp-client 4.4.3 (dhclient), dnsmasq-base 2.90, tshark. Run as root, in an empty folder. Addresses are
# TEST-NET-1.
set -eu
server=rfb_kvm-a device=rfb_kvm-b
ip netns add $server
ip netns add $device
ip link add va netns $server type veth peer name vb netns $device
ip -n $server addr add 192.0.2.1/24 dev va
ip -n $device link set vb address dc:a6:32:00:00:01
ip -n $server link set va up
ip -n $device link set vb up
pids=""
finish() {
    kill $pids 2>/dev/null || true
    sleep 1
    ip netns del $server
    ip netns del $device
}
trap finish EXIT
ip netns exec $server dnsmasq -k --conf-file=/dev/null --port=0 --interface=va --bind-interfaces --leasefile-ro \
    --dhcp-range=192.0.2.50,192.0.2.60,2m --dhcp-authoritative >server.log 2>&1 &
pids="$pids $!"
ip netns exec $device tshark -q -i vb -f 'udp port 67 or udp port 68' -F pcap -w dhcp.pcap 2>/dev/null &
shark=$!
pids="$pids $shark"
sleep 3
printf 'send host-name "pikvm";\nsend vendor-class-identifier "dhcpcd-9.4.1:Linux-6.6.0:aarch64:BCM2835";\n' >client.conf
# The real script would write the host's resolv.conf.
printf '#!/bin/sh\n[ -n "${new_ip_address:-}" ] && ip addr replace "$new_ip_address/24" dev vb\nexit 0\n' >script
: >leases
chmod +x script
ip netns exec $device dhclient -d -cf client.conf -lf leases -pf pid -sf "$PWD/script" vb >client.log 2>&1 &
pids="$pids $!"
# Half of the shortest lease, so that the renewal is seen.
sleep 75
kill $shark
sleep 2

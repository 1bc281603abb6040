#!/bin/sh
# Makes mjpeg.pcap: the video of a KVM box as PiKVM and TinyPilot have it, a stream of JPEG pictures over HTTP. There is
# no capture device, so that the pictures say that there is no signal.
#
# Debian 12: ustreamer 4.9, curl 7.88.1, tshark. Run as root, in an empty folder. Addresses are TEST-NET-1.
set -eu
server=rfb_kvm-a viewer=rfb_kvm-b
ip netns add $server
ip netns add $viewer
ip link add va netns $server type veth peer name vb netns $viewer
ip -n $server addr add 192.0.2.1/24 dev va
ip -n $viewer addr add 192.0.2.2/24 dev vb
ip -n $server link set va up
ip -n $viewer link set vb up
pids=""
finish() {
    kill $pids 2>/dev/null || true
    sleep 1
    ip netns del $server
    ip netns del $viewer
}
trap finish EXIT
ip netns exec $server ustreamer --device nothing --host 192.0.2.1 --port 8080 --resolution 640x480 >/dev/null 2>&1 &
pids="$pids $!"
ip netns exec $viewer tshark -q -i vb -f tcp -w all.pcapng 2>/dev/null &
shark=$!
pids="$pids $shark"
sleep 3
ip netns exec $viewer timeout 2 curl -s -o video http://192.0.2.1:8080/stream || true
ip netns exec $viewer curl -s -o state http://192.0.2.1:8080/state
sleep 1
kill $shark
sleep 2
editcap -F pcap -r all.pcapng mjpeg.pcap 1-60

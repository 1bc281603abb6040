#!/bin/sh
# Makes xpra.pcapng: an Xpra 3.1.3 server and client (Debian 12: xpra 3.1.3-0.1, xvfb, xterm, python3-rencode,
# python3-lz4, tcpdump, tshark) in two network namespaces. The first session uses rencode, the second bencode.
# The frames are cut after 120 bytes: a hello tells much of the machine it was made on.
# Usage: xpra.sh OUT.pcapng, as root.
set -eu
out=$1
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'kill $(cat "$dir"/*.pid) 2>/dev/null; ip netns del thin-a; ip netns del thin-b; rm -rf "$dir"' EXIT
ip netns add thin-a
ip netns add thin-b
ip link add thin-va netns thin-a type veth peer name thin-vb netns thin-b
ip -n thin-a addr add 192.0.2.10/24 dev thin-va
ip -n thin-b addr add 192.0.2.20/24 dev thin-vb
for end in a b; do
    ip -n "thin-$end" link set lo up
    ip -n "thin-$end" link set "thin-v$end" up
done
export HOME="$dir" XDG_RUNTIME_DIR="$dir"

ip netns exec thin-b unshare -u sh -c 'hostname server.example; exec xpra start :71 --no-daemon \
    --bind-tcp=192.0.2.20:14500 --html=off --mdns=no --pulseaudio=no --notifications=no --dbus-launch= --start=xterm \
    --xvfb="Xvfb -screen 0 800x600x24 -nolisten tcp"' & echo $! > "$dir/server.pid"
ip netns exec thin-a Xvfb :72 -screen 0 640x480x24 -nolisten tcp & echo $! > "$dir/xvfb.pid"
sleep 12
ip netns exec thin-b tcpdump -U -Z root -i thin-vb -w "$dir/whole.pcap" tcp & echo $! > "$dir/tcpdump.pid"
sleep 1
for options in '' '--packet-encoders=bencode --compressors=zlib'; do
    DISPLAY=:72 ip netns exec thin-a unshare -u sh -c "hostname client.example; exec timeout 12 xpra attach \
        tcp://192.0.2.20:14500/ --pulseaudio=no --opengl=no --notifications=no $options" || true
    sleep 2
done
# The first packets of each session, and how it ends.
tshark -r "$dir/whole.pcap" -w "$dir/short.pcapng" -2 -R 'tcp.dstport == 14500 && tcp.seq < 40000 ||
    tcp.srcport == 14500 && tcp.seq < 8000 || tcp.flags.fin == 1'
editcap -s 120 "$dir/short.pcapng" "$out"

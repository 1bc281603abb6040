#!/bin/bash
# Calls of aiortc 1.16.0 (PyPI, `pip install aiortc`) with sound, pictures and a data channel: through coturn 4.6.1
# (Debian 12) over UDP, then (without pictures) over TCP, then directly. As root; needs iproute2 and tcpdump.
# usage: webrtc.sh PYTHON OUT.pcap, where PYTHON has aiortc.
set -eu
python=$1 out=$2 work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; for n in a r b; do ip netns del webrtc-$n; done; rm -r "$work"' EXIT

for n in a r b; do ip netns add webrtc-$n; ip -n webrtc-$n link set lo up; done
for n in a b; do
    net=10.90.$([ $n = a ] && echo 1 || echo 2)
    ip link add webrtc-v$n type veth peer name webrtc-w$n
    ip link set webrtc-v$n netns webrtc-$n
    ip link set webrtc-w$n netns webrtc-r
    ip -n webrtc-$n addr add $net.2/24 dev webrtc-v$n; ip -n webrtc-$n link set webrtc-v$n up
    ip -n webrtc-r addr add $net.1/24 dev webrtc-w$n; ip -n webrtc-r link set webrtc-w$n up
    ip -n webrtc-$n route add default via $net.1
done
ip netns exec webrtc-r sysctl -qw net.ipv4.ip_forward=0

cat > "$work/call.py" <<'P'
import asyncio, json, os, sys
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

role, work, server, pictures = sys.argv[1:5]

async def other(name):
    while not os.path.exists(f"{work}/{name}"):
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    return RTCSessionDescription(**json.load(open(f"{work}/{name}")))

def say(name, description):
    with open(f"{work}/{name}.new", "w") as f:
        json.dump({"sdp": description.sdp, "type": description.type}, f)
    os.rename(f"{work}/{name}.new", f"{work}/{name}")

async def main():
    servers = [RTCIceServer(server, "anna", "secret")] if server != "none" else []
    call = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    call.addTrack(AudioStreamTrack())
    if pictures == "yes":
        call.addTrack(VideoStreamTrack())
    call.on("datachannel", lambda channel: channel.on("message", lambda m: channel.send("pong")))
    if role == "a":
        channel = call.createDataChannel("input")
        channel.on("open", lambda: channel.send("ping"))
        await call.setLocalDescription(await call.createOffer())
        say("offer", call.localDescription)
        await call.setRemoteDescription(await other("answer"))
    else:
        await call.setRemoteDescription(await other("offer"))
        await call.setLocalDescription(await call.createAnswer())
        say("answer", call.localDescription)
    await asyncio.sleep(4)
    await call.close()

asyncio.run(main())
P

call() {
    rm -f "$work/offer" "$work/answer"
    ip netns exec webrtc-a "$python" "$work/call.py" a "$work" "$1" "$3" &
    local a=$!
    ip netns exec webrtc-b "$python" "$work/call.py" b "$work" "$2" "$3"
    wait $a
}

ip netns exec webrtc-r turnserver -n -a -u anna:secret -r example.org -L 10.90.1.1 -L 10.90.2.1 -E 10.90.2.1 \
    --no-tls --no-dtls --no-cli --log-file stdout > "$work/log" 2>&1 &
ip netns exec webrtc-r tcpdump -q -i webrtc-wa -w "$work/all.pcap" 'udp or tcp' 2> /dev/null &
dump=$!
sleep 2
call 'turn:10.90.1.1:3478?transport=udp' none yes
call 'turn:10.90.1.1:3478?transport=tcp' none no
ip netns exec webrtc-r sysctl -qw net.ipv4.ip_forward=1
call none none yes
sleep 1
kill $dump
wait $dump || true
# Of media over UDP every eighth packet, by its sequence number, directly and in ChannelData.
tcpdump -r "$work/all.pcap" -w "$out" "tcp or not (udp[8] & 0xc0 = 0x80 and udp[9] & 0x7f > 95 and udp[11] & 7 != 0) \
    and not (udp[8] & 0xf0 = 0x40 and udp[12] & 0xc0 = 0x80 and udp[13] & 0x7f > 95 and udp[15] & 7 != 0)" 2> /dev/null

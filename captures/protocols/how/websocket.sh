#!/bin/sh
# Makes websocket.pcap: a desktop through websockify, as noVNC asks for it; and a WebSocket
# that only echoes.
#
# Debian 12: tigervnc-standalone-server 1.12.0, websockify 0.10.0, novnc 1.3.0 (its page), curl, tshark. PyPI:
# websocket-client 1.9.2 (viewer's end), websockets 17.4 (echo). Run as root, in an empty folder. Addresses are TEST-NET-1.
set -eu
server=rfb_kvm-a viewer=rfb_kvm-b
on_server="ip netns exec rfb_kvm-a"
on_viewer="ip netns exec rfb_kvm-b"

ip netns add $server
ip netns add $viewer
ip link add va netns $server type veth peer name vb netns $viewer
$on_server ip addr add 192.0.2.1/24 dev va
$on_viewer ip addr add 192.0.2.2/24 dev vb
for n in $server $viewer; do ip -n $n link set lo up; done
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
export HOME="$PWD"
$on_server Xtigervnc :1 -geometry 160x120 -depth 16 -desktop desk-1 -SecurityTypes None >/dev/null 2>&1 &
pids="$pids $!"
$on_server websockify --web /usr/share/novnc 192.0.2.1:6080 127.0.0.1:5901 >/dev/null 2>&1 &
pids="$pids $!"
$on_server python3 -c '
import asyncio, websockets
async def echo(s):
    async for m in s: await s.send(m)
async def main():
    async with websockets.serve(echo, "192.0.2.1", 8765): await asyncio.Future()
asyncio.run(main())' 2>/dev/null &
pids="$pids $!"
sleep 3
$on_viewer tshark -q -i vb -f tcp -F pcap -w websocket.pcap 2>/dev/null &
shark=$!
pids="$pids $shark"
sleep 3
$on_viewer curl -s -o page http://192.0.2.1:6080/vnc.html
$on_viewer python3 -c '
import websocket
def desk():
    s = websocket.create_connection("ws://192.0.2.1:6080/websockify", subprotocols=["binary"])
    have = b""
    def take(n):
        nonlocal have
        while len(have) < n:
            have += s.recv()
        out, have = have[:n], have[n:]
        return out
    take(12); s.send_binary(b"RFB 003.008\n")
    take(2); s.send_binary(b"\x01")
    take(4); s.send_binary(b"\x01")
    init = take(24); take(int.from_bytes(init[20:24], "big"))
    s.send_binary(b"\x03\x00\x00\x00\x00\x00\x00\x10\x00\x10"); s.recv(); s.close()
desk()
s = websocket.create_connection("ws://192.0.2.1:8765/chat")
s.send("did you see RFB 003.008 in the log?"); s.recv()
s.send_binary(b"\x08\x01RFB 003.008\n"); s.recv(); s.close()'
sleep 1
kill $shark
sleep 2

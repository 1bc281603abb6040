#!/bin/sh
# Makes whip.pcap: a page, then a call that is set up by HTTP alone: the offer in a request, the answer in its response
# (WHIP, RFC 9725), on the connection that brought the page; then another whose descriptions are in JSON.
#
# PyPI: aiortc 1.16.0, aiohttp 3.14.5. Run as root. Addresses are TEST-NET-1.
# usage: whip.sh PYTHON OUT.pcap
set -eu
python=$1 out=$2 work=$(mktemp -d)
for n in a b; do ip netns add whip-$n; ip -n whip-$n link set lo up; done
trap 'kill $pids 2>/dev/null || true; sleep 1; for n in a b; do ip netns del whip-$n; done; rm -r "$work"' EXIT
ip link add wa netns whip-a type veth peer name wb netns whip-b
ip -n whip-a addr add 192.0.2.1/24 dev wa; ip -n whip-b addr add 192.0.2.2/24 dev wb
ip -n whip-a link set wa up; ip -n whip-b link set wb up
cat > "$work/call.py" <<'P'
import asyncio, sys
import aiohttp
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

async def serve():
    peers = []
    async def answered(sdp):
        peer = RTCPeerConnection()
        peers.append(peer)
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return peer.localDescription.sdp
    async def page(request):
        return web.Response(text="<html><script src=player.js></script></html>", content_type="text/html")
    async def whip(request):
        sdp = await answered(await request.text())
        return web.Response(status=201, text=sdp, content_type="application/sdp", headers={"Location": "/whip/1"})
    async def offer(request):
        return web.json_response({"type": "answer", "sdp": await answered((await request.json())["sdp"])})
    app = web.Application()
    app.add_routes([web.get("/", page), web.post("/whip", whip), web.post("/offer", offer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "192.0.2.1", 8080).start()
    await asyncio.sleep(60)

async def call(json):
    peer = RTCPeerConnection()
    peer.addTrack(AudioStreamTrack())
    await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    async with aiohttp.ClientSession("http://192.0.2.1:8080") as http:
        async with http.get("/") as page: await page.text()
        if json:
            async with http.post("/offer", json={"type": "offer", "sdp": sdp}) as said: answer = (await said.json())["sdp"]
        else:
            async with http.post("/whip", data=sdp, headers={"Content-Type": "application/sdp"}) as said: answer = await said.text()
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.sleep(3)
    await peer.close()

asyncio.run(serve() if sys.argv[1] == "serve" else call(sys.argv[1] == "json"))
P
ip netns exec whip-a "$python" "$work/call.py" serve & pids=$!
sleep 4
ip netns exec whip-b tcpdump -qi wb -U -w "$out" 'tcp or udp' 2>/dev/null & pids="$pids $!"
sleep 1
for kind in whip json; do ip netns exec whip-b "$python" "$work/call.py" $kind; done
sleep 2

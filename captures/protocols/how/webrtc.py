"""One end of a call: sound one way and a data channel, with aiortc. Offers and answers pass through two files.

webrtc.py offer|answer FOLDER [TURN-URL]: with the URL, candidates that are not of the relay are left out of the offer.
"""

import asyncio
import pathlib
import sys

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack


async def read(path):
    while not path.exists():
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)
    return path.read_text()


def described(sdp, relayed):
    lines = sdp.split("\r\n")
    return "\r\n".join(l for l in lines if not relayed or not l.startswith("a=candidate") or "typ relay" in l)


async def main(role, folder, url=None):
    offer, answer = pathlib.Path(folder, "offer"), pathlib.Path(folder, "answer")
    servers = [RTCIceServer(url, "ann", "secret")] if url else []
    peer = RTCPeerConnection(RTCConfiguration(servers))

    @peer.on("datachannel")
    def on_channel(channel):
        channel.on("message", lambda text: channel.send(text[::-1]))

    if role == "offer":
        peer.addTrack(AudioStreamTrack())
        channel = peer.createDataChannel("keys")
        channel.on("open", lambda: channel.send("hello"))
        await peer.setLocalDescription(await peer.createOffer())
        offer.write_text(described(peer.localDescription.sdp, url))
        await peer.setRemoteDescription(RTCSessionDescription(await read(answer), "answer"))
    else:
        await peer.setRemoteDescription(RTCSessionDescription(await read(offer), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        answer.write_text(peer.localDescription.sdp)
    await asyncio.sleep(8)
    await peer.close()


asyncio.run(main(*sys.argv[1:]))

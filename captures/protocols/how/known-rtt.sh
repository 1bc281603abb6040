#!/bin/bash
# Programs whose round trips are known: a client and a server with a delay on either side of the capture point, and ping
# from there to both before each. Makes known-quic.pcap (aioquic 1.7.2 with Retry and spin bit), known-dtls.pcap
# (OpenSSL 3.0.22), known-stun.pcap (aioice, two ends that check consent), known-openvpn.pcap (OpenVPN 2.6.14, whose keys
# are renewed every 4 s), known-wireguard.pcap (wireguard-go 0.0.20220316, five handshakes), known-ike.pcap (strongSwan
# 5.9.8, IKEv2, four times), known-ssh.pcap (OpenSSH 9.2p1, five logins and
# a shell into which is typed), known-http.pcap (curl 7.88.1 against a server in Python: bodies that wait, digest
# authentication, redirections), known-websocket.pcap (websockets 17.4, both ends ping) and RTT.tsv (the least ping of
# each side, in ms). As root; needs iproute2, tcpdump, openssl, openvpn, wireguard-go, wireguard-tools,
# strongswan-swanctl, charon-systemd, libcharon-extra-plugins, openssh-server, curl and a Python, for QUIC, STUN and
# WebSocket with aioquic 1.7.2, aiortc 1.16.0 and websockets 17.4 (PyPI).
# (Of the known-stun.pcap kept here packets of the next program, which its tcpdump still saw, were left out.)
# usage: known-rtt.sh PYTHON OUTDIR [NAME...]   (all, or those named: quic dtls stun openvpn wireguard ike ssh http websocket)
set -eu
python=$1 out=$2 work=$(mktemp -d)
shift 2
[ $# -gt 0 ] || set -- quic dtls stun openvpn wireguard ike ssh http websocket
wanted=" $* "
wants() { case $wanted in *" $1 "*) ;; *) false ;; esac; }
stop() { kill $(jobs -p) 2>/dev/null || true; sleep 0.5; for n in a m b; do ip netns del loops-$n 2>/dev/null || true; done; rm -r "$work"; }
trap stop EXIT
for n in a m b; do ip netns add loops-$n; ip -n loops-$n link set lo up; done

# Two TUN devices in two namespaces, and so many ms of delay each way between them.
cat > "$work/leg.py" <<'P'
import ctypes, fcntl, heapq, os, select, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def tun(ns, name):
    libc.setns(os.open(f"/var/run/netns/{ns}", os.O_RDONLY), 0)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH", name.encode(), 0x1001))
    return fd
fds, delay = [tun(*sys.argv[1:3]), tun(*sys.argv[3:5])], float(sys.argv[5]) / 1e3
queue, n = [], 0
print("ready", flush=True)
while True:
    wait = max(0, queue[0][0] - time.monotonic() - 0.0002) if queue else 1
    for fd in select.select(fds, [], [], wait)[0]:
        packet = os.read(fd, 2048)
        n += 1
        heapq.heappush(queue, (time.monotonic() + delay, n, fds[1 - fds.index(fd)], packet))
    while queue and queue[0][0] - time.monotonic() < 0.0002:
        due = heapq.heappop(queue)
        while due[0] > time.monotonic(): pass
        try: os.write(due[2], due[3])
        except OSError: pass
P
leg() { # name, its address, the middle's device and address, delay
    "$python" "$work/leg.py" loops-$1 leg loops-m leg-$1 $4 > "$work/leg-$1" &
    until grep -q ready "$work/leg-$1"; do sleep 0.1; done
    ip -n loops-$1 addr add $2 peer $3 dev leg; ip -n loops-$1 link set leg up mtu 1400
    ip -n loops-m addr add $3 peer $2 dev leg-$1; ip -n loops-m link set leg-$1 up mtu 1400
    ip -n loops-$1 route add default via $3
}
leg a 192.0.2.10 192.0.2.1 16
leg b 198.51.100.20 198.51.100.1 27
ip netns exec loops-m sysctl -qw net.ipv4.ip_forward=1
within() { local n=$1; shift; ip netns exec loops-$n "$@"; }
least() { within m ping -qc 20 -i 0.05 $1 | sed -n 's#.*= \([0-9.]*\)/.*#\1#p'; }
# Address pairs are the same, so each capture has its own ping.
[ -s "$out/RTT.tsv" ] || printf 'capture\tclient_ms\tserver_ms\n' > "$out/RTT.tsv"
capture() { # name, filter
    sed -i "/^$1\t/d" "$out/RTT.tsv"
    printf '%s\t%s\t%s\n' "$1" "$(least 192.0.2.10)" "$(least 198.51.100.20)" >> "$out/RTT.tsv"
    ip netns exec loops-m tcpdump -qi leg-a -U -w "$out/$1" "$2" 2>/dev/null & dump=$!; sleep 1
}
finish() { sleep 0.5; for n in a b; do ip netns pids loops-$n | xargs -r kill || true; done; kill $dump; wait $dump || true; }

openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=known.example -keyout "$work/key" -out "$work/cert" \
    -addext 'extendedKeyUsage=serverAuth,clientAuth' -addext 'keyUsage=digitalSignature,keyCertSign' 2>/dev/null

if wants quic; then
cat > "$work/quic.py" <<'P'
import asyncio, ssl, sys
from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration
role, work = sys.argv[1:3]
async def echo(reader, writer):
    while data := await reader.read(64):
        writer.write(data)
async def main():
    if role == "server":
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["echo"])
        configuration.load_cert_chain(f"{work}/cert", f"{work}/key")
        await serve("198.51.100.20", 4433, configuration=configuration, retry=True,
                    stream_handler=lambda r, w: asyncio.ensure_future(echo(r, w)))
        await asyncio.sleep(60)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["echo"], verify_mode=ssl.CERT_NONE, server_name="known.example")
    async with connect("198.51.100.20", 4433, configuration=configuration) as client:
        reader, writer = await client.create_stream()
        for _ in range(160):
            writer.write(b"spin")
            await asyncio.sleep(0.02)
asyncio.run(main())
P
capture known-quic.pcap 'udp port 4433'
within b "$python" "$work/quic.py" server "$work" & server=$!
sleep 2; within a "$python" "$work/quic.py" client "$work"; finish
fi

if wants dtls; then
capture known-dtls.pcap 'udp port 4444'
within b openssl s_server -dtls1_2 -listen -port 4444 -cert "$work/cert" -key "$work/key" -quiet >/dev/null 2>&1 & server=$!
sleep 1; (sleep 2) | within a openssl s_client -dtls1_2 -connect 198.51.100.20:4444 >/dev/null 2>&1 || true; finish
fi

if wants stun; then
cat > "$work/ice.py" <<'P'
import asyncio, json, os, sys
import aioice
role, work = sys.argv[1:3]
async def other(name):
    while not os.path.exists(f"{work}/{name}"): await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)
    return json.load(open(f"{work}/{name}"))
async def main():
    ice = aioice.Connection(ice_controlling=role == "a", use_ipv6=False)
    await ice.gather_candidates()
    mine = [c.to_sdp() for c in ice.local_candidates]
    json.dump([mine, ice.local_username, ice.local_password], open(f"{work}/{role}.ice", "w"))
    theirs, ice.remote_username, ice.remote_password = await other({"a": "b", "b": "a"}[role] + ".ice")
    for candidate in theirs: await ice.add_remote_candidate(aioice.Candidate.from_sdp(candidate))
    await ice.add_remote_candidate(None)
    await ice.connect()
    await asyncio.sleep(40)
    await ice.close()
asyncio.run(main())
P
capture known-stun.pcap udp
within b "$python" "$work/ice.py" b "$work" & server=$!
within a "$python" "$work/ice.py" a "$work"; finish
fi

if wants openvpn; then
capture known-openvpn.pcap 'udp port 1194'
openssl dhparam -dsaparam -out "$work/dh" 2048 2>/dev/null
common="--proto udp --port 1194 --dev-type tun --ca $work/cert --cert $work/cert --key $work/key --reneg-sec 4 --verb 0 --cipher AES-256-GCM --data-ciphers AES-256-GCM"
within b openvpn $common --dev known-b --tls-server --dh "$work/dh" --ifconfig 10.9.0.1 10.9.0.2 & server=$!
sleep 1; within a openvpn $common --dev known-a --tls-client --remote 198.51.100.20 --ifconfig 10.9.0.2 10.9.0.1 & client=$!
sleep 14; finish
fi

if wants wireguard; then
umask 077
for n in a b; do
    wg genkey > "$work/wg-$n.key"; wg pubkey < "$work/wg-$n.key" > "$work/wg-$n.pub"
    within $n env LOG_LEVEL=error WG_PROCESS_FOREGROUND=1 wireguard-go -f known-wg-$n & sleep 1
done
within b wg set known-wg-b listen-port 51820 private-key "$work/wg-b.key" peer "$(cat "$work/wg-a.pub")" allowed-ips 10.69.0.1/32
ip -n loops-a addr add 10.69.0.1/24 dev known-wg-a; ip -n loops-b addr add 10.69.0.2/24 dev known-wg-b
ip -n loops-a link set known-wg-a up; ip -n loops-b link set known-wg-b up
capture known-wireguard.pcap 'udp port 51820'
# Each time the peer is forgotten and set again, so there is a handshake, and a packet that waits for it.
for _ in 1 2 3 4 5; do
    within a wg set known-wg-a private-key "$work/wg-a.key" peer "$(cat "$work/wg-b.pub")" allowed-ips 10.69.0.0/24 endpoint 198.51.100.20:51820
    within a ping -qc 2 -i 0.3 10.69.0.2 >/dev/null || true
    within a wg set known-wg-a peer "$(cat "$work/wg-b.pub")" remove
    sleep 1
done
finish
fi

if wants ike; then
ip -n loops-b addr add 203.0.113.1/32 dev lo
for n in a b; do
    mkdir -p "$work/ike-$n/swanctl"
    printf 'charon-systemd {\n load = random nonce openssl pem pkcs1 pubkey x509 hmac kdf vici kernel-libipsec kernel-netlink socket-default updown\n plugins { vici { socket = unix://%s } }\n}\n' "$work/ike-$n/vici" > "$work/ike-$n/strongswan.conf"
    own=192.0.2.10 other=198.51.100.20 traffic='remote_ts = 203.0.113.1/32' given='vips = 0.0.0.0' pools=
    [ $n = a ] || { own=198.51.100.20 other=192.0.2.10 traffic='local_ts = 203.0.113.1/32' given='pools = inside' pools='pools { inside { addrs = 10.20.30.0/24 } }'; }
    cat > "$work/ike-$n/swanctl/swanctl.conf" <<CONF
connections { vpn {
    version = 2
    proposals = aes256gcm16-prfsha384-x25519
    encap = yes
    dpd_delay = 1s
    local_addrs = $own
    remote_addrs = $other
    $given
    local { auth = psk
            id = $own }
    remote { auth = psk
             id = $other }
    children { net { $traffic
                     esp_proposals = aes256gcm16-x25519 } }
} }
secrets { ike { secret = "a long enough secret" } }
$pools
CONF
    STRONGSWAN_CONF=$work/ike-$n/strongswan.conf within $n charon-systemd >/dev/null 2>&1 &
    sleep 3
    SWANCTL_DIR=$work/ike-$n/swanctl within $n swanctl --load-all --uri "unix://$work/ike-$n/vici" >/dev/null 2>&1
done
capture known-ike.pcap 'udp port 500 or udp port 4500'
at_a() { within a swanctl "$@" --uri "unix://$work/ike-a/vici" >/dev/null; }
for _ in 1 2 3 4; do
    at_a --initiate --child net
    sleep 3
    at_a --rekey --child net
    sleep 1
    at_a --terminate --ike vpn
    sleep 0.5
done
finish
fi

if wants ssh; then
ssh-keygen -q -t ed25519 -N '' -f "$work/host"; ssh-keygen -q -t ed25519 -N '' -f "$work/user"
mkdir -p /run/sshd
chmod 755 "$work"
capture known-ssh.pcap 'tcp port 22'
within b /usr/sbin/sshd -f /dev/null -D -h "$work/host" -o AuthorizedKeysFile="$work/user.pub" -o StrictModes=no \
    -o PidFile=none -o UsePAM=no -o PermitRootLogin=yes -o PrintMotd=no -o ListenAddress=198.51.100.20 & server=$!
sleep 1
cat > "$work/type.py" <<'P'
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
def read_for(seconds):
    end = time.time() + seconds
    while (left := end - time.time()) > 0:
        if select.select([fd], [], [], left)[0]:
            try: os.read(fd, 65536)
            except OSError: return
read_for(2)
for key in "echo nothing is typed here that anybody wants to know\rexit\r":
    os.write(fd, key.encode())
    read_for(0.2)
read_for(1)
P
# A host key that is known, so that nobody is asked.
printf '198.51.100.20 %s\n' "$(cut -d' ' -f1,2 "$work/host.pub")" > "$work/hosts"
to="-F none -i $work/user -o UserKnownHostsFile=$work/hosts -o GlobalKnownHostsFile=/dev/null root@198.51.100.20"
for _ in 1 2 3 4 5; do within a ssh $to true; sleep 0.3; done
within a env TERM=xterm "$python" "$work/type.py" ssh -tt $to env PS1=known: /bin/sh -i
finish
fi

if wants http; then
cat > "$work/web.py" <<'P'
import hashlib, http.server, re, socketserver, time
def md5(text): return hashlib.md5(text.encode()).hexdigest()
class Server(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", -1
    def answer(self, status, body, **fields):
        self.send_response(status)
        for name, value in fields.items(): self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def handle_expect_100(self):
        # So slow that curl's second is over, and it sends its body by itself.
        if self.path == "/slow": time.sleep(1.5)
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on
    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, b"kept")
    def do_GET(self):
        number = int((re.match(r"/hop/(\d)$", self.path) or [0, 0])[1])
        if number:
            return self.answer(302, b"", Location=f"/hop/{number - 1}" if number > 1 else "/end?all=1")
        if self.path != "/private":
            return self.answer(200, b"here")
        said = dict(re.findall(r'(\w+)="?([^",]+)', self.headers.get("Authorization", "")))
        key = md5("alice:desk:a long enough password")
        if said.get("response") == md5(f"{key}:7a5e:{said.get('nc')}:{said.get('cnonce')}:auth:{md5('GET:/private')}"):
            return self.answer(200, b"for alice alone")
        self.answer(401, b"who are you?", WWW_Authenticate='Digest realm="desk", qop="auth", nonce="7a5e"')
# Without a look-up of the address.
http.server.HTTPServer.server_bind = socketserver.TCPServer.server_bind
http.server.ThreadingHTTPServer(("198.51.100.20", 80), Server).serve_forever()
P
capture known-http.pcap 'tcp port 80'
within b "$python" "$work/web.py" 2>/dev/null & server=$!
sleep 2
ask() { within a curl -qs --noproxy "*" -o /dev/null "$@"; }
for _ in 1 2 3 4 5; do
    ask -H 'Expect: 100-continue' -T "$work/cert" http://198.51.100.20/kept
    ask --digest -u 'alice:a long enough password' http://198.51.100.20/private
    ask -L http://198.51.100.20/hop/3
done
ask -H 'Expect: 100-continue' -T "$work/cert" http://198.51.100.20/slow
# What tcpdump has not been given yet would be lost.
sleep 2; finish
fi

if wants websocket; then
cat > "$work/pings.py" <<'P'
import asyncio, sys, websockets
async def main():
    timing = dict(ping_interval=0.7, compression=None)
    if sys.argv[1] == "server":
        async def talk(socket):
            async for message in socket: await socket.send(message)
        async with websockets.serve(talk, "198.51.100.20", 8765, **timing): await asyncio.sleep(60)
    async with websockets.connect("ws://198.51.100.20:8765/talk", proxy=None, **timing) as socket:
        for _ in range(20):
            await socket.send("is anybody there?")
            await socket.recv()
            await asyncio.sleep(0.5)
asyncio.run(main())
P
capture known-websocket.pcap 'tcp port 8765'
within b "$python" "$work/pings.py" server & server=$!
sleep 2; within a "$python" "$work/pings.py" client; sleep 2; finish
fi

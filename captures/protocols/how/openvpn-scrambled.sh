#!/bin/sh
# openvpn-scrambled.pcap: OpenVPN 2.6.14 (Debian bookworm's openvpn 2.6.14-0+deb12u2) with tls-auth over UDP. The scramble
# patch is in no package, so two small relays do to each datagram what its mode `obfuscate farmlight` does: XOR with
# positions, reverse all but the first byte, XOR with positions, XOR with the password. The capture is taken between them.
# As root: sh openvpn-scrambled.sh OUT.pcap
set -e
OUT=$(realpath "$1"); cd "$(mktemp -d)"
for n in a b; do ip netns add tunnels-$n; ip -n tunnels-$n link set lo up; done
ip link add tun-a netns tunnels-a type veth peer name tun-b netns tunnels-b
ip -n tunnels-a addr add 192.0.2.1/24 dev tun-a; ip -n tunnels-b addr add 192.0.2.2/24 dev tun-b
ip -n tunnels-a link set tun-a up; ip -n tunnels-b link set tun-b up
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=farmlight test" -keyout ca.key -out ca.crt 2>/dev/null
for n in server client; do
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$n" -keyout $n.key -out $n.csr 2>/dev/null
  openssl x509 -req -in $n.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out $n.crt 2>/dev/null
done
openvpn --genkey tls-auth ta.key
cat > relay.py <<'EOF'
import socket, sys
listen, to, plain_side = sys.argv[1:4]
PASSWORD = b"farmlight"
positions = lambda d: bytes(b ^ (i + 1 & 255) for i, b in enumerate(d))
mask = lambda d: bytes(b ^ PASSWORD[i % len(PASSWORD)] for i, b in enumerate(d))
turn = lambda d: d[:1] + d[:0:-1]
scramble = lambda d: mask(positions(turn(positions(d))))
plain = lambda d: positions(turn(positions(mask(d))))
address = lambda text: (text.rsplit(":", 1)[0], int(text.rsplit(":", 1)[1]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(address(listen))
far, near = address(to), None
while True:
    d, who = s.recvfrom(65535)
    if who == far: s.sendto((plain if plain_side == "near" else scramble)(d), near)
    else:
        near = who
        s.sendto((scramble if plain_side == "near" else plain)(d), far)
EOF
ip netns exec tunnels-b tcpdump -Uni tun-b -w "$OUT" udp & DUMP=$!
ip netns exec tunnels-b python3 relay.py 192.0.2.2:1195 127.0.0.1:1194 far & R=$!
ip netns exec tunnels-a python3 relay.py 0.0.0.0:1196 192.0.2.2:1195 near & Q=$!
COMMON="--ca ca.crt --data-ciphers AES-256-GCM --auth SHA512 --verb 1"
ip netns exec tunnels-b openvpn --dev tun --server 10.68.0.0 255.255.255.0 --topology subnet --dh none --proto udp4 --local 127.0.0.1 \
  --port 1194 --cert server.crt --key server.key --tls-auth ta.key 0 $COMMON & S=$!
sleep 2
ip netns exec tunnels-a openvpn --client --dev tun --proto udp4 --remote 127.0.0.1 1196 --nobind --cert client.crt --key client.key \
  --tls-auth ta.key 1 $COMMON & C=$!
sleep 5
ip netns exec tunnels-a ping -c 5 10.68.0.1 || true
kill $DUMP $R $Q $S $C
ip netns del tunnels-a; ip netns del tunnels-b

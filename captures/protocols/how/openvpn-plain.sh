#!/bin/sh
# openvpn-crypt-udp.pcap, openvpn-auth-udp.pcap, openvpn-plain-tcp.pcap: OpenVPN 2.6.14 (Debian bookworm's openvpn
# 2.6.14-0+deb12u2) with tls-crypt over UDP, with tls-auth (SHA-256) over UDP and TLS 1.2, and with neither over TCP and
# TLS 1.2. Each session: handshake, five pings through the tunnel, leave.
# As root: sh openvpn-plain.sh DIRECTORY
set -e
OUT=$(realpath "$1"); cd "$(mktemp -d)"
for n in a b; do ip netns add openvpn-$n; ip -n openvpn-$n link set lo up; done
ip link add nam-a netns openvpn-a type veth peer name nam-b netns openvpn-b
ip -n openvpn-a addr add 192.0.2.1/24 dev nam-a; ip -n openvpn-b addr add 192.0.2.2/24 dev nam-b
ip -n openvpn-a link set nam-a up; ip -n openvpn-b link set nam-b up
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -key ca.key -days 3650 -subj "/O=farmlight/CN=farmlight test CA" -out ca.crt 2>/dev/null
for n in server client; do
  openssl ecparam -name prime256v1 -genkey -noout -out $n.key
  openssl req -new -key $n.key -subj "/O=farmlight/CN=$n.vpn.example" -out $n.csr 2>/dev/null
  openssl x509 -req -in $n.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out $n.crt 2>/dev/null
done
openvpn --genkey secret shared.key
COMMON="--ca ca.crt --dev tun --data-ciphers AES-256-GCM --auth SHA256 --verb 1"
# NAME PROTOCOL-OF-SERVER PROTOCOL-OF-CLIENT OPTIONS-OF-SERVER OPTIONS-OF-CLIENT
session() {
  ip netns exec openvpn-b tcpdump -q -Uni nam-b -w "$OUT/$1.pcap" port 1194 & DUMP=$!
  ip netns exec openvpn-b openvpn --server 10.68.0.0 255.255.255.0 --topology subnet --dh none --proto "$2" \
    --local 192.0.2.2 --port 1194 --cert server.crt --key server.key $COMMON $4 & S=$!
  sleep 2
  ip netns exec openvpn-a openvpn --client --proto "$3" --remote 192.0.2.2 1194 --nobind --cert client.crt \
    --key client.key $COMMON $5 & C=$!
  sleep 5
  ip netns exec openvpn-a ping -c 5 -i 0.3 10.68.0.1 || true
  kill $C; sleep 1; kill $S $DUMP; wait $C $S $DUMP 2>/dev/null || true
}
session openvpn-crypt-udp udp4 udp4 "--tls-crypt shared.key" "--tls-crypt shared.key"
session openvpn-auth-udp udp4 udp4 "--tls-auth shared.key 0 --tls-version-max 1.2" "--tls-auth shared.key 1"
session openvpn-plain-tcp tcp4-server tcp4-client "--tls-version-max 1.2" ""
ip netns del openvpn-a; ip netns del openvpn-b

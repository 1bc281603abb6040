#!/bin/sh
# AnyConnect's protocol: openconnect against ocserv, TLS and DTLS, in two network namespaces.
#
# Debian 12: ocserv 1.1.6-3, openconnect 9.01-3, gnutls-bin 3.7.9, tcpdump 4.99.3, root.
# Usage: anyconnect.sh OUT.pcap [legacy]   (legacy: the DTLS of before PSK, as how/anyconnect-resumed.sh asks for it)
set -eu
out=$1
mode=${2:-psk}
work=$(mktemp -d)
trap 'kill $jobs 2>/dev/null || true; ip netns del vpns-a; ip netns del vpns-b; rm -rf "$work"' EXIT
jobs=

ip netns add vpns-a
ip netns add vpns-b
ip link add vpns-a netns vpns-a type veth peer name vpns-b netns vpns-b
ip -n vpns-a addr add 198.51.100.7/24 dev vpns-a
ip -n vpns-b addr add 198.51.100.1/24 dev vpns-b
for end in a b; do
    ip -n vpns-$end link set lo up
    ip -n vpns-$end link set vpns-$end up
done

cd "$work"
certtool --generate-privkey --outfile key.pem 2>/dev/null
printf 'cn = "gate.example.org"\ndns_name = "gate.example.org"\nexpiration_days = 3650\nsigning_key\nencryption_key\ntls_www_server\n' > template
certtool --generate-self-signed --load-privkey key.pem --template template --outfile cert.pem 2>/dev/null
printf 'secret\nsecret\n' | ocpasswd -c users traveller
cat > ocserv.conf <<CONF
auth = "plain[passwd=$work/users]"
tcp-port = 443
udp-port = 443
run-as-user = nobody
run-as-group = nogroup
socket-file = $work/socket
server-cert = $work/cert.pem
server-key = $work/key.pem
isolate-workers = false
max-clients = 4
keepalive = 30
dpd = 3
try-mtu-discovery = false
cert-user-oid = 0.9.2342.19200300.100.1.1
device = vpns
ipv4-network = 10.20.30.0/24
route = 10.20.30.0/24
cisco-client-compat = true
dtls-legacy = true
dtls-psk = $([ "$mode" = psk ] && echo true || echo false)
tls-priorities = "NORMAL:%SERVER_PRECEDENCE:-VERS-SSL3.0$([ "$mode" = psk ] || echo ':+VERS-DTLS0.9')"
use-occtl = false
CONF
chmod 755 .
ip netns exec vpns-b ocserv -f -c ocserv.conf > log.server 2>&1 &
jobs="$jobs $!"
sleep 2

ip netns exec vpns-a tcpdump -q -i vpns-a -w "$out" port 443 &
tcpdump=$!
sleep 1
pin=$(openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
cat > script <<'CONF'
#!/bin/sh
[ "$reason" = connect ] || exit 0
ip link set dev "$TUNDEV" up mtu "$INTERNAL_IP4_MTU"
ip addr add "$INTERNAL_IP4_ADDRESS/24" dev "$TUNDEV"
CONF
chmod 755 script
echo secret | ip netns exec vpns-a openconnect --protocol=anyconnect --user=traveller --passwd-on-stdin \
    --servercert "pin-sha256:$pin" --script "$work/script" --no-proxy https://198.51.100.1 > log.client 2>&1 &
client=$!
jobs="$jobs $client"
sleep 4
ip netns exec vpns-a ping -c 6 -i 0.3 10.20.30.1 || true
sleep 4
kill -INT $client
sleep 1
cat log.client
tail -20 log.server
kill $tcpdump
wait $tcpdump || true

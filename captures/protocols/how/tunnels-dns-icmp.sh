#!/bin/bash
# Debian 12: iodine 0.7.0-10, dns2tcp 0.5.2-3, ptunnel-ng 1.42-1, iputils-ping, traceroute.
# usage: tunnels-dns-icmp.sh OUT-DIRECTORY: dns-tunnel.pcapng, icmp-tunnel.pcapng
out=$1; here=$(dirname "$0"); work=$(mktemp -d)
. "$here/proxies-net.sh"
mkdir $work/w; head -c 3000 /dev/urandom | base64 > $work/w/index.html
(cd $work/w && exec ip netns exec proxies-s python3 -m http.server --bind 0.0.0.0 80 >/dev/null 2>&1) &
(cd $work/w && exec ip netns exec proxies-p python3 -m http.server --bind 0.0.0.0 80 >/dev/null 2>&1) &
mkdir -p /dev/net; [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
record $work/dns.pcap 'udp port 53'
# iodine, at its best guess of a record type and forced to TXT
for type in '' -TTXT; do
    in_p iodined -f -c -P secret 10.99.0.1/27 t.example.com >/dev/null 2>&1 & server=$!
    sleep 1
    in_c iodine -f -r -P secret $type 198.51.100.9 t.example.com >/dev/null 2>&1 & client=$!
    sleep 6
    in_c ping -c 2 -i .3 10.99.0.1 >/dev/null
    kill $client $server; sleep 1
done
# dns2tcp
cat > $work/d <<C
listen = 192.0.2.10
port = 53
domain = d.example.com
key = secret
resources = web:127.0.0.1:80
C
in_s dns2tcpd -F -f $work/d >/dev/null 2>&1 &
sleep 1
in_c dns2tcpc -k secret -z d.example.com -r web -l 8000 192.0.2.10 >/dev/null 2>&1 &
sleep 2
in_c curl -m 8 -s http://127.0.0.1:8000/ -o /dev/null -w '%{http_code}\n'
kill $recorder; sleep 1
record $work/icmp.pcap icmp
in_c ping -c 4 -i .2 192.0.2.10 >/dev/null
in_c ping -c 2 -i .2 -s 1200 -p ff00 192.0.2.10 >/dev/null
in_p ptunnel-ng -r198.51.100.9 -R80 >/dev/null 2>&1 & server=$!
sleep 1
in_c ptunnel-ng -p198.51.100.9 -l8001 -r198.51.100.9 -R80 >/dev/null 2>&1 & client=$!
sleep 1
in_c curl -m 8 -s http://127.0.0.1:8001/ -o /dev/null -w '%{http_code}\n'
kill $client $server; sleep 1
recorded
editcap -F pcapng $work/icmp.pcap $out/icmp-tunnel.pcapng
editcap -F pcapng $work/dns.pcap $out/dns-tunnel.pcapng
finish; rm -r $work

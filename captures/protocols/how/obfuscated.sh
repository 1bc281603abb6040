#!/bin/bash
# Debian 12: shadowsocks-libev 3.3.5, v2ray 4.34.0 (VMess), curl 7.88.1, openssl 3.0.
# usage: obfuscated.sh OUT.pcapng
out=$1; here=$(dirname "$0"); work=$(mktemp -d)
. "$here/proxies-net.sh"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $work/k -out $work/c -days 30 -subj /CN=www.example.com 2>/dev/null
mkdir $work/w; head -c 6000 /dev/urandom | base64 > $work/w/index.html
(cd $work/w && exec ip netns exec proxies-s openssl s_server -quiet -accept 443 -key $work/k -cert $work/c -WWW >/dev/null 2>&1) &
(cd $work/w && exec ip netns exec proxies-s python3 -m http.server 80 >/dev/null 2>&1) &
in_p ss-server -s 198.51.100.9 -p 8388 -k secret -m chacha20-ietf-poly1305 >/dev/null 2>&1 &
in_c ss-local -s 198.51.100.9 -p 8388 -l 1090 -k secret -m chacha20-ietf-poly1305 >/dev/null 2>&1 &
id=b831381d-6324-4d53-ad4f-8cda48b30811
server() { cat <<C
{"log":{"loglevel":"none"},"inbounds":[{"port":$1,"listen":"198.51.100.9","protocol":"vmess","settings":{"clients":[{"id":"$id","alterId":0}]},"streamSettings":$2}],"outbounds":[{"protocol":"freedom"}]}
C
}
client() { cat <<C
{"log":{"loglevel":"none"},"inbounds":[{"port":$2,"listen":"127.0.0.1","protocol":"socks","settings":{"udp":false}}],"outbounds":[{"protocol":"vmess","settings":{"vnext":[{"address":"198.51.100.9","port":$1,"users":[{"id":"$id","alterId":0,"security":"aes-128-gcm"}]}]},"streamSettings":$3}]}
C
}
server 10086 '{"network":"tcp"}' > $work/s1.json; client 10086 1091 '{"network":"tcp"}' > $work/c1.json
chmod -R a+rX $work
in_p v2ray -config $work/s1.json >/dev/null 2>&1 &
in_c v2ray -config $work/c1.json >/dev/null 2>&1 &
sleep 2; record $work/a.pcap 'tcp port 8388 or tcp port 10086'
for port in 1090 1091; do
    in_c curl -m 5 -sk --socks5-hostname 127.0.0.1:$port https://192.0.2.10/index.html -o /dev/null -w '%{http_code}\n'
    in_c curl -m 5 -s --socks5-hostname 127.0.0.1:$port http://192.0.2.10/ -o /dev/null -w '%{http_code}\n'
done
recorded
editcap -F pcapng $work/a.pcap $out
finish; rm -r $work

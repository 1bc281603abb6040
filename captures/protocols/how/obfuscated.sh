#!/bin/bash
# Debian 12: shadowsocks-libev 3.3.5, v2ray 4.34.0 (VMess, alone and within TLS), trojan 1.16.0, curl 7.88.1, openssl 3.0.
# usage: obfuscated.sh OUT-DIRECTORY: obfuscated.pcapng (Shadowsocks, VMess), tls-in-tls.pcapng (trojan, VMess in TLS)
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
tls_s='{"network":"tcp","security":"tls","tlsSettings":{"certificates":[{"certificateFile":"'$work/c'","keyFile":"'$work/k'"}]}}'
tls_c='{"network":"tcp","security":"tls","tlsSettings":{"allowInsecure":true,"serverName":"www.example.com"}}'
server 10086 '{"network":"tcp"}' > $work/s1.json; client 10086 1091 '{"network":"tcp"}' > $work/c1.json
server 8443 "$tls_s" > $work/s2.json; client 8443 1092 "$tls_c" > $work/c2.json
chmod -R a+rX $work
for n in 1 2; do in_p v2ray -config $work/s$n.json >/dev/null 2>&1 & in_c v2ray -config $work/c$n.json >/dev/null 2>&1 & done
cat > $work/ts.json <<C
{"run_type":"server","local_addr":"198.51.100.9","local_port":443,"remote_addr":"192.0.2.10","remote_port":80,"password":["secret"],"log_level":5,"ssl":{"cert":"$work/c","key":"$work/k","alpn":["http/1.1"]}}
C
cat > $work/tc.json <<C
{"run_type":"client","local_addr":"127.0.0.1","local_port":1093,"remote_addr":"198.51.100.9","remote_port":443,"password":["secret"],"log_level":5,"ssl":{"verify":false,"verify_hostname":false,"sni":"www.example.com","alpn":["h2","http/1.1"]}}
C
in_p trojan -c $work/ts.json >/dev/null 2>&1 &
in_c trojan -c $work/tc.json >/dev/null 2>&1 &
sleep 2; record $work/a.pcap 'tcp port 8388 or tcp port 10086'; first=$recorder
in_c tcpdump -q -U -i c0 -w $work/b.pcap 'tcp port 443 or tcp port 8443' 2>/dev/null & second=$!
sleep 1
for port in 1090 1091; do
    in_c curl -m 5 -sk --socks5-hostname 127.0.0.1:$port https://192.0.2.10/index.html -o /dev/null -w '%{http_code}\n'
    in_c curl -m 5 -s --socks5-hostname 127.0.0.1:$port http://192.0.2.10/ -o /dev/null -w '%{http_code}\n'
done
for port in 1092 1093; do
    for i in 1 2; do in_c curl -m 5 -sk --socks5-hostname 127.0.0.1:$port https://192.0.2.10/index.html -o /dev/null -w '%{http_code}\n'; done
    in_c curl -m 5 -s --socks5-hostname 127.0.0.1:$port http://192.0.2.10/ -o /dev/null -w '%{http_code}\n'
done
sleep 1; kill $first $second; sleep 1
editcap -F pcapng $work/a.pcap $out/obfuscated.pcapng
editcap -F pcapng $work/b.pcap $out/tls-in-tls.pcapng
finish; rm -r $work

#!/bin/bash
# Debian 12: trojan 1.16.0, stunnel 5.68, tinyproxy 1.11.1, curl 7.88.1, OpenSSL 3.0. A page fetched by HTTPS through
# trojan, through CONNECT within TLS, and directly, twice each: ports 8443, 8601 and 443.
# usage: tls-in-tls.sh OUT.pcapng
out=$1; here=$(dirname "$0"); work=$(mktemp -d); chmod 755 $work
. "$here/proxies-net.sh"
cd $work
openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 90 -subj "/C=US/O=Example Trust Services/CN=www.example" \
    -addext "subjectAltName=DNS:www.example,DNS:proxy.example" 2>/dev/null
echo hello > page
in_s openssl s_server -quiet -WWW -accept 192.0.2.10:443 -cert cert -key key >/dev/null 2>&1 &
trojan() { cat <<C
{"run_type":"$1","local_addr":"$2","local_port":$3,"remote_addr":"$4","remote_port":$5,"password":["secret"],"log_level":5,
"ssl":{"cert":"$work/cert","key":"$work/key","verify":false,"verify_hostname":false,"sni":"proxy.example","alpn":["h2","http/1.1"],
"reuse_session":false,"session_ticket":false},"tcp":{"no_delay":true,"keep_alive":true}}
C
}
trojan server 198.51.100.9 8443 192.0.2.10 443 > server.json; trojan client 127.0.0.1 1080 198.51.100.9 8443 > client.json
sed -i 's/"cert":"[^"]*"/"cert":""/' client.json
in_p trojan server.json 2>/dev/null & in_c trojan client.json 2>/dev/null &
printf 'User root\nPort 8888\nListen 127.0.0.1\nMaxClients 9\nLogLevel Critical\nConnectPort 443\n' > tiny.conf
printf 'foreground=yes\npid=\n[x]\naccept=198.51.100.9:8601\nconnect=127.0.0.1:8888\ncert=cert\nkey=key\n' > server.conf
printf 'foreground=yes\npid=\n[x]\nclient=yes\naccept=127.0.0.1:8601\nconnect=198.51.100.9:8601\n' > client.conf
in_p tinyproxy -d -c tiny.conf >/dev/null 2>&1 & in_p stunnel server.conf 2>/dev/null & in_c stunnel client.conf 2>/dev/null &
sleep 2
record $work/a.pcap tcp
for i in 1 2; do
    for proxy in socks5://127.0.0.1:1080 http://127.0.0.1:8601 ""; do
        in_c curl -sk -o /dev/null -m 5 --http1.1 ${proxy:+-x $proxy} --resolve www.example:443:192.0.2.10 https://www.example/page \
            || in_c curl -sk -o /dev/null -m 5 --http1.1 ${proxy:+-x $proxy} https://192.0.2.10/page
    done
done
recorded
editcap -F pcapng $work/a.pcap $out; finish; rm -r $work

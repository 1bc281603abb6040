#!/bin/bash
# Debian 12: microsocks 1.0.3-2, dante-server 1.4.2+dfsg-7, tinyproxy 1.11.1-2.1, curl 7.88.1, openssl 3.0, python3 3.11.
# usage: socks.sh OUT.pcapng
out=$1; here=$(dirname "$0"); work=$(mktemp -d)
. "$here/proxies-net.sh"
in_p microsocks -p 1080 2>/dev/null & a=$!
in_p microsocks -p 1081 -u anna -P secret 2>/dev/null & b=$!
cat > $work/danted.conf <<C
logoutput: $work/danted.log
internal: p0 port = 1082
external: p1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0/0 to: 0/0 }
socks pass { from: 0/0 to: 0/0 command: bind connect udpassociate }
socks pass { from: 0/0 to: 0/0 command: bindreply udpreply }
C
in_p danted -f $work/danted.conf >/dev/null 2>&1 & c=$!
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $work/k -out $work/c -days 30 -subj /CN=www.example.com 2>/dev/null
in_s openssl s_server -quiet -accept 443 -key $work/k -cert $work/c -www & d=$!
(cd $work && mkdir w && echo hello > w/index.html && cd w && exec ip netns exec proxies-s python3 -m http.server 80 >/dev/null 2>&1) & e=$!
cat > $work/echo.py <<P
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("192.0.2.10", 5300))
while True:
    data, who = s.recvfrom(2000); s.sendto(data[::-1], who)
P
in_s python3 $work/echo.py & f=$!
cat > $work/client.py <<P
import socket, struct, sys, time
def open_():
    s = socket.create_connection(("198.51.100.9", 1082)); s.sendall(b"\5\1\0"); assert s.recv(2) == b"\5\0"; return s
def ask(s, cmd, ip, port):
    s.sendall(b"\5" + bytes([cmd]) + b"\0\1" + socket.inet_aton(ip) + struct.pack(">H", port)); return reply(s)
def reply(s):
    r = s.recv(10, socket.MSG_WAITALL); return r[1], socket.inet_ntoa(r[4:8]), struct.unpack(">H", r[8:])[0]
s = open_(); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("198.51.100.7", 0))
code, ip, port = ask(s, 3, "0.0.0.0", 0); print("associate", code, ip, port)
for i in range(5):
    u.sendto(b"\0\0\0\1" + socket.inet_aton("192.0.2.10") + struct.pack(">H", 5300) + b"question %d" % i, (ip, port))
    u.settimeout(2); print(u.recv(2000)); time.sleep(.1)
s.close()
s = open_(); code, ip, port = ask(s, 2, "192.0.2.10", 80); print("bind", code, ip, port)
import subprocess
subprocess.Popen(["ip", "netns", "exec", "proxies-s", "sh", "-c", "(echo 220 data; sleep 1) | nc -w1 192.0.2.9 %d" % port])
print("accepted", reply(s), s.recv(100)); s.close()
P
sleep 1; record $work/out.pcap 'tcp or udp'
in_c curl -m 5 -sk --socks5-hostname 198.51.100.9:1080 https://192.0.2.10/ -o /dev/null
in_c curl -m 5 -s --socks5 198.51.100.9:1080 http://192.0.2.10/ -o /dev/null
in_c curl -m 5 -s --socks5 anna:secret@198.51.100.9:1081 http://192.0.2.10/ -o /dev/null
in_c curl -m 5 -s --socks5 anna:wrong@198.51.100.9:1081 http://192.0.2.10/ -o /dev/null
in_c curl -m 5 -s --socks5 198.51.100.9:1080 http://192.0.2.10:81/ -o /dev/null
in_c curl -m 5 -sk --socks4 198.51.100.9:1082 https://192.0.2.10/ -o /dev/null
in_c curl -m 5 -s --socks4a 198.51.100.9:1082 http://192.0.2.10/ -o /dev/null
in_c python3 $work/client.py
recorded
editcap -F pcapng $work/out.pcap $out
finish; rm -r $work

#!/bin/sh
# Makes rfb.pcap: VNC with the usual security types, a viewer that listens, and a call through a repeater.
#
# Debian 12: tigervnc-standalone-server and tigervnc-viewer 1.12.0, tightvncserver and xtightvncviewer 1.3.10,
# x11vnc 0.9.16, xvfb, xfonts-base, openssl, python3, tshark. Run as root, in an empty folder. Addresses are TEST-NET-1.
set -eu
server=rfb_kvm-a viewer=rfb_kvm-b
on_server="ip netns exec rfb_kvm-a"
on_viewer="ip netns exec rfb_kvm-b"

ip netns add $server
ip netns add $viewer
ip link add va netns $server type veth peer name vb netns $viewer
$on_server ip addr add 192.0.2.1/24 dev va
$on_viewer ip addr add 192.0.2.2/24 dev vb
for n in $server $viewer; do ip -n $n link set lo up; done
ip -n $server link set va up
ip -n $viewer link set vb up
pids=""
finish() {
    kill $pids 2>/dev/null || true
    sleep 1
    ip netns del $server
    ip netns del $viewer
}
trap finish EXIT
export HOME="$PWD"
printf 'secret\nsecret\nn\n' | tigervncpasswd passwd >/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=desk.example \
    -addext subjectAltName=DNS:desk.example,IP:192.0.2.1 -keyout key.pem -out cert.pem 2>/dev/null

# The viewers' own screen, which nobody watches.
Xvfb :99 -screen 0 640x480x16 -nolisten tcp >/dev/null 2>&1 &
pids="$pids $!"
# One desktop for each security type. Small, so that the picture is.
desktop() {
    number=$1; shift
    $on_server Xtigervnc :$number -geometry 160x120 -depth 16 -desktop desk-$number -rfbauth passwd "$@" >/dev/null 2>&1 &
    pids="$pids $!"
}
desktop 1 -SecurityTypes VncAuth
desktop 2 -SecurityTypes None
desktop 3 -SecurityTypes TLSVnc
desktop 4 -SecurityTypes X509Vnc -X509Cert cert.pem -X509Key key.pem
# It puts the host's name into the desktop's, so the host gets one.
$on_server unshare -u sh -c 'hostname desk; exec Xtightvnc :5 -geometry 160x120 -depth 16 -desktop desk-5 \
    -rfbport 5905 -rfbauth passwd -fp /usr/share/fonts/X11/misc' >/dev/null 2>&1 &
pids="$pids $!"
sleep 3
$on_viewer tshark -q -i vb -f tcp -w all.pcapng 2>/dev/null &
shark=$!
pids="$pids $shark"
sleep 3

look() { DISPLAY=:99 $on_viewer timeout 3 "$@" >/dev/null 2>&1 || true; }
for number in 1 2 3; do look xtigervncviewer -passwd passwd 192.0.2.1:$number; done
# The name in the certificate has to fit, so it is asked for by name.
mkdir -p /etc/netns/$viewer
echo '192.0.2.1 desk.example' >/etc/netns/$viewer/hosts
look xtigervncviewer -passwd passwd -X509CA cert.pem desk.example:4
look xtightvncviewer -passwd passwd 192.0.2.1:5
# The viewer listens, the server calls.
DISPLAY=:99 $on_viewer timeout 8 xtigervncviewer -passwd passwd -listen 5500 >/dev/null 2>&1 &
sleep 1
DISPLAY=:2 $on_server timeout 4 x11vnc -desktop desk-2 -rfbauth passwd -rfbport 0 -connect 192.0.2.2:5500 >/dev/null 2>&1 || true
# A repeater that takes the number and answers nothing: what the server says first is what is to be seen.
$on_viewer timeout 8 python3 -c '
import socket
s = socket.create_server(("192.0.2.2", 5501)); c, _ = s.accept()
n = 0
while n < 262: n += len(c.recv(4096))
c.sendall(b"RFB 003.008\n"); c.recv(4096)' &
sleep 1
DISPLAY=:2 $on_server timeout 4 x11vnc -desktop desk-2 -rfbauth passwd -rfbport 0 -connect repeater=ID:1234+192.0.2.2:5501 \
    >/dev/null 2>&1 || true
kill $shark
sleep 2
rm -rf /etc/netns/$viewer
# The pictures are of no use here: the first 40 packets of each connection.
filter=""
for stream in $(tshark -r all.pcapng -T fields -e tcp.stream | sort -un); do
    last=$(tshark -r all.pcapng -Y "tcp.stream == $stream" -T fields -e frame.number | sed -n '1,40p' | tail -1)
    filter="$filter${filter:+ || }(tcp.stream == $stream && frame.number <= $last)"
done
tshark -r all.pcapng -Y "$filter" -F pcap -w rfb.pcap

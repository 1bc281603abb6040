#!/bin/sh
# Makes ipmi.pcap: sessions of IPMI 1.5 and 2.0 with a simulated management controller, and a presence ping.
#
# Debian 12: openipmi 2.0.33 (ipmi_sim), ipmitool 1.8.19, freeipmi-tools 1.6.10 (rmcpping), bsdutils
# (script), tshark. Run as root, in an empty folder. Addresses are TEST-NET-1.
set -eu
bmc=rfb_kvm-a admin=rfb_kvm-b
on_bmc="ip netns exec rfb_kvm-a"
on_admin="ip netns exec rfb_kvm-b"
ip netns add $bmc
ip netns add $admin
ip link add va netns $bmc type veth peer name vb netns $admin
$on_bmc ip addr add 192.0.2.1/24 dev va
$on_admin ip addr add 192.0.2.2/24 dev vb
for n in $bmc $admin; do ip -n $n link set lo up; done
ip -n $bmc link set va up
ip -n $admin link set vb up
pids=""
finish() {
    kill $pids 2>/dev/null || true
    sleep 1
    ip netns del $bmc
    ip netns del $admin
}
trap finish EXIT
cat >lan.conf <<'C'
name "bmc"
set_working_mc 0x20
  startlan 1
    addr 192.0.2.1 623
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  serial 15 127.0.0.1 9002 codec VM
  sol "telnet:127.0.0.1:9003" 115200
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "ADMIN" "secret" admin 10 none md2 md5 straight
C
cat >bmc.emu <<'C'
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
C
mkdir -p state
# What the serial console says.
$on_bmc python3 -c '
import socket, time
s = socket.create_server(("127.0.0.1", 9003))
c, _ = s.accept()
while True: c.sendall(b"\r\nlogin: "); time.sleep(1)' &
pids="$pids $!"
$on_bmc ipmi_sim -n -c lan.conf -f bmc.emu -s state >sim.log 2>&1 &
pids="$pids $!"
sleep 3
$on_admin tshark -q -i vb -f udp -F pcap -w ipmi.pcap 2>/dev/null &
shark=$!
pids="$pids $shark"
sleep 3
$on_admin rmcpping -c 1 192.0.2.1 || true
$on_admin ipmitool -I lan -A MD5 -H 192.0.2.1 -U ADMIN -P secret mc info || true
$on_admin ipmitool -I lanplus -C 3 -H 192.0.2.1 -U ADMIN -P secret mc info || true
# A console wants a terminal.
$on_admin script -qc 'timeout 6 ipmitool -I lanplus -C 3 -H 192.0.2.1 -U ADMIN -P secret sol activate' /dev/null || true
sleep 1
kill $shark
sleep 2

#!/bin/bash
# Debian 12: tor 0.4.9.11, obfs4proxy 0.0.14. A bridge of our own and two clients of it, one plain and one through obfs4.
# usage: tor.sh OUT-DIRECTORY: tor.pcapng, obfs4.pcapng
out=$1; here=$(dirname "$0"); work=$(mktemp -d); chmod 755 $work
. "$here/proxies-net.sh"
for d in bridge plain obfs; do mkdir -m 700 $work/$d; done
common() { echo "DataDirectory $work/$1"; echo "Log notice file $work/$1/log"; echo "User root"; echo "AllowNonRFC953Hostnames 0"; }
{ common bridge; cat <<C
Nickname bridge
ContactInfo none
BridgeRelay 1
PublishServerDescriptor 0
AssumeReachable 1
ExitRelay 0
SocksPort 0
Address 198.51.100.9
ORPort 198.51.100.9:9001 IPv4Only
ServerTransportPlugin obfs4 exec /usr/bin/obfs4proxy
ServerTransportListenAddr obfs4 198.51.100.9:9443
ExtORPort auto
C
} > $work/bridge.rc
in_p tor -f $work/bridge.rc --quiet & sleep 8
cert=$(grep -o 'cert=[^ ]*' $work/bridge/pt_state/obfs4_bridgeline.txt | head -1)
{ common plain; echo "UseBridges 1"; echo "Bridge 198.51.100.9:9001"; echo "SocksPort 0"; } > $work/plain.rc
{ common obfs; echo "UseBridges 1"; echo "Bridge obfs4 198.51.100.9:9443 $cert iat-mode=0"; echo "SocksPort 0"; echo "ClientTransportPlugin obfs4 exec /usr/bin/obfs4proxy"; } > $work/obfs.rc
record $work/a.pcap tcp port 9001; in_c timeout 15 tor -f $work/plain.rc --quiet; recorded
record $work/b.pcap tcp port 9443; in_c timeout 15 tor -f $work/obfs.rc --quiet; recorded

editcap -F pcapng $work/a.pcap $out/tor.pcapng; editcap -F pcapng $work/b.pcap $out/obfs4.pcapng
finish; rm -r $work

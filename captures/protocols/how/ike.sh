#!/bin/sh
# IKEv2 and ESP in UDP: strongSwan against strongSwan, in two network namespaces.
#
# Debian 12: strongswan-swanctl, charon-systemd, libcharon-extra-plugins 5.9.8-5+deb12u6, tcpdump 4.99.3, root.
# ESP runs in the program itself (kernel-libipsec), which encapsulates it in UDP even where there is no NAT.
# Usage: ike.sh OUT.pcap [1|2]   (the IKE version; how/ikev1.sh calls this with 1, in aggressive mode)
set -eu
out=$1
version=${2:-2}
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
ip -n vpns-b addr add 192.0.2.1/32 dev lo

if [ "$version" = 1 ]; then
    phase='version = 1
        aggressive = yes
        proposals = aes256-sha256-modp2048'
else
    phase='version = 2
        proposals = aes256gcm16-prfsha384-ecp384-x25519, aes256-sha256-modp2048'
fi

for end in a b; do
    dir=$work/$end
    mkdir -p "$dir/swanctl"
    cat > "$dir/strongswan.conf" <<CONF
charon-systemd {
    load = random nonce openssl pem pkcs1 pubkey x509 hmac kdf vici kernel-libipsec kernel-netlink socket-default updown
    send_vendor_id = yes
    i_dont_care_about_security_and_use_aggressive_mode_psk = yes
    plugins { vici { socket = unix://$dir/vici } }
    filelog { log { path = $dir/log
                    ike = 1 } }
}
CONF
    if [ $end = a ]; then
        ends='local_addrs = 198.51.100.7
        remote_addrs = 198.51.100.1
        vips = 0.0.0.0'
        ids='local { auth = psk
                id = traveller@example.org }
        remote { auth = psk
                 id = gate.example.org }'
        child='remote_ts = 192.0.2.1/32'
        pools=
    else
        ends='local_addrs = 198.51.100.1
        pools = inside'
        ids='local { auth = psk
                id = gate.example.org }
        remote { auth = psk }'
        child='local_ts = 192.0.2.1/32'
        pools='pools { inside { addrs = 10.20.30.0/24 } }'
    fi
    cat > "$dir/swanctl/swanctl.conf" <<CONF
connections {
    vpn {
        $phase
        encap = yes
        dpd_delay = 2s
        $ends
        $ids
        children { net { $child
                         esp_proposals = aes256-sha256 } }
    }
}
secrets { ike { secret = "a long enough secret" } }
$pools
CONF
    STRONGSWAN_CONF=$dir/strongswan.conf ip netns exec vpns-$end charon-systemd &
    jobs="$jobs $!"
done
sleep 4

ip netns exec vpns-a tcpdump -q -i vpns-a -w "$out" udp or esp &
tcpdump=$!
sleep 1
for end in a b; do
    SWANCTL_DIR=$work/$end/swanctl ip netns exec vpns-$end swanctl --load-all --uri "unix://$work/$end/vici"
done
ip netns exec vpns-a swanctl --initiate --child net --uri "unix://$work/a/vici"
ip netns exec vpns-a ping -c 4 -i 0.5 192.0.2.1
sleep 5
ip netns exec vpns-a swanctl --rekey --child net --uri "unix://$work/a/vici"
sleep 1
ip netns exec vpns-a ping -c 2 -i 0.5 192.0.2.1
ip netns exec vpns-a swanctl --terminate --ike vpn --uri "unix://$work/a/vici"
sleep 1
kill $tcpdump
wait $tcpdump || true

#!/bin/bash
# Debian 12: python3-libtorrent 2.0.8. BitTorrent with its encryption forced, which looks random from the first byte on
# and must not be taken for a proxy.
# usage: bittorrent-encrypted.sh OUT.pcapng
out=$1; here=$(dirname "$0"); work=$(mktemp -d); chmod 755 $work
. "$here/proxies-net.sh"
mkdir $work/seed $work/leech; head -c 6000 /dev/urandom > $work/seed/data
cat > $work/peer.py <<'P'
import libtorrent as lt, sys, time
role, folder, seconds, address = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
s = lt.session({"listen_interfaces": address + ":6881", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
    "enable_natpmp": False, "enable_outgoing_utp": False, "enable_incoming_utp": False, "allow_multiple_connections_per_ip": True,
    "in_enc_policy": 0, "out_enc_policy": 0, "allowed_enc_level": 2})
if role == "seed":
    fs = lt.file_storage(); lt.add_files(fs, folder + "/data"); t = lt.create_torrent(fs, 16384)
    lt.set_piece_hashes(t, folder); open(folder + "/../t", "wb").write(lt.bencode(t.generate()))
h = s.add_torrent({"ti": lt.torrent_info(folder + "/../t"), "save_path": folder})
if role == "leech": time.sleep(1); h.connect_peer(("198.51.100.9", 6881))
end = time.time() + seconds
while time.time() < end:
    time.sleep(1)
print(role, h.status().progress)
P
in_p /usr/bin/python3 $work/peer.py seed $work/seed 60 198.51.100.9 & sleep 3
record $work/a.pcap tcp port 6881
for i in 1 2 3 4; do rm -rf $work/leech; mkdir $work/leech; in_c /usr/bin/python3 $work/peer.py leech $work/leech 5 198.51.100.7; done
recorded
editcap -F pcapng $work/a.pcap $out
finish; rm -r $work

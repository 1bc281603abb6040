#!/bin/sh
# MeshCentral 1.1.55 from npm: its server, its own agent (meshagent_x86-64 of the package), its own console (meshctrl).
# Node 20, limited to TLS 1.2 so that the certificate of the server's own authority can be seen; with TLS 1.3 nothing
# of it is in clear. Run as root in an empty folder; the first start makes the certificates and takes a minute.
npm init -y >/dev/null
npm install --omit=optional --ignore-scripts meshcentral@1.1.55
mkdir -p meshcentral-data agent /etc/netns/mesh-client
cat > meshcentral-data/config.json <<'CONFIG'
{"settings":{"cert":"mesh.example.com","port":443,"redirPort":80,"wanOnly":true,"selfUpdate":false,"webRTC":false,
             "sessionKey":"0123456789abcdef"},"domains":{"":{"newAccounts":true,"title":"Mesh"}}}
CONFIG
echo "192.0.2.9 mesh.example.com" > /etc/netns/mesh-client/hosts
ip netns add mesh-server
ip netns add mesh-client
ip link add ms0 netns mesh-server type veth peer name mc0 netns mesh-client
ip -n mesh-server addr add 192.0.2.9/24 dev ms0
ip -n mesh-client addr add 192.0.2.7/24 dev mc0
ip -n mesh-server link set lo up
ip -n mesh-server link set ms0 up
ip -n mesh-client link set mc0 up

server="ip netns exec mesh-server node --tls-max-v1.2 node_modules/meshcentral"
$server --createaccount admin --pass Mesh-pass-1 --email admin@example.com
$server --adminaccount admin
$server & server_pid=$!
sleep 60
ctrl="ip netns exec mesh-client node node_modules/meshcentral/meshctrl.js --url wss://mesh.example.com:443"
ctrl="$ctrl --loginuser admin --loginpass Mesh-pass-1"
mesh=$($ctrl AddDeviceGroup --name lab | sed 's/^ok mesh\/\///')
cp node_modules/meshcentral/agents/meshagent_x86-64 agent/meshagent
chmod +x agent/meshagent
ip netns exec mesh-client curl -sk "https://mesh.example.com/meshsettings?id=$mesh" > agent/meshagent.msh
# The agent tells the name of its device.
agent() { (cd agent && unshare -u sh -c "hostname office-pc && exec ip netns exec mesh-client timeout $1 ./meshagent connect"); }
# A first connection loads 600 kB of the agent's own code, and is not captured.
agent 40 || true

# Captured: the agent connects; the console lists devices, then opens a terminal through the relay.
ip netns exec mesh-server tcpdump -U -i ms0 -w meshcentral.pcap tcp & tcpdump=$!
agent 45 & sleep 14
device=$($ctrl ListDevices | grep -o '"[A-Za-z0-9@$]\{60,\}"' | tr -d '"')
(sleep 4; echo 'echo hello'; sleep 3; echo exit; sleep 2) | timeout 14 $ctrl shell --id "$device" || true
sleep 2
kill $tcpdump $server_pid

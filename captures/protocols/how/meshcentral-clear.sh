#!/bin/sh
# MeshCentral 1.1.55 as it speaks behind a proxy that ends TLS ("tlsOffload"). Namespaces, agent and accounts as made by
# meshcentral.sh, in the same folder. The agent connects and is refused, as it wants the certificate that it knows; the
# console logs in three times.
cat > meshcentral-data/config.json <<'CONFIG'
{"settings":{"cert":"mesh.example.com","port":8080,"redirPort":0,"agentPort":0,"tlsOffload":true,"wanOnly":true,
             "selfUpdate":false,"webRTC":false,"sessionKey":"0123456789abcdef"},
 "domains":{"":{"newAccounts":true,"title":"Mesh"}}}
CONFIG
ip netns exec mesh-server node node_modules/meshcentral & server_pid=$!
sleep 15
sed -i 's#^MeshServer=.*#MeshServer=ws://mesh.example.com:8080/agent.ashx#' agent/meshagent.msh
rm -f agent/meshagent.db
ip netns exec mesh-server tcpdump -U -i ms0 -w meshcentral-clear.pcap tcp port 8080 & tcpdump=$!
(cd agent && unshare -u sh -c "hostname office-pc && exec ip netns exec mesh-client timeout 45 ./meshagent connect") &
sleep 12
ctrl="ip netns exec mesh-client node node_modules/meshcentral/meshctrl.js --url ws://mesh.example.com:8080"
ctrl="$ctrl --loginuser admin --loginpass Mesh-pass-1"
$ctrl ListDevices
device=$($ctrl ListDevices | grep -o '"[A-Za-z0-9@$]\{60,\}"' | tr -d '"' | tail -1)
timeout 14 $ctrl shell --id "$device" < /dev/null || true
sleep 2
kill $tcpdump $server_pid

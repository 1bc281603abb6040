# Two hosts, a desk (10.9.7.1) and a server (10.9.7.2), as network namespaces with a wire between them.
# Sourced by the scripts beside it: `bash how/x11.sh OUT.pcapng`, as root. Debian 12.
set -u
OUT=$(realpath -m "${1:?where shall the capture go}")
WORK=$(mktemp -d)
# A command on a host, which bears a name of its own there.
on() {
  local host=$1 name=$2
  shift 2
  ip netns exec "$host" unshare -u sh -c 'hostname "$0"; exec "$@"' "$name" "$@"
}
desk() { on desktops-a desk.example "$@"; }
server() { on desktops-b server.example "$@"; }
ip netns add desktops-a
ip netns add desktops-b
desk sysctl -qw net.ipv6.conf.all.disable_ipv6=1
server sysctl -qw net.ipv6.conf.all.disable_ipv6=1
ip -n desktops-a link add wire type veth peer name wire netns desktops-b
for host in a:1 b:2; do
  ip -n "desktops-${host%:*}" addr add "10.9.7.${host#*:}/24" dev wire
  ip -n "desktops-${host%:*}" link set wire up
  ip -n "desktops-${host%:*}" link set lo up
done
desk ethtool -K wire gso off tso off gro off > /dev/null 2>&1
server ethtool -K wire gso off tso off gro off > /dev/null 2>&1
desk tcpdump -q -U -i wire -w "$WORK/raw.pcap" -s "${SNAP:-65535}" not arp 2> /dev/null &
sleep 1
finish() {
  sleep 1
  for host in desktops-b desktops-a; do ip netns pids "$host" | xargs -r kill 2> /dev/null; done
  wait 2> /dev/null
  # Without the name of this machine's kernel and tools.
  editcap --discard-capture-comment -F pcapng "$WORK/raw.pcap" "$OUT"
  ip netns del desktops-a
  ip netns del desktops-b
  rm -rf "$WORK"
}
trap finish EXIT

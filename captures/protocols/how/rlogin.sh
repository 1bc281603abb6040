# rlogin and rsh: a login broken off at the password, and a command that is refused.
# rsh-redone-server 85, rsh-redone-client 85, inetutils-inetd 2.4 (Debian 12).
. "$(dirname "$0")/desktops-net.sh"
# The servers insist on a name for the client's address.
mkdir -p /etc/netns/desktops-b
printf '10.9.7.1 desk.example desk\n10.9.7.2 server.example server\n' > /etc/netns/desktops-b/hosts
cat > "$WORK/inetd.conf" <<CONF
shell stream tcp nowait root /usr/sbin/in.rshd in.rshd
login stream tcp nowait root /usr/sbin/in.rlogind in.rlogind
CONF
server inetutils-inetd -d "$WORK/inetd.conf" > /dev/null 2>&1 &
sleep 1
(sleep 2; printf 'wrong\r'; sleep 1; printf '~.\r') |
  TERM=xterm desk timeout 6 script -qc 'rsh-redone-rlogin -l guest 10.9.7.2' /dev/null > /dev/null
desk timeout 5 rsh-redone-rsh -l guest 10.9.7.2 uptime
rm -r /etc/netns/desktops-b

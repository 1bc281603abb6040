# Telnet: a login that is broken off at the password.
# inetutils-telnetd 2.4, inetutils-telnet 2.4, inetutils-inetd 2.4 (Debian 12).
. "$(dirname "$0")/desktops-net.sh"
echo 'telnet stream tcp nowait root /usr/sbin/telnetd telnetd -h' > "$WORK/inetd.conf"
server inetutils-inetd -d "$WORK/inetd.conf" > /dev/null 2>&1 &
sleep 1
(sleep 2; printf 'guest\r'; sleep 2; printf 'wrong\r'; sleep 2; printf '\035'; sleep 1; printf 'quit\r') |
  TERM=xterm desk script -qc 'stty rows 24 cols 80; telnet 10.9.7.2' /dev/null > /dev/null

# RDP: a login window over TLS, with standard security, behind a load balancer's token, a server that wants TLS of a client
# without, and a whole connection in a tunnel of TLS. The certificate says "Remote Desktop Authentication".
# xrdp 0.9.21.1, freerdp2-x11 2.11.7, xvfb 21.1.7, openssl 3.0, socat 1.7.4 (Debian 12).
. "$(dirname "$0")/desktops-net.sh"
openssl req -x509 -newkey rsa:2048 -nodes -days 180 -subj /CN=server.example -keyout "$WORK/key.pem" -out "$WORK/cert.pem" \
  -addext extendedKeyUsage=1.3.6.1.4.1.311.54.1.2 2> /dev/null
chmod -R a+rX "$WORK"
config() {
  sed -e "s|^certificate=.*|certificate=$WORK/cert.pem|; s|^key_file=.*|key_file=$WORK/key.pem|" \
    -e "s|^security_layer=.*|security_layer=$1|; s|^port=3389|port=$2|" -e "s|^LogFile=.*|LogFile=$WORK/log$2|" \
    -e 's|^tls_ciphers=.*|tls_ciphers=HIGH|; s|^ssl_protocols=.*|ssl_protocols=TLSv1.2|' /etc/xrdp/xrdp.ini > "$WORK/$2.ini"
}
config negotiate 3389
config tls 3390
for port in 3389 3390; do server xrdp --nodaemon --config "$WORK/$port.ini" > /dev/null 2>&1 & sleep 1; done
desk Xvfb :48 -screen 0 640x480x24 -nolisten tcp 2> /dev/null &
sleep 2
look() {
  DISPLAY=:48 HOME="$WORK" desk timeout 2 xfreerdp /cert:ignore /w:320 /h:200 /bpp:8 -wallpaper /u:ann "$@" > /dev/null 2>&1
}
look /v:10.9.7.2 /sec:tls
look /v:10.9.7.2 /sec:rdp /client-hostname:desk
look /v:10.9.7.2 /sec:tls /load-balance-info:'Cookie: msts=2888185610.15629.0000'
look /v:10.9.7.2:3390 /sec:rdp
# All of it inside TLS of its own, which only the certificate tells.
server socat OPENSSL-LISTEN:8443,reuseaddr,cert="$WORK/cert.pem",key="$WORK/key.pem",verify=0,openssl-max-proto-version=TLS1.2 \
  TCP:10.9.7.2:3389 &
desk socat TCP-LISTEN:4000,bind=127.0.0.1 OPENSSL:10.9.7.2:8443,verify=0 &
sleep 1
look /v:127.0.0.1:4000 /sec:rdp

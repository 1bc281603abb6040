# XDMCP: a display asks the server for a login, and the server's login program draws on it by X11.
# xdm 1.1.11, xvfb 21.1.7 (Debian 12).
. "$(dirname "$0")/desktops-net.sh"
mkdir "$WORK/xdm"
cat > "$WORK/xdm/config" <<CONF
DisplayManager.requestPort: 177
DisplayManager.errorLogFile: $WORK/xdm/log
DisplayManager.pidFile: $WORK/xdm/pid
DisplayManager.authDir: $WORK/xdm
DisplayManager.servers: $WORK/xdm/servers
DisplayManager.accessFile: $WORK/xdm/access
DisplayManager*resources: /dev/null
DisplayManager*setup: /bin/true
CONF
: > "$WORK/xdm/servers"
echo '*' > "$WORK/xdm/access"
server xdm -nodaemon -config "$WORK/xdm/config" &
sleep 2
desk timeout 6 Xvfb :49 -screen 0 640x480x8 -listen tcp -query 10.9.7.2 -from 10.9.7.1 2> /dev/null

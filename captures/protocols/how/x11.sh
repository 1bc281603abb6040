# X11: programs on a server draw on the desk's display: with the right cookie, without any, and in the other byte order.
# xvfb 21.1.7, x11-apps 7.7+9, x11-utils 7.7+5, python3 3.11 (Debian 12).
. "$(dirname "$0")/desktops-net.sh"
touch "$WORK/auth"
xauth -f "$WORK/auth" add 10.9.7.1:47 . "$(mcookie)"
desk Xvfb :47 -screen 0 1024x768x24 -listen tcp -auth "$WORK/auth" 2> /dev/null &
sleep 2
XAUTHORITY="$WORK/auth" server timeout 2 xlogo -display 10.9.7.1:47
XAUTHORITY="$WORK/nothing" server timeout 2 xdpyinfo -display 10.9.7.1:47
server python3 - "$(xauth -f "$WORK/auth" list | awk '{print $3; exit}')" <<'PY'
import socket, struct, sys
# A big-endian client: no program of today is one, so its setup is written by hand; the answer is the real server's.
s = socket.create_connection(("10.9.7.1", 6047))
name, data = b"MIT-MAGIC-COOKIE-1", bytes.fromhex(sys.argv[1])
s.sendall(struct.pack(">BxHHHHxx", 0x42, 11, 0, len(name), len(data)) + name + b"\0\0" + data)
s.recv(65536)
s.sendall(struct.pack(">BBH", 98, 0, 2 + 3) + struct.pack(">HH", 12, 0) + b"BIG-REQUESTS")
s.recv(65536)
PY

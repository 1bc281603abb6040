# RD Gateway: the real client, a proxy that ends its TLS, and a gateway of ours that lets it in and then hangs up.
# Captured between proxy and gateway. freerdp2-x11 2.11.7, socat 1.7.4, xvfb 21.1.7, openssl 3.0, python3 3.11 (Debian 12).
. "$(dirname "$0")/desktops-net.sh"
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=gw.example -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2> /dev/null
desk socat OPENSSL-LISTEN:443,reuseaddr,fork,cert="$WORK/cert.pem",key="$WORK/key.pem",verify=0 TCP:10.9.7.2:80 &
cat > "$WORK/gateway.py" <<'PY'
import base64, hashlib, socket, struct, threading
def head(s):
    data = b""
    while b"\r\n\r\n" not in data:
        part = s.recv(4096)
        if not part: return None
        data += part
    return data
def challenge():
    # Any client is let in, so any challenge will do: NTLM's second message with a domain and nothing else.
    name = "GW".encode("utf-16le")
    info = struct.pack("<HH", 2, len(name)) + name + struct.pack("<HH", 0, 0)
    head = b"NTLMSSP\0" + struct.pack("<IHHII", 2, len(name), len(name), 56, 0xE2898215) + b"01234567" + bytes(8)
    return base64.b64encode(head + struct.pack("<HHI", len(info), len(info), 56 + len(name)) + bytes([10, 0, 0x61, 0x4A, 0, 0, 0, 15]) + name + info)
def serve(s):
    while (request := head(s)):
        text = request.decode("latin1")
        key = [l.split(": ", 1)[1] for l in text.split("\r\n") if l.lower().startswith("sec-websocket-key: ")]
        proof = [l.split("NTLM ", 1)[1] for l in text.split("\r\n") if l.startswith("Authorization: NTLM ")]
        authorized = proof and base64.b64decode(proof[0])[8] == 3
        print(text.split("\r\n")[0], authorized, flush=True)
        if not authorized:
            s.sendall(b"HTTP/1.1 401 Unauthorized\r\nServer: Microsoft-HTTPAPI/2.0\r\nWWW-Authenticate: NTLM " + (challenge() if proof else b"") + b"\r\nContent-Length: 0\r\n\r\n")
        elif key:
            accept = base64.b64encode(hashlib.sha1(key[0].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            return websocket(s)
        elif "OUT_DATA" in text:
            # The server's channel begins with a hundred bytes of nothing.
            s.sendall(b"HTTP/1.1 200 OK\r\nServer: Microsoft-HTTPAPI/2.0\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + bytes(100) + b"\r\n")
        else:
            s.sendall(b"HTTP/1.1 200 OK\r\nServer: Microsoft-HTTPAPI/2.0\r\nContent-Length: 0\r\n\r\n")
def exactly(s, n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part: raise EOFError
        data += part
    return data
def packet(s):
    _, n = exactly(s, 2)
    n &= 127
    if n == 126: n = struct.unpack(">H", exactly(s, 2))[0]
    mask = exactly(s, 4)
    data = bytes(b ^ mask[i % 4] for i, b in enumerate(exactly(s, n)))
    return struct.unpack("<H", data[:2])[0]
def answer(s, kind, body):
    data = struct.pack("<HHI", kind, 0, 8 + len(body)) + body
    s.sendall(bytes([0x82, len(data)]) + data)
def websocket(s):
    try:
        while True:
            kind = packet(s)
            print("packet", kind, flush=True)
            if kind == 1: answer(s, 2, struct.pack("<IBBHH", 0, 1, 0, 0, 0))
            elif kind == 4: answer(s, 5, struct.pack("<HIHHII", 0, 0, 3, 0, 1, 0x3f))
            elif kind == 6: answer(s, 7, struct.pack("<IHHI", 0, 3, 0, 0) + struct.pack("<I", 0))
            elif kind == 8: answer(s, 9, struct.pack("<IHHI", 0x800759DB, 1, 0, 0)); return
    except EOFError:
        pass
listener = socket.create_server(("10.9.7.2", 80))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
PY
server python3 "$WORK/gateway.py" > "${GATEWAY_LOG:-/dev/null}" 2>&1 &
desk Xvfb :48 -screen 0 640x480x24 -nolisten tcp 2> /dev/null &
sleep 2
look() {
  DISPLAY=:48 HOME="$WORK" desk timeout 4 xfreerdp /cert:ignore /v:pc.example /u:ann /p:farm /g:10.9.7.1 /gu:ann /gp:farm "$@" > "${CLIENT_LOG:-/dev/null}" 2>&1
}
look /gt:http
look /gt:http,no-websockets
look /gt:rpc

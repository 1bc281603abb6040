#!/bin/bash
# Debian 12: OpenSSH 9.2p1, curl 7.88.1, openssl 3.0, python3 3.11. One capture a kind of use.
# usage: ssh-behaviour.sh OUT-DIRECTORY: ssh-KIND.pcapng each
out=$1; here=$(dirname "$0"); work=$(mktemp -d)
. "$here/proxies-net.sh"
mkdir $work/w; head -c 9000 /dev/urandom | base64 > $work/w/index.html; head -c 90000 /dev/urandom > $work/big
ssh-keygen -q -t ed25519 -N '' -f $work/host; ssh-keygen -q -t ed25519 -N '' -f $work/key
cp $work/key.pub $work/auth; chmod 600 $work/auth; chmod 755 $work
mkdir -p /run/sshd
in_p /usr/sbin/sshd -f /dev/null -D -p 22 -h $work/host -o AuthorizedKeysFile=$work/auth -o StrictModes=no -o PidFile=none \
    -o Subsystem="sftp internal-sftp" -o GatewayPorts=yes -o UsePAM=no -o PermitRootLogin=yes >/dev/null 2>&1 &
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $work/k -out $work/c -days 30 -subj /CN=www.example.com 2>/dev/null
for ns in s c; do (cd $work/w && exec ip netns exec proxies-$ns openssl s_server -quiet -accept 443 -key $work/k -cert $work/c -WWW >/dev/null 2>&1) & done
opts="-i $work/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
ssh_() { in_c ssh $opts "$@" 198.51.100.9; }
stop() { for p in $(ip netns pids proxies-c); do tr "\0" " " < /proc/$p/cmdline | grep -q "^ssh " && kill $p; done; }
begin() { record $work/$1.pcap tcp port 22; }
end() { recorded; editcap -F pcapng $work/$1.pcap $out/ssh-$1.pcapng; }
cat > $work/type.py <<'P'
import os, pty, random, sys, time, select
random.seed(7)
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
def drain(t):
    end = time.time() + t
    while time.time() < end:
        if select.select([fd], [], [], max(0, end - time.time()))[0]:
            try: os.read(fd, 65536)
            except OSError: return
drain(1.0)
for line in open(sys.argv[1]).read().splitlines():
    for ch in line + "\r":
        os.write(fd, ch.encode()); drain(min(0.9, random.lognormvariate(-1.9, 0.5)))
    drain(random.uniform(0.3, 1.2))
P
printf 'ls -l /etc | tail\nuname -a\necho hello world\ncd /tmp; pwd\nhistory | tail -3\nexit\n' > $work/lines
printf 'uname -a\ncat %s/w/index.html\nls -l /usr/bin | head -200\necho done\nexit\n' $work > $work/lines2
type_() { in_c env TERM=xterm python3 $work/type.py $1 ssh -tt $opts 198.51.100.9 >/dev/null 2>&1; }
sleep 1
begin interactive; type_ $work/lines; end interactive
begin interactive-output; type_ $work/lines2; end interactive-output
begin command; ssh_ -T 2>/dev/null <<< 'uptime' >/dev/null; end command
begin bulk-up; in_c scp $opts $work/big 198.51.100.9:$work/up; end bulk-up
begin bulk-down; in_c scp $opts 198.51.100.9:$work/big $work/down; end bulk-down
begin sftp; printf "ls /etc\nput $work/w/index.html $work/a\nput $work/w/index.html $work/b\nget $work/a $work/e\nls /usr\n" | in_c sftp -q $opts -b - 198.51.100.9 >/dev/null; end sftp
begin idle; ssh_ -N -o ServerAliveInterval=2 & sleep 22; stop; end idle
begin local; ssh_ -N -L 8443:192.0.2.10:443 & sleep 2
for i in 1 2 3; do in_c curl -m 5 -sk https://127.0.0.1:8443/index.html -o /dev/null; sleep .7; done; stop; end local
begin dynamic; ssh_ -N -D 1085 & sleep 2
for i in 1 2 3; do in_c curl -m 5 -sk --socks5 127.0.0.1:1085 https://192.0.2.10/index.html -o /dev/null; sleep .9; done; stop; end dynamic
begin reverse; ssh_ -N -R 9443:127.0.0.1:443 & sleep 2
for i in 1 2 3; do in_s curl -m 5 -sk https://192.0.2.9:9443/index.html -o /dev/null; sleep .8; done; stop; end reverse
# A shell on the client, lent to the server's side.
begin reverse-shell
(while :; do in_c nc -l -p 2323 -e /bin/sh 2>/dev/null || in_c python3 -c 'import socket,subprocess; s=socket.socket(); s.setsockopt(1,2,1); s.bind(("127.0.0.1",2323)); s.listen(); c,_=s.accept(); subprocess.call(["sh"],stdin=c,stdout=c,stderr=c)'; done) >/dev/null 2>&1 & loop=$!
ssh_ -N -R 9023:127.0.0.1:2323 & sleep 2
in_s python3 - <<'P'
import socket, time, random
random.seed(3); s = socket.create_connection(("192.0.2.9", 9023))
for line in ["id\n", "ls /\n", "uname -a\n", "cat /etc/passwd\n", "pwd\n", "ls -l /etc\n"]:
    s.sendall(line.encode()); time.sleep(random.uniform(1, 2)); s.recv(65536)
P
stop; kill $loop; end reverse-shell
finish; rm -r $work

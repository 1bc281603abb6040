# NX: the two halves of nxproxy, one beside the desk's display, one beside the programs.
# nxproxy 3.5.99.26, xvfb 21.1.7 (Debian 12).
. "$(dirname "$0")/desktops-net.sh"
desk Xvfb :47 -screen 0 640x480x24 -nolisten tcp -ac 2> /dev/null &
sleep 2
HOME="$WORK" server nxproxy -C nx/nx,link=adsl,listen=4008,cleanup=0:8 > /dev/null 2>&1 &
sleep 1
HOME="$WORK" DISPLAY=:47 desk nxproxy -S nx/nx,connect=10.9.7.2,port=4008:8 > /dev/null 2>&1 &
sleep 2

# SPICE: a virtual machine without a disk, looked at with a password and with a wrong one.
# qemu-system-x86 7.2, spice-client-gtk 0.42, xvfb 21.1.7 (Debian 12).
# The server measures the bandwidth with 250 kB, so only the beginning of each frame is kept.
SNAP=300
. "$(dirname "$0")/desktops-net.sh"
server qemu-system-x86_64 -name desk.example -uuid 6f8c1ad2-31f5-4d34-9a30-6a2c9b6f2d10 -m 64 -display none -vga qxl \
  -nodefaults -object secret,id=pw,data=farm -spice port=5930,addr=10.9.7.2,password-secret=pw &
desk Xvfb :48 -screen 0 1024x768x24 -nolisten tcp 2> /dev/null &
sleep 3
DISPLAY=:48 HOME="$WORK" desk timeout 6 spicy -h 10.9.7.2 -p 5930 -w farm > /dev/null 2>&1
DISPLAY=:48 HOME="$WORK" desk timeout 3 spicy -h 10.9.7.2 -p 5930 -w wrong > /dev/null 2>&1

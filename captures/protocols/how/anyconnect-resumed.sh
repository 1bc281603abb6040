#!/bin/sh
# AnyConnect's DTLS of before PSK, a resumption: as how/anyconnect.sh, with the server's `dtls-psk` off.
# Usage: anyconnect-resumed.sh OUT.pcap
exec "$(dirname "$0")/anyconnect.sh" "$1" legacy

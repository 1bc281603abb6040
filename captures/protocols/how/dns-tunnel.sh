#!/bin/sh
# One script makes both captures; see there.
exec "$(dirname "$0")/tunnels-dns-icmp.sh" "$@"

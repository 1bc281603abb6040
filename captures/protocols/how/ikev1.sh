#!/bin/sh
# IKEv1 in aggressive mode: as how/ike.sh, with version 1. Usage: ikev1.sh OUT.pcap
exec "$(dirname "$0")/ike.sh" "$1" 1

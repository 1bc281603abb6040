#!/bin/sh
# One script makes all captures of this kind; see there.
exec "$(dirname "$0")/ssh-behaviour.sh" "$@"

#!/usr/bin/env bash
# Compares the round trips of TCP with tcptrace and tshark on the same captures (Debian: tcptrace, tshark, gawk).
#
#     tests/peers/tcp_rtt.sh CAPTURE...
#
# tcptrace: how many round trips each end of each connection of IPv4 has. tshark (tcp.analysis.ack_rtt): the difference of
# each round trip that both have, told apart by the microsecond at which it closed and by what was acknowledged. What one
# of them can't read counts for nobody. The samples come from `examples/rtt_samples.rs`; set RTT_SAMPLES to a binary to skip its
# build. pping is no package of Debian; its way is the method `timestamp`, whose floor is compared with `ack`'s.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
samples=${RTT_SAMPLES:-}
if [ -z "$samples" ]; then
    cargo build --quiet --release --manifest-path "$root/Cargo.toml" --example rtt_samples
    samples=$root/target/release/examples/rtt_samples
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Columns: file, from, its port, to, its port, round trips from the capture point to `to` and back.
for capture in "$@"; do
    { "$samples" "$capture" 2>/dev/null || true; } | sed "s|^|$capture\t|" >>"$work/ours"
    { tcptrace -nrl --csv "$capture" 2>/dev/null || true; } | gawk -v OFS='\t' -v file="$capture" -F, '
        /^conn_#/ { for (i = 1; i <= NF; i++) column[$i] = i; next }
        $1 ~ /^[0-9]+$/ && ("RTT_samples_a2b" in column) && $column["host_a"] !~ /:/ {
            a = column["host_a"]; b = column["host_b"]; ap = column["port_a"]; bp = column["port_b"]
            print file, $a, $ap + 0, $b, $bp + 0, $column["RTT_samples_a2b"] + 0
            print file, $b, $bp + 0, $a, $ap + 0, $column["RTT_samples_b2a"] + 0
        }' >>"$work/tcptrace"
    { tshark -n -r "$capture" -Y 'tcp.analysis.ack_rtt && ip' -T fields -E occurrence=l -e ip.src -e tcp.srcport -e ip.dst \
        -e tcp.dstport -e frame.time_epoch -e tcp.analysis.ack_rtt -e tcp.ack_raw 2>/dev/null || true; } | sed "s|^|$capture\t|" >>"$work/tshark"
done

echo "tcptrace"
gawk -F'\t' '
    NR == FNR && $7 != "timestamp" {
        # The answering end is the one that the round trip goes to.
        key = $6 == "client" ? $1 FS $4 FS $5 FS $2 FS $3 : $1 FS $2 FS $3 FS $4 FS $5
        ours[key]++
    }
    NR != FNR && $6 > 0 {
        key = $1 FS $2 FS $3 FS $4 FS $5
        ends++; theirs += $6
        both += ours[key] < $6 ? ours[key] : $6
        more += ours[key] > $6 ? ours[key] - $6 : 0
    }
    END {
        printf "  %d ends, %d round trips, of which farmlight has %d (%.2f %%), and %d that tcptrace has not\n",
            ends, theirs, both, theirs ? 100 * both / theirs : 0, more
    }' "$work/ours" "$work/tcptrace"

echo "tshark"
gawk -F'\t' '
    function micros(epoch,   parts) { split(epoch, parts, "."); return parts[1] substr(parts[2] "000000", 1, 6) }
    NR == FNR && $7 != "timestamp" {
        key = $6 == "client" ? $2 FS $3 FS $4 FS $5 : $4 FS $5 FS $2 FS $3
        ours[$1 FS key FS $8 FS $10] = $9
        next
    }
    NR != FNR {
        theirs++
        key = $1 FS $2 FS $3 FS $4 FS $5 FS micros($6) FS $8
        if (key in ours) {
            off = ours[key] - $7 * 1e6
            apart[++n] = off < 0 ? -off : off
            if (off < -10) shorter++
            if (off > 10) longer++
        }
    }
    END {
        asort(apart)
        printf "  %d round trips of %d in both; difference: median %.1f us, 99th percentile %.1f us; shorter by more than 10 us: %d, longer: %d\n",
            n, theirs, apart[int((n + 1) / 2)], apart[int(n * 0.99)], shorter, longer
    }' "$work/ours" "$work/tshark"

echo "timestamp against ack, ends with 20 of each"
gawk -F'\t' '
    $7 == "ack" || $7 == "lone-ack" || $7 == "timestamp" {
        key = $1 FS $2 FS $3 FS $4 FS $5 FS $6
        kind = $7 == "timestamp"
        n[key, kind]++
        if (!((key, kind) in least) || $9 < least[key, kind]) least[key, kind] = $9
        keys[key]
    }
    END {
        for (key in keys) if (n[key, 0] >= 20 && n[key, 1] >= 20) {
            off = least[key, 1] - least[key, 0]
            all[++k] = off
            if (off < -1000) below++
        }
        asort(all)
        printf "  %d ends; least by timestamp less least by ack: median %.0f us; lower by more than 1 ms: %d\n", k, all[int((k + 1) / 2)], below
    }' "$work/ours"

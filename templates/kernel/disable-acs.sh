#!/bin/sh
# Managed by Boxwright, role kernel: edits are overwritten.
#
# PCIe access control (ACS) in bridges sends what one card writes to another up to the root port, where it is slow or
# hangs. `show` lists the bridges that have it on, with the bits of their control register; `clear` takes the bits off.
set -eu
control=ECAP_ACS+0x6.w

switched_on() {
    for device in /sys/bus/pci/devices/*; do
        case $(cat "$device/class" 2>/dev/null) in
        0x0604*) ;;
        *) continue ;;
        esac
        slot=${device##*/}
        bits=$(setpci -s "$slot" "$control" 2>/dev/null) || continue # a bridge without the capability
        [ "$bits" = 0000 ] || echo "$slot $bits"
    done
}

command -v setpci >/dev/null || {
    echo 'unknown: setpci is not installed'
    [ "$1" = show ]
    exit
}
case $1 in
show) switched_on ;;
clear)
    switched_on | while read -r slot bits; do
        echo "$slot: access control $bits -> 0000"
        setpci -s "$slot" "$control=0000" || true # looked at below
    done
    left=$(switched_on)
    [ -z "$left" ] || {
        echo "access control stayed on (a locked down kernel allows no such write): $left" >&2
        exit 1
    }
    ;;
*)
    echo "usage: $0 show|clear" >&2
    exit 2
    ;;
esac

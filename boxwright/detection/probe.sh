#!/bin/sh
# Tells what a machine is. Reads only; every tool has its time, and none of them can fail the whole.
# The first argument marks the lines of the frame; login banners and tools cannot know it.
#
# A section is:  MARK begin NAME  /  base64 of: output NUL exit-code NUL stderr  /  MARK end
# nvidia-smi comes last: with a card that fell off the bus it can hang beyond any signal, and what was said before counts.

mark=$1
limit=2000000
export LC_ALL=C LANG=C LANGUAGE=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

section() {
    name=$1
    shift
    printf '\n%s begin %s\n' "$mark" "$name" # a banner may have left its line open
    {
        said=$("$@" 2>&1 >&3 3>&- </dev/null)
        printf '\000%s\000%s' "$?" "$(printf '%s' "$said" | tail -c 2000)"
    } 3>&1 | head -c "$limit" | base64
    printf '%s end\n' "$mark"
}

bounded() {
    if command -v timeout >/dev/null; then
        timeout -k 2 "$@"
    else
        shift
        "$@"
    fi
}

value() { # the first line of a file, without a fork where the shell can read it; dash cannot read cpulist
    line=
    if [ -r "$1" ]; then
        read -r line <"$1" 2>/dev/null || line=$(head -n 1 "$1" 2>/dev/null)
    fi
    printf '%s' "$line"
}

link_name() {
    if [ -e "$1" ]; then
        target=$(readlink -f "$1")
        printf '%s' "${target##*/}"
    fi
}

os_release() { cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release; }

twin() { # a throw-away host of the lab says what it is
    if [ -e /etc/boxwright-twin ]; then echo yes; else echo no; fi
}

kernel() {
    printf 'release\t%s\n' "$(uname -r)"
    printf 'machine\t%s\n' "$(uname -m)"
    for folder in /lib/modules/*; do
        [ -d "$folder" ] || continue
        headers=no
        [ -e "$folder/build/Makefile" ] && headers=yes
        printf 'installed\t%s\t%s\n' "${folder##*/}" "$headers"
    done
}

modules() {
    for name in nouveau nvidia nvidia_uvm nvidia_peermem amdgpu hycu drv_davinci_intf; do
        [ -d "/sys/module/$name" ] && printf 'loaded\t%s\t%s\n' "$name" "$(value "/sys/module/$name/version")"
    done
    if command -v modinfo >/dev/null; then
        printf 'nvidia_license\t%s\n' "$(bounded 5 modinfo -F license nvidia 2>/dev/null)"
    fi
}

secure_boot() {
    if [ ! -d /sys/firmware/efi ]; then
        echo bios
        return
    fi
    for variable in /sys/firmware/efi/efivars/SecureBoot-*; do
        od -An -tu1 "$variable"
    done
}

system() {
    for name in sys_vendor product_name product_serial board_vendor board_name bios_version bios_date; do
        printf '%s\t%s\n' "$name" "$(value "/sys/class/dmi/id/$name")"
    done
}

pci() {
    [ -d /sys/bus/pci/devices ] || {
        echo 'no PCI bus in /sys' >&2
        return 1
    }
    for device in /sys/bus/pci/devices/*; do
        [ -e "$device/vendor" ] || continue
        printf '%s' "${device##*/}"
        for name in class vendor device subsystem_vendor subsystem_device numa_node \
            current_link_speed max_link_speed current_link_width max_link_width; do
            printf '\t%s' "$(value "$device/$name")"
        done
        printf '\t%s\n' "$(link_name "$device/driver")"
    done
}

nodes() {
    for node in /sys/devices/system/node/node[0-9]*; do
        [ -d "$node" ] || continue
        printf '%s\t%s\t%s\t' "${node##*node}" "$(value "$node/cpulist")" "$(value "$node/distance")"
        value "$node/meminfo"
        echo
    done
}

nics() {
    for nic in /sys/class/net/*; do
        [ -e "$nic/device" ] || continue
        printf '%s\t%s\t%s\t%s\n' "${nic##*/}" "$(link_name "$nic/device")" \
            "$(value "$nic/device/numa_node")" "$(cat "$nic/speed" 2>/dev/null)"
    done
}

packages() {
    # shellcheck disable=SC2016  # the fields are dpkg-query's
    # It ends with 1 when one of the patterns names nothing, which is no failure here.
    bounded 10 dpkg-query -W -f '${binary:Package}\t${Version}\t${db:Status-Abbrev}\n' \
        'nvidia-*' 'libnvidia-*' 'cuda-*' 'libcuda*' 'docker*' 'containerd*' 'podman' 'linux-headers-*' 2>/dev/null || :
}

programs() {
    for name in docker podman ollama nvidia-smi rocm-smi npu-smi hy-smi nginx; do
        place=$(command -v "$name") && printf '%s\t%s\n' "$name" "$place"
    done
    :
}

section os_release os_release
section twin twin
section kernel kernel
section modules modules
section secure_boot secure_boot
section system system
section nodes nodes
section pci pci
section nics nics
section memory_total grep -E '^MemTotal:' /proc/meminfo
section packages packages
section programs programs
section lspci bounded 10 lspci -Dnnvmm
section lscpu bounded 10 lscpu -J
section dmidecode bounded 10 dmidecode -t memory
section ip bounded 10 ip -j addr
section ports bounded 10 ss -H -tuln
section dpkg_audit bounded 20 dpkg --audit
section clock bounded 10 timedatectl show -p NTPSynchronized -p NTP -p Timezone
section time date +%s
section df bounded 10 df -PB1
section lsblk bounded 20 lsblk -J -b -o NAME,PATH,TYPE,SIZE,MODEL,SERIAL,ROTA,TRAN,FSTYPE,UUID,MOUNTPOINTS
section nvidia_smi bounded 30 nvidia-smi -q -x
printf '%s done\n' "$mark"

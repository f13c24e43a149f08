"""VM twins: throw-away machines of QEMU, with a kernel, a boot and a reboot of their own."""

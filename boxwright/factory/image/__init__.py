"""Golden images: a disk with the platform and the stack, sealed, and the same bits whenever it is built from one lock.

`base_root` unpacks the operating system out of a bundle, `building` provisions a container that stands on it by the
ordinary pipeline, and `finishing`, a process with mounts of its own, seals the tree (`sealing`, `normalising`), lists
it (`listing`) and packs it (`filesystem`, `disk`). `identity` says what must not be left to chance: ids and dates.
"""

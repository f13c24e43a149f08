"""Huawei's and Hygon's installers, SIMULATED: their options and version files, and nothing that drives a card.

They stand in for the files that a customer gets from the vendor. Each knows the vendor's options and refuses others,
insists on what the vendor's needs, says SIMULATED in every line, and leaves on the box what the version is read from.
Their content depends on the version alone, and so does their digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from boxwright.model.drivers import AscendPart, HygonPart
from boxwright.model.site import AscendArtefact, HygonArtefact

ASCEND_VERSIONS: Mapping[AscendPart, str] = {
    "driver": "25.5.2",
    "firmware": "7.8.0.7.220",
    "toolkit": "9.1.0",
    "ops": "9.1.0",
    "nnal": "9.1.0",
}
HYGON_VERSIONS: Mapping[HygonPart, str] = {"driver": "6.3.30-V1.4.1a", "dtk": "26.04"}

_ASCEND_FILES: Mapping[AscendPart, str] = {
    "driver": "Ascend-hdk-910b-npu-driver_{}_linux-x86-64.run",
    "firmware": "Ascend-hdk-910b-npu-firmware_{}.run",
    "toolkit": "Ascend-cann-toolkit_{}_linux-x86_64.run",
    "ops": "Ascend-cann-910b-ops_{}_linux-x86_64.run",
    "nnal": "Ascend-cann-nnal_{}_linux-x86_64.run",
}

_HEAD = """\
#!/bin/sh
# SIMULATED: it writes the version file of {name} {version} and installs nothing.
say() {{ echo "[SIMULATED {name}] $*"; }}
fail() {{ say "[ERROR] $*" >&2; exit 1; }}
"""
_ASCEND_OPTIONS = """\
mode=none for_all=no quiet=no
for option; do
  case $option in
    {first}) mode=first ;;
    --upgrade) mode=upgrade ;;
    --install-for-all) for_all=yes ;;
    --quiet) quiet=yes ;;
    *) fail "unknown option $option" ;;
  esac
done
[ "$mode" != none ] || fail "neither {first} nor --upgrade"
if [ "$quiet" = no ]; then
  say "do you accept the licence? [Y/N]"
  read -r answer && [ "$answer" = Y ] || fail "the licence was not accepted"
fi
root=/usr/local/Ascend
mkdir -p $root /var/log/ascend_seclog
"""
_ASCEND_END = """\
echo "SIMULATED $mode {name} {version}" >>/var/log/ascend_seclog/operation.log
say "{name} {version} installed successfully!"
"""
# What each does between reading its options and its last word.
_ASCEND_BODIES: Mapping[AscendPart, str] = {
    "driver": """\
[ "$mode$for_all" != upgradeyes ] || fail "--upgrade does not go with --install-for-all"
id HwHiAiUser >/dev/null 2>&1 || fail "there is no user HwHiAiUser"
[ "$mode" = first ] || [ -e $root/driver/version.info ] || fail "nothing to upgrade"
mkdir -p $root/driver
printf 'Version={version}\\npackage_version={version}\\n' >$root/driver/version.info
""",
    "firmware": """\
[ "$mode$for_all" != upgradeyes ] || fail "--upgrade does not go with --install-for-all"
[ -e $root/driver/version.info ] || fail "there is no driver"
[ "$mode" = first ] || [ -e $root/firmware/version.info ] || fail "nothing to upgrade"
mkdir -p $root/firmware
printf 'Version={version}\\n' >$root/firmware/version.info
""",
    "toolkit": """\
command -v pip3 >/dev/null || fail "there is no pip3"
[ "$mode" = first ] || [ -e $root/cann/set_env.sh ] || fail "nothing to upgrade"
[ "$mode" = first ] || rm -rf "$(readlink -f $root/cann)"
info=$root/cann-{version}/$(uname -m)-linux
mkdir -p "$info"
printf 'package_name=Ascend-cann-toolkit\\nversion={version}\\n' >"$info/ascend_toolkit_install.info"
echo 'export ASCEND_HOME_PATH=/usr/local/Ascend/cann' >$root/cann-{version}/set_env.sh
ln -sfn cann-{version} $root/cann
""",
    "ops": """\
info=$root/cann/$(uname -m)-linux
[ -e "$info/ascend_toolkit_install.info" ] || fail "there is no toolkit"
[ "$mode" = first ] || [ -e "$info/ascend_ops_install.info" ] || fail "nothing to upgrade"
printf 'package_name=Ascend-cann-910b-ops\\nversion={version}\\n' >"$info/ascend_ops_install.info"
""",
    "nnal": """\
[ -n "$ASCEND_HOME_PATH" ] || fail "the toolkit's set_env.sh was not read"
[ "$mode" = first ] || [ -e $root/nnal/atb/latest/version.info ] || fail "nothing to upgrade"
mkdir -p $root/nnal/atb/{version}
printf '    Ascend-cann-atb : {version}\\n    Ascend-cann-atb Version : {version}.B150\\n' \\
  >$root/nnal/atb/{version}/version.info
ln -sfn {version} $root/nnal/atb/latest
""",
}
_ASCEND_FIRST: Mapping[AscendPart, str] = {
    "driver": "--full",
    "firmware": "--full",
    "toolkit": "--install",
    "ops": "--install",
    "nnal": "--install",
}
_ROCK = """\
[ $# -eq 0 ] || fail "unknown option $1"
mkdir -p /usr/local/hyhal/.info /usr/local/hyhal/bin
printf '#!/bin/sh\\necho SIMULATED hy-smi: it knows of no card\\nexit 1\\n' >/usr/local/hyhal/bin/hy-smi
chmod 0755 /usr/local/hyhal/bin/hy-smi
ln -sfn /usr/local/hyhal /opt/hyhal
echo '{version} 20260101-000000' >/opt/hyhal/.info/version
say "Install successful."
"""


def ascend_installers(
    folder: Path, versions: Mapping[AscendPart, str] = ASCEND_VERSIONS
) -> dict[AscendPart, AscendArtefact]:
    """Write Huawei's installers of these versions into a folder, and say what a site says of them."""
    made: dict[AscendPart, AscendArtefact] = {}
    for part, version in versions.items():
        text = (_HEAD + _ASCEND_OPTIONS + _ASCEND_BODIES[part] + _ASCEND_END).format(
            name=part, version=version, first=_ASCEND_FIRST[part]
        )
        path, digest = _written(folder / _ASCEND_FILES[part].format(version), text.encode())
        made[part] = AscendArtefact(part=part, path=path, version=version, sha256=digest)
    return made


def hygon_installers(
    folder: Path, versions: Mapping[HygonPart, str] = HYGON_VERSIONS
) -> dict[HygonPart, HygonArtefact]:
    """Write Hygon's driver and DTK of these versions into a folder, and say what a site says of them."""
    made: dict[HygonPart, HygonArtefact] = {}
    for part, version in versions.items():
        if part == "driver":
            name, content = f"rock-{version}.run", (_HEAD + _ROCK).format(name="rock", version=version).encode()
        else:
            name, content = f"DTK-{version}-Ubuntu22.04-x86_64.tar.gz", dtk_archive(f"dtk-{version}", version)
        path, digest = _written(folder / name, content)
        made[part] = HygonArtefact(part=part, path=path, version=version, sha256=digest)
    return made


def dtk_archive(top: str, version: str) -> bytes:
    """A DTK: the folder `top` with the files that its version and its environment are read from."""
    texts = {
        ".info/rocm_version": f"{version}\n",
        "env.sh": f"echo SIMULATED DTK {version}\nexport ROCM_PATH=/opt/{top}\n",
        "SIMULATED": "This toolkit is simulated. It computes nothing.\n",
    }
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, text in texts.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(plain.getvalue(), mtime=0)


def _written(path: Path, content: bytes) -> tuple[str, str]:
    path.write_bytes(content)
    path.chmod(0o755)
    return str(path), hashlib.sha256(content).hexdigest()

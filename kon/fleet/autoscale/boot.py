"""User data of a host that makes itself a worker: the launch template's own, and what comes after it.

The host needs no rights and no tools for that but curl: links are signed where `kon autoscale` runs, and
are good for as long as a host may take.
"""

from __future__ import annotations

import shlex
from string import Template
from typing import Final

import msgspec

from kon.fleet.autoscale.equipment import Equipment

_SCRIPT: Final = Template("""
# --- by `kon autoscale`: this host makes itself a worker of the fleet $fleet, and says what came of it
cat >/usr/local/sbin/kon-boot <<'KON_BOOT'
#!/bin/sh
set -eu
fetch() {
    curl -fsS --retry 8 --retry-all-errors -o "$$1" "$$2"
    printf '%s  %s\n' "$$3" "$$1" | sha256sum -c - >/dev/null || {
        echo "$$1 is not what kon equip has put there: nothing of it is run"
        exit 1
    }
}
missing=
for each in $packages; do
    dpkg -s "$$each" >/dev/null 2>&1 || missing="$$missing $$each"
done
if [ -n "$$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    # cloud images update themselves at their first boot
    apt-get -q -o DPkg::Lock::Timeout=300 update
    apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install $$missing
fi
place=$place
if [ ! -e "$$place/installed" ]; then
    mkdir -p "$$place"
    fetch "$$place/bundle.tar" $bundle_url $bundle_sha256
    tar -xf "$$place/bundle.tar" -C "$$place"
    sh "$$place/install.sh"
fi
$payload
install -d -m 755 /etc/kon
printf '%s' $plan >/etc/kon/$fleet.json
systemctl start kon-worker@$fleet.service
sleep 2
systemctl is-active --quiet kon-worker@$fleet.service
KON_BOOT
chmod 755 /usr/local/sbin/kon-boot
if /usr/local/sbin/kon-boot >/var/log/kon-boot.log 2>&1; then
    printf ready >/run/kon-boot
else
    { printf 'failed: '; tail -n 3 /var/log/kon-boot.log | tail -c 500; } >/run/kon-boot
fi
curl -fsS --retry 8 --retry-all-errors -H 'Content-Type:' -T /run/kon-boot $mark_url
""")

_PAYLOAD: Final = Template("""mkdir -p $folder
fetch $folder.tar $url $sha256
tar -xf $folder.tar -C $folder""")


class Links(msgspec.Struct, frozen=True):
    """payload: nothing where there is none."""

    bundle: str
    payload: str
    mark: str


def user_data(before: str, fleet: str, number: int, equipment: Equipment, links: Links) -> str:
    """The whole script. before: the launch template's own, which has the host end itself."""
    payload = ""
    if links.payload:
        folder = shlex.quote(f"{equipment.state}/payload")
        payload = _PAYLOAD.substitute(
            folder=folder, url=shlex.quote(links.payload), sha256=shlex.quote(equipment.payload_sha256)
        )
    plan = msgspec.json.encode({"fleet": fleet, "number": number, "elastic": True}).decode()
    return (
        before.rstrip("\n")
        + "\n"
        + _SCRIPT.substitute(
            fleet=fleet,
            packages=" ".join(map(shlex.quote, equipment.packages)),
            place=shlex.quote(f"{equipment.home}/{equipment.digest}"),
            bundle_url=shlex.quote(links.bundle),
            bundle_sha256=shlex.quote(equipment.bundle_sha256),
            payload=payload,
            plan=shlex.quote(plan),
            mark_url=shlex.quote(links.mark),
        )
    )

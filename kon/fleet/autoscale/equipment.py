"""What a fleet keeps in its bucket for hosts that come later: kon as one file, and what they have said.

`playbooks/configure.yml` puts it there (`kon equip`), from the same bundle that it copies to hosts itself: a
host that is made by `kon autoscale` becomes what a host that is configured by Ansible is.

Such a host's user data is the launch template's own, and what comes after it. The host needs no rights and no
tools for that but curl: links are signed where `kon autoscale` runs, and are good for as long as a host may
take.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from string import Template
from typing import Any, Final, TypeVar

import botocore.exceptions
import msgspec

from kon.core.errors import ConfigurationError
from kon.fleet.autoscale.policy import PolicyState
from kon.fleet.clients import Clients, code_of, in_kons_words
from kon.fleet.thing import PROJECT, stem_of, tags_of

PLACE: Final = ".fleet/"
"""What the keys of these objects begin with; no run can be called that."""

_EQUIPMENT: Final = f"{PLACE}equipment.json"
_STATE: Final = f"{PLACE}autoscale.json"
_MARKS: Final = f"{PLACE}hosts/"
_LONGEST_MARK: Final = 600

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Equipment(msgspec.Struct, frozen=True):
    """digest: of the bundle, `.fleet/<digest>.tar`. home, state: folders on hosts, as in group_vars.

    payload: the key of what tasks go by, or nothing. kon: its version.
    bundle_sha256, payload_sha256: of the files as they were put there; a host unpacks no others.
    """

    digest: str
    home: str
    state: str
    packages: list[str]
    payload: str
    kon: str
    bundle_sha256: str = ""
    payload_sha256: str = ""

    @property
    def bundle(self) -> str:
        return f"{PLACE}{self.digest}.tar"


class Memory(msgspec.Struct, frozen=True):
    """What one `kon autoscale` leaves to the next. number: of the host that was made last.

    broken: hosts in a row that never worked.
    """

    policy: PolicyState = PolicyState()
    number: int = 1_000
    broken: int = 0


class Taken(Exception):
    """Somebody else has written the memory meanwhile."""


class FleetBucket:
    """The bucket of a fleet's runs."""

    def __init__(self, aws: Clients, fleet: str) -> None:
        self._aws = aws
        self._fleet = fleet
        self._name: str | None = None
        self._etag: str | None = None

    @property
    def name(self) -> str:
        if self._name is None:
            account = self._aws("sts").get_caller_identity()["Account"]
            self._name = f"{stem_of(self._fleet)}-{account}-{self._aws.region}"
            self._aws.owners[self._name] = account  # or somebody else's bucket could give root on hosts
        return self._name

    def is_there(self) -> bool:
        """Raises ConfigurationError for one that is not kon's."""
        try:
            tags = tags_of(self._aws("s3").get_bucket_tagging(Bucket=self.name).get("TagSet"))
        except botocore.exceptions.ClientError as error:
            if code_of(error) in ("NoSuchBucket", "404"):
                return False
            if code_of(error) != "NoSuchTagSet":
                raise
            tags = {}
        if tags.get("Project") != PROJECT:
            raise ConfigurationError(
                f"the bucket {self.name} does not have the tag Project={PROJECT}: not used"
            )
        return True

    # --- what hosts need --------------------------------------------------------------------------------

    def equipment(self) -> Equipment | None:
        """None where nobody has put any there."""
        return self._read(_EQUIPMENT, Equipment)

    def equip(self, wanted: Equipment, bundle: Path, payload: bytes | None) -> bool:
        """Put it there; whether anything was not there yet."""
        wanted = msgspec.structs.replace(
            wanted,
            bundle_sha256=hashlib.sha256(bundle.read_bytes()).hexdigest(),
            payload_sha256="" if payload is None else hashlib.sha256(payload).hexdigest(),
        )
        if self.equipment() == wanted:
            return False
        s3 = self._aws("s3")
        s3.upload_file(str(bundle), self.name, wanted.bundle)
        if payload is not None:
            s3.put_object(Bucket=self.name, Key=wanted.payload, Body=payload)
        # the last: what it names is there
        s3.put_object(Bucket=self.name, Key=_EQUIPMENT, Body=msgspec.json.encode(wanted))
        return True

    def link(self, key: str, expires_s: float) -> str:
        """To read an object without credentials."""
        return self._link("get_object", key, expires_s)

    # --- what hosts have said ---------------------------------------------------------------------------

    def mark_link(self, mark: str, expires_s: float) -> str:
        """To write a host's mark without credentials."""
        return self._link("put_object", f"{_MARKS}{mark}", expires_s)

    def marks(self, known: Sequence[str]) -> dict[str, str]:
        """What hosts have said of themselves, by their marks. known: marks that need not be read again."""
        s3, said = self._aws("s3"), {}
        for each in self._aws.pages("s3", "list_objects_v2", "Contents", Bucket=self.name, Prefix=_MARKS):
            mark = each["Key"].removeprefix(_MARKS)
            if mark not in known:
                reply = s3.get_object(Bucket=self.name, Key=each["Key"])
                with closing(reply["Body"]) as body:  # what is too long for a mark is not read
                    said[mark] = body.read(_LONGEST_MARK).decode(errors="replace").strip()
        return said

    # --- what the next one has to know ------------------------------------------------------------------

    def remember(self) -> Memory:
        return self._read(_STATE, Memory) or Memory()

    def keep(self, memory: Memory) -> None:
        """Raises Taken where somebody else has kept something since `remember`."""
        only = {"IfNoneMatch": "*"} if self._etag is None else {"IfMatch": self._etag}
        try:
            reply = self._aws("s3").put_object(
                Bucket=self.name, Key=_STATE, Body=msgspec.json.encode(memory), **only
            )
        except botocore.exceptions.ClientError as error:
            if code_of(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                raise Taken from error
            raise
        self._etag = reply["ETag"]

    # --- all --------------------------------------------------------------------------------------------

    def _read(self, key: str, struct: type[_Struct]) -> _Struct | None:
        try:
            reply = self._aws("s3").get_object(Bucket=self.name, Key=key)
        except botocore.exceptions.ClientError as error:
            if code_of(error) in ("NoSuchKey", "NoSuchBucket", "404"):
                return None
            raise
        if key == _STATE:
            self._etag = reply["ETag"]
        with closing(reply["Body"]) as body:
            return msgspec.json.decode(body.read(), type=struct)

    def _link(self, operation: str, key: str, expires_s: float) -> str:
        about: dict[str, Any] = {"Bucket": self.name, "Key": key}
        made: str = self._aws("s3").generate_presigned_url(operation, Params=about, ExpiresIn=int(expires_s))
        return made


def packed(folder: Path) -> bytes:
    """A folder as a tar file, the same for the same content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            info = tar.gettarinfo(path, str(path.relative_to(folder)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            if info.isreg():
                with path.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    return out.getvalue()


@in_kons_words
def equip(
    fleet: str, region: str | None, wanted: Equipment, bundle: Path, payload: bytes | None
) -> bool | None:
    """Whether anything was put into the fleet's bucket; None where there is no bucket yet."""
    aws = Clients(region)
    try:
        place = FleetBucket(aws, fleet)
        return place.equip(wanted, bundle, payload) if place.is_there() else None
    finally:
        aws.close()


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

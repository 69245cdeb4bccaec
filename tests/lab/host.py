"""One host: its disk, its network, its cgroup, and the process that all of it ends with."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.lab.addresses import BRIDGE, GATEWAY, NETWORK, PREFIX, PROXY_URL, host_name, namespace_name
from tests.lab.image import USER, USER_DATA, USER_ID
from tests.lab.machine import Machine, unified_cgroups

_SCRIPT: Final = Path(__file__).with_name("host.sh")


class FirstBoot(NamedTuple):
    """What an instance gets from its launch. public_key: of the key pair, or None. user_data: or None."""

    public_key: str | None
    user_data: bytes | None

    @classmethod
    def of(cls, ec2: Any, instance: dict[str, Any]) -> FirstBoot:
        key = instance.get("KeyName")
        pairs = ec2.describe_key_pairs(KeyNames=[key], IncludePublicKey=True)["KeyPairs"] if key else []
        attribute = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
        encoded = attribute.get("UserData", {}).get("Value")
        return cls(pairs[0]["PublicKey"] if pairs else None, base64.b64decode(encoded) if encoded else None)


class LabHost:
    """An instance while it runs. folder: its disk, which outlives a stop. image: a folder, or several with
    colons between them, the uppermost first."""

    def __init__(self, instance: dict[str, Any], folder: Path, image: str, lab: str) -> None:
        self.address: Final[str] = instance["PrivateIpAddress"]
        self._folder = folder
        self.image: Final = image
        self._namespace = namespace_name(instance["InstanceId"])
        root = unified_cgroups()
        assert root is not None
        self._cgroup = root / f"{PREFIX}{lab}-{self._namespace}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_new(self) -> bool:
        """Whether it has never been booted."""
        return not (self._folder / "upper/etc/hostname").exists()

    def prepare(self, first: FirstBoot, machine: Machine) -> None:
        """Write what its disk has beside the image."""
        upper = self._folder / "upper"
        for name in ("etc/ssh", "etc/apt/apt.conf.d", "root", "var/lib/cloud"):
            (upper / name).mkdir(parents=True, exist_ok=True)
        name = host_name(self.address)
        (upper / "etc/hosts").write_text(f"127.0.0.1 localhost\n{self.address} {name}\n")
        self._lead_to_registries(upper, machine)
        key_file = upper / "etc/ssh/ssh_host_ed25519_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key_file)], check=True)
        if first.public_key is not None:
            self._let_in(upper / "home" / USER, first.public_key)
        if first.user_data is not None:
            file = upper / USER_DATA.lstrip("/")
            file.write_bytes(first.user_data)
            file.chmod(0o755)
        (upper / "etc/hostname").write_text(f"{name}\n")  # the last: it says that all is there

    def _lead_to_registries(self, upper: Path, machine: Machine) -> None:
        # the proxy takes one request a connection
        apt = {"http::Proxy": PROXY_URL, "http::Pipeline-Depth": "0", "Retries": "5"}
        lines = "".join(f'Acquire::{name} "{value}";\n' for name, value in apt.items())
        (upper / "etc/apt/apt.conf.d/90lab").write_text(lines)
        pip = {"proxy": PROXY_URL, **machine.pip}
        if machine.certificates is not None:
            bundle = upper / "etc/ssl/certs/ca-certificates.crt"
            bundle.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(machine.certificates, bundle)
            pip["cert"] = "/etc/ssl/certs/ca-certificates.crt"
        lines = "".join(f"{name} = {value}\n" for name, value in pip.items())
        (upper / "etc/pip.conf").write_text(f"[global]\n{lines}")

    def _let_in(self, home: Path, public_key: str) -> None:
        keys = home / ".ssh"
        keys.mkdir(parents=True)
        (keys / "authorized_keys").write_text(f"{public_key.strip()}\n")
        for path in (home, keys, keys / "authorized_keys"):
            os.chown(path, USER_ID, USER_ID)
        keys.chmod(0o700)

    def start(self) -> None:
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir(exist_ok=True)
        self._join_network()
        self._cgroup.mkdir(exist_ok=True)
        spaces = ["unshare", "-m", "-p", "-u", "-i", "-C", "-f", "--kill-child"]
        init = ["sh", str(_SCRIPT), self.image, str(self._folder), host_name(self.address)]
        with (self._folder / "console").open("ab") as console:
            # the shell goes into the cgroup before anything is made there
            shell = ["sh", "-c", f'echo 0 >{self._cgroup}/cgroup.procs; exec "$@"', "sh"]
            self._process = subprocess.Popen(
                [*shell, "ip", "netns", "exec", self._namespace, *spaces, *init],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )

    def _join_network(self) -> None:
        space, link = self._namespace, f"v{self._namespace}"
        subprocess.run(["ip", "netns", "add", space], check=True)
        peer = ["type", "veth", "peer", "name", "eth0", "netns", space]
        subprocess.run(["ip", "link", "add", link, *peer], check=True)
        subprocess.run(["ip", "link", "set", link, "master", BRIDGE, "up"], check=True)
        commands = (
            f"link set lo up\naddr add {self.address}/{NETWORK.prefixlen} dev eth0\n"
            f"link set eth0 up\nroute add default via {GATEWAY}\n"
        )
        subprocess.run(["ip", "-n", space, "-b", "-"], input=commands, text=True, check=True)

    def copy_disk(self, to: Path) -> None:
        """As an image has it: its user data is run again on each host that is made of it."""
        subprocess.run(["cp", "-a", str(self._folder / "upper"), str(to)], check=True)
        (to / f"{USER_DATA.lstrip('/')}.done").unlink(missing_ok=True)

    @property
    def is_off(self) -> bool:
        """Whether it was powered off from inside."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """End it at once, as a host that loses its power. Its disk stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        subprocess.run(["ip", "netns", "del", self._namespace], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", f"v{self._namespace}"], check=False, capture_output=True)

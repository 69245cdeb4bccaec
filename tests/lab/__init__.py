"""A private EC2 on one machine, for tests: Linux, root.

moto answers the API, and every instance that it calls running in the lab's network is a real Linux host with
that very address: namespaces and a cgroup of its own over an overlay of one base image, systemd as PID 1,
sshd with the key pair's public key, user data run at first boot, an IMDSv2 endpoint with the role's
credentials, and `apt` and `pip` through a proxy. Terminate it through the API and the host is gone; power it
off from inside and the API says what its shutdown behaviour says.

    python -m tests.lab -- COMMAND ...

runs a command in the lab, and takes all of it down when the command has ended, however it ended.

Not tested by any of this: IAM permissions, quotas, eventual consistency, real boot times, security groups.
"""

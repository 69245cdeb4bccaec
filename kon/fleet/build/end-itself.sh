#!/bin/sh
# At the first boot, before anything else is known of this host: it ends itself once its time has come, which terminates it.
# The tag ExpiresAt may put that off; where it can't be read, what was said at the launch holds.
set -eu
hostname >/etc/kon-expiry.host

cat >/usr/local/sbin/kon-expiry <<'SCRIPT'
#!/bin/sh
set -u
# another host's, of which this one is an image: its own user data comes yet
[ "$(hostname)" = "$(cat /etc/kon-expiry.host)" ] || exit 0
deadline='@EXPIRES_AT@'
metadata=http://169.254.169.254/latest
token=$(curl -sf --max-time 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token") || token=
if [ -n "$token" ]; then
    said=$(curl -sf --max-time 2 -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/tags/instance/ExpiresAt") && deadline=$said
fi
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
# such times sort as text
first=$(printf '%s\n%s\n' "$now" "$deadline" | sort | head -n 1)
if [ "$first" = "$deadline" ]; then
    logger -t kon-expiry "ExpiresAt $deadline has passed: powering off" || true
    systemctl poweroff
fi
SCRIPT
chmod 755 /usr/local/sbin/kon-expiry

cat >/etc/systemd/system/kon-expiry.service <<'UNIT'
[Unit]
Description=End this host once its time has come
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/kon-expiry
UNIT

cat >/etc/systemd/system/kon-expiry.timer <<'UNIT'
[Unit]
Description=See whether this host's time has come
[Timer]
OnActiveSec=@CHECK_S@
OnUnitActiveSec=@CHECK_S@
AccuracySec=1
[Install]
WantedBy=timers.target
UNIT

systemctl daemon-reload
systemctl enable --now kon-expiry.timer

"""A registry of container images on a twin itself: Debian's, which keeps what is pushed and asks nobody who he is."""

from __future__ import annotations

REGISTRY = "127.0.0.1:5000"  # Docker takes loopback without TLS
# A shell command for a twin that has the package docker-registry; again after a loss of power.
SERVE_REGISTRY = f"""\
systemctl disable --quiet --now docker-registry
cat > /root/registry.yml <<'END'
version: 0.1
storage: {{filesystem: {{rootdirectory: /srv/registry}}}}
http: {{addr: '{REGISTRY}'}}
END
systemd-run --quiet --unit=test-registry docker-registry serve /root/registry.yml; sleep 2
"""

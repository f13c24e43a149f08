"""What the acceptance suite is told about a target, and what its checks mean for the exit code."""

from __future__ import annotations

from collections.abc import Collection

from boxwright import places
from boxwright.errors import Exit
from boxwright.model.site import Host
from boxwright.planning.variables import chat_page_url, engine_url, public_url
from boxwright.provisioning.target import Target
from boxwright.verification import Check, CheckOutcome, VerifyHost, VerifyJob


def verify_job(target: Target, hosts: Collection[str]) -> VerifyJob:
    """The job that checks these hosts of a target."""
    return VerifyJob(
        hosts=tuple(_verify_host(target, host) for host in target.fleet.hosts if host.name in hosts),
        run_logs=places.state() / "runs",
    )


def _verify_host(target: Target, host: Host) -> VerifyHost:
    fleet, endpoint = target.fleet, target.endpoint(host)
    url = public_url(fleet, host)
    return VerifyHost(
        name=host.name,
        address=endpoint.address,
        port=endpoint.port,
        user=endpoint.user,
        key=endpoint.key,
        known_hosts=endpoint.known_hosts,
        become=endpoint.become,
        api_url=f"{url}/v1",
        api_user=fleet.site.api_user,
        chat_url=url if chat_page_url(fleet) else None,
        admin_email=fleet.site.admin_email,
        engine_url=engine_url(fleet),
        model_alias=fleet.model.id,
        ca_pem=target.chain,
        twin=fleet.site.twin is not None,
        profile=fleet.profile,
        secrets=target.secrets[host.name],
    )


def exit_code(checks: Collection[Check]) -> Exit:
    """What a verification's exit code says: one failed check is enough, and no check at all is a failure, too."""
    failed = not checks or any(check.outcome is CheckOutcome.FAIL for check in checks)
    return Exit.VERIFY_FAILED if failed else Exit.OK

"""The names of what `verify` checks, so that a waiver of what nobody checks is refused where it is written.

A test holds them against `tests/acceptance/`. `docs/checks.md` says what each means.
"""

from __future__ import annotations

from boxwright.errors import did_you_mean

VERIFICATION_CHECKS = (
    "accelerators.answer",
    "accelerators.errors",
    "accelerators.persistence",
    "chat_page.chat",
    "chat_page.cookie",
    "chat_page.models",
    "chat_page.opens",
    "chat_page.sign_in",
    "chat_page.sign_up",
    "chat_page.stranger",
    "chat_page.websocket",
    "chat_page.wrong_password",
    "clock.alone",
    "clock.right",
    "clock.synchronised",
    "disks.health",
    "disks.room",
    "engine.chat_by_key",
    "engine.chat_by_password",
    "engine.guarded",
    "engine.model",
    "engine.numa",
    "engine.residency",
    "engine.stream",
    "engine.weights",
    "exposure.firewall",
    "exposure.forwards",
    "exposure.ports",
    "exposure.sockets",
    "further.answers",
    "further.guarded",
    "further.users",
    "gateway.about",
    "gateway.admin",
    "gateway.authorised",
    "gateway.certificate_lifetime",
    "gateway.foreign_name",
    "gateway.head",
    "gateway.headers",
    "gateway.old_tls",
    "gateway.ollama",
    "gateway.redirect",
    "gateway.tls",
    "gateway.unauthorised",
    "ktransformers.doctor",
    "ktransformers.kernels",
    "logs.errors",
    "logs.kernel",
    "machine.disks",
    "machine.docker",
    "machine.driver_module",
    "machine.driver_packages",
    "machine.fabric",
    "machine.kernel_arguments",
    "machine.locked_memory",
    "machine.pins",
    "machine.published_ports",
    "machine.reboot",
    "monitoring.alerts",
    "monitoring.nodes",
    "monitoring.rules",
    "monitoring.targets",
    "ollama.release",
    "ollama.residency",
    "ollama.watched",
    "platform.firewall",
    "platform.hostname",
    "platform.huge_pages",
    "platform.journal",
    "platform.open_files",
    "platform.sysctls",
    "platform.time_zone",
    "platform.upgrades",
    "record.evidence",
    "record.receipt",
    "record.twin",
    "secrets.files",
    "secrets.logs",
    "secrets.private_keys",
    "secrets.processes",
    "secrets.run_logs",
    "services.active",
    "services.enabled",
    "services.failed",
    "services.rivals",
    "services.stack",
    "services.steady",
    "services.unprivileged",
)
# Measurements of a run are named by the tool that takes them: bench.throughput, burnin.gpu_temperature.
MEASURED = ("bench.", "burnin.")


def known_check(name: str, of_contract: tuple[str, ...]) -> str:
    """The name of a check as the model has it; `contract.`, which `verify` puts before the contract's, is left out.

    Args:
        name: What somebody wrote.
        of_contract: The checks of the machine's contract.

    Raises:
        ValueError: Nothing of that name is checked.
    """
    bare = name.removeprefix("contract.")
    if bare in of_contract:
        return bare
    if name in VERIFICATION_CHECKS or name.startswith(MEASURED):
        return name
    near = did_you_mean(name, (*of_contract, *VERIFICATION_CHECKS)) or " docs/checks.md and docs/profiles.md list them."
    raise ValueError(f"there is no check '{name}'.{near}")

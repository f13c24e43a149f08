"""Checks and measurements as JUnit XML, for CI servers and test management."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from boxwright.reports.certificate import Certificate
from boxwright.reports.view import breach, figure
from boxwright.verification.check import Check, CheckOutcome

# What XML 1.0 has no way to say, such as the escape of a terminal's colours.
_UNSPEAKABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(certificate: Certificate) -> str:
    """The suite of a certificate: its checks, and its measurements as further cases."""
    cases = [_case_of_check(check) for check in certificate.checks]
    for measured in certificate.measurements:
        cases += [
            _case(
                f"{measured.kind}.{series.name}",
                series.title,
                {"fails": "failure", "waived": "skipped"}.get(certificate.holding(measured, series), ""),
                breach(series) or ", ".join(figure(point.value, series.unit) for point in series.points[:8]),
            )
            for series in measured.series
        ]
        if measured.stopped:
            cases.append(_case(f"{measured.kind}.stopped", "The run went to its end", "failure", measured.stopped))
    properties = {
        "verdict": certificate.verdict,
        "serial": certificate.serial,
        "stated_serial": certificate.stated_serial,
        "firmware_serial": certificate.firmware_serial,
        "signing_key": certificate.signing_key,
        "twin": str(certificate.twin).lower(),
    }
    suite = _suite(certificate.profile, certificate.host, certificate.issued_at, cases, properties)
    return _document([suite])


def junit_of_checks(profile: str, checked_at: str, hosts: Mapping[str, Sequence[Check]], *, twin: bool) -> str:
    """The checks of one verification.

    Args:
        profile: What the hosts were promised to be.
        checked_at: The time, UTC.
        hosts: The checks of each host, by its name.
        twin: Whether the hosts are throw-away twins.
    """
    properties = {"twin": str(twin).lower()}
    return _document(
        [
            _suite(profile, host, checked_at, [_case_of_check(check) for check in checks], properties)
            for host, checks in hosts.items()
        ]
    )


def _suite(
    profile: str, host: str, at: str, cases: Sequence[ElementTree.Element], properties: Mapping[str, str]
) -> ElementTree.Element:
    """One suite a host. JUnit knows no waiver: what is waived or unproven is `skipped`, its reason the message."""
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
        "errors": 0,
    }
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": f"boxwright {profile}",
            "hostname": host,
            "timestamp": at.removesuffix("Z"),
            "time": f"{sum(float(case.get('time', '0')) for case in cases):.3f}",
            **{name: str(count) for name, count in counts.items()},
        },
    )
    described = ElementTree.SubElement(suite, "properties")
    for name, value in properties.items():
        ElementTree.SubElement(described, "property", {"name": name, "value": _sayable(value)})
    suite.extend(cases)
    return suite


def _document(suites: Sequence[ElementTree.Element]) -> str:
    totals = {
        name: str(sum(int(suite.get(name, "0")) for suite in suites))
        for name in ("tests", "failures", "skipped", "errors")
    }
    root = ElementTree.Element("testsuites", {"name": "boxwright", **totals})
    root.extend(suites)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case_of_check(check: Check) -> ElementTree.Element:
    kind = {CheckOutcome.FAIL: "failure", CheckOutcome.PASS: ""}.get(check.outcome, "skipped")
    detail = f"{check.evidence}\n{check.severity.value}. {check.remedy}" if kind == "failure" else check.evidence
    return _case(check.id, check.title, kind, detail, check.seconds)


def _case(id: str, title: str, kind: str, detail: str, seconds: float = 0.0) -> ElementTree.Element:
    subject, _, _ = id.partition(".")
    name = {"classname": subject, "name": f"{id}: {_sayable(title)}", "time": f"{seconds:.3f}"}
    case = ElementTree.Element("testcase", name)
    if kind:
        message = _sayable(detail.splitlines()[0] if detail else "")
        ElementTree.SubElement(case, kind, {"message": message}).text = _sayable(detail)
    else:
        ElementTree.SubElement(case, "system-out").text = _sayable(detail)
    return case


def _sayable(text: str) -> str:
    return _UNSPEAKABLE.sub("\ufffd", text)

"""The gateway: TLS, who may pass, and what is not there."""

from __future__ import annotations

import ssl
import time

import httpx
import pytest

from boxwright.verification.gateway import Gateway
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence

ADMIN_PATHS = (
    "/health",
    "/metrics",
    "/props",
    "/slots",
    "/v1/whatever",
    # The same, spelled so that a careless rule does not see it.
    "//slots",
    "/%6detrics",
    "/v1/%2e%2e/props",
)
GUARDED_PATHS = (("GET", "/v1/models"), ("POST", "/v1/chat/completions"))
SOON_S = 14 * 86400


@pytest.mark.check(
    id="gateway.tls",
    title="The gateway's certificate is valid for its name and comes from the known authority",
    severity="critical",
    remedy="On the box: systemctl start boxwright-certificate.service; then provision again.",
)
def test_certificate(gateway: Gateway, evidence: Evidence) -> None:
    try:
        with gateway.tls(gateway.context()) as connection:
            version, certificate = connection.version(), connection.getpeercert()
    except ssl.SSLCertVerificationError as error:
        pytest.fail(f"the certificate is refused: {error.verify_message}")
    assert certificate is not None
    assert version in ("TLSv1.2", "TLSv1.3"), f"spoke {version}"
    names = ", ".join(str(entry[1]) for entry in certificate["subjectAltName"])
    evidence(f"{version}, valid for {names} until {certificate['notAfter']}")


@pytest.mark.check(
    id="gateway.certificate_lifetime",
    title="The gateway's certificate is valid for at least two more weeks",
    severity="major",
    remedy="On the box: systemctl status boxwright-certificate.timer; a given one must be given anew.",
)
def test_certificate_lifetime(gateway: Gateway, evidence: Evidence) -> None:
    with gateway.tls(gateway.context()) as connection:
        certificate = connection.getpeercert()
    assert certificate is not None
    left = ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()
    assert left > SOON_S, f"ends in {left / 86400:.0f} days"
    evidence(f"{left / 86400:.0f} days left")


@pytest.mark.check(
    id="gateway.old_tls",
    title="TLS 1.0 and 1.1 are refused",
    severity="major",
    remedy="Provision again: the role gateway sets ssl_protocols TLSv1.2 TLSv1.3.",
)
def test_old_protocols_are_refused(gateway: Gateway, evidence: Evidence) -> None:
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = gateway.context()
        context.set_ciphers("ALL:@SECLEVEL=0")  # else this machine would refuse before the box can
        context.minimum_version = context.maximum_version = version
        try:
            with gateway.tls(context):
                pytest.fail(f"{version.name} is accepted")
        except (ssl.SSLError, ConnectionError) as refusal:
            reason = getattr(refusal, "reason", None) or type(refusal).__name__
        # Anything else is this machine's own inability, which says nothing about the box.
        from_box = ("TLSV1_ALERT_PROTOCOL_VERSION", "ConnectionResetError", "UNEXPECTED_EOF_WHILE_READING")
        assert reason in from_box, f"{version.name} could not be tried from here: {reason}"
        evidence(f"{version.name}: {reason}")


@pytest.mark.check(
    id="gateway.redirect",
    title="Plain HTTP leads to HTTPS",
    severity="major",
    remedy="Provision again: the role gateway owns the server on port 80.",
)
def test_http_redirects(gateway: Gateway, evidence: Evidence) -> None:
    answer = gateway.redirect("/some/page")
    location = answer.headers.get("location", "")
    assert answer.status_code in (301, 308), f"answered {answer.status_code}"
    assert location == f"https://{gateway.name}/some/page", f"leads to {location!r}"
    evidence(f"{answer.status_code} to {location}")


@pytest.mark.check(
    id="gateway.unauthorised",
    title="The API answers nobody without credentials or with wrong ones",
    severity="critical",
    remedy="Take the box off the network, then provision again: the role gateway owns the API's users.",
    needs="leads",
)
def test_wrong_credentials_are_refused(gateway: Gateway, evidence: Evidence) -> None:
    attempts = {
        "none": None,
        "a wrong password": gateway.basic_of("wrong"),
        "an empty password": gateway.basic_of(""),
        "a wrong key": "Bearer wrong",
        "an empty key": "Bearer",
        "the key as a password": gateway.basic_of(gateway.bearer.removeprefix("Bearer ")),
        "another scheme": gateway.bearer.replace("Bearer", "Token"),
    }
    for name, authorization in attempts.items():
        for method, path in GUARDED_PATHS:
            status = gateway.request(method, path, authorization=authorization).status_code
            assert status == 401, f"{method} {path} with {name} answered {status}"
    evidence(f"401 with {', '.join(attempts)}")


@pytest.mark.usefixtures("stack")
@pytest.mark.check(
    id="gateway.authorised",
    title="The API knows its user by password and by key",
    severity="critical",
    remedy="Provision again: the role gateway writes the API's users from the site's secrets.",
    needs="leads",
)
def test_right_credentials_pass(gateway: Gateway, evidence: Evidence) -> None:
    for kind, authorization in (("password", gateway.basic), ("key", gateway.bearer)):
        answer = gateway.request("GET", "/v1/models", authorization=authorization)
        assert answer.status_code == 200, f"GET /v1/models by {kind} answered {answer.status_code}"
    evidence("GET /v1/models answers 200 by password and by key")


@pytest.mark.check(
    id="gateway.admin",
    title="The engine's administration, metrics and state cannot be reached through the gateway",
    severity="critical",
    remedy="Provision again: the role gateway lets through the paths of gateway.api_paths and no other.",
    needs="leads",
)
def test_admin_paths_are_not_there(gateway: Gateway, evidence: Evidence) -> None:
    for path in ADMIN_PATHS:
        status = gateway.request("GET", path, authorization=gateway.bearer).status_code
        assert status == 404, f"{path} with a valid key answered {status}"
        stranger = gateway.request("GET", path).status_code
        assert stranger in (401, 404), f"{path} without credentials answered {stranger}"
    evidence(f"404 for {', '.join(ADMIN_PATHS)}")


OLLAMAS_ADMINISTRATION = ("copy", "create", "delete", "pull", "push", "blobs/sha256:00")


@pytest.mark.check(
    id="gateway.ollama",
    title="Of Ollama's own API users reach what answers, and nothing that changes models",
    severity="critical",
    remedy="Provision again: the role gateway lets through the paths of gateway.ollama_paths and no other.",
    needs="ollama",
)
def test_ollamas_own_api(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    for path in OLLAMAS_ADMINISTRATION:
        for method in ("POST", "DELETE"):
            answer = gateway.request(method, f"/ollama/api/{path}", authorization=gateway.bearer, body={"model": "x"})
            assert answer.status_code in (404, 405), f"{method} /ollama/api/{path} answered {answer.status_code}"
    # One that serves beside the main service has no such paths of its own.
    offered = target.profile.gateway.ollama_paths if target.profile.stack.engine == "ollama" else ()
    if offered is None or "/api/tags" in offered:
        stranger = gateway.request("GET", "/ollama/api/tags").status_code
        assert stranger == 401, f"/ollama/api/tags without credentials answered {stranger}"
        answer = gateway.request("GET", "/ollama/api/tags", authorization=gateway.bearer)
        models = [model["name"] for model in answer.json()["models"]]
        assert target.model_alias in models, f"/ollama/api/tags lists {models}"
        evidence(f"/ollama/api/tags lists {', '.join(models)}")
    evidence(f"404 for {', '.join(OLLAMAS_ADMINISTRATION)}")


@pytest.mark.check(
    id="gateway.foreign_name",
    title="The gateway answers to its own names alone",
    severity="major",
    remedy="Provision again: the role gateway refuses hosts that are not in gateway_server_names.",
)
def test_foreign_names_are_refused(gateway: Gateway, evidence: Evidence) -> None:
    try:
        answer = gateway.request("GET", "/", headers={"Host": "rebound.invalid"})
    except httpx.RemoteProtocolError:
        evidence("the connection is closed without an answer")
        return
    assert answer.status_code in (400, 403, 404, 421), f"answered {answer.status_code} to another name"
    evidence(f"{answer.status_code} for the name rebound.invalid")


@pytest.mark.check(
    id="gateway.headers",
    title="Answers forbid framing by strangers and guessing of types, and tell no version",
    severity="minor",
    remedy="Provision again: the role gateway sets the security headers.",
)
def test_security_headers(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    headers = gateway.request("GET", "/").headers
    assert headers.get("x-content-type-options") == "nosniff", "no X-Content-Type-Options: nosniff"
    framing = f"{headers.get('x-frame-options', '')} {headers.get('content-security-policy', '')}".strip()
    assert "SAMEORIGIN" in framing or "DENY" in framing or "frame-ancestors" in framing, "may be framed by anyone"
    assert not any(letter.isdigit() for letter in headers.get("server", "")), "the Server header tells a version"
    evidence(f"nosniff, framing: {framing}, server: {headers.get('server', 'not told')}")


@pytest.mark.check(
    id="gateway.about",
    title="The page about the box is there, for API users alone, tells no secret and runs nothing",
    severity="major",
    remedy="Provision again: the role gateway writes the pages of gateway_about_pages.",
    needs="about",
)
def test_page_about_the_box(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    moved = gateway.request("GET", "/about")
    assert moved.status_code == 302, f"/about answered {moved.status_code}"
    for language in target.about:
        path = f"/about/{language}.html"
        stranger = gateway.request("GET", path).status_code
        assert stranger == 401, f"{path} without credentials answered {stranger}"
        page = gateway.request("GET", path, authorization=gateway.basic)
        assert page.status_code == 200, f"{path} answered {page.status_code}"
        assert target.api_url in page.text, f"{path} does not tell the address of the API"
        assert "default-src 'none'" in page.headers.get("content-security-policy", ""), f"{path} may fetch things"
        told = [name for name, forms in target.known_secrets().items() if any(form in page.text for form in forms)]
        assert not told, f"{path} tells {', '.join(told)}"
    evidence(f"in {', '.join(target.about)}; 401 without credentials")


@pytest.mark.check(
    id="gateway.head",
    title="A node that another one of its box leads sends clients there, and tells its state to nobody but the head",
    severity="major",
    remedy="Provision again: the role gateway redirects to gateway_head_url.",
    needs="head_url",
)
def test_nodes_send_clients_to_the_head(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    for method, path in (("GET", "/"), ("POST", "/v1/chat/completions")):
        answer = gateway.request(method, path, authorization=gateway.bearer)
        location = answer.headers.get("location", "")
        assert (answer.status_code, location) == (308, f"{target.head_url}{path}"), (
            f"{answer.status_code} to {location!r}"
        )
    status = gateway.redirect("/boxwright-node-metrics").status_code
    assert status == 403, f"the node's measurements answered {status} to this machine"
    evidence(f"308 to {target.head_url}; 403 for its measurements")

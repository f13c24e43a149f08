"""The roles gateway and monitoring on real twins, looked at from the controller over real TLS."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import gateway_box
import httpx
import pytest
from fresh_lab import fresh_lab
from gateway_box import ALICE, ALICE_BEARER, Box

pytestmark = [pytest.mark.lab, pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")]

CHAT = {"model": "lab", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
FORBIDDEN_PATHS = [
    *("/metrics", "/metrics/", "/health", "/slots", "/slots/0", "/props", "/v1/other", "/v1/", "/v1/models/x"),
    *("//metrics", "/v1/../metrics", "/v1/models/%2e%2e/%2e%2e/slots", "/%6detrics", "/v1/models%2f..%2fother"),
]
BOTH = ("gateway", "monitoring")
RULE_TESTS = Path(__file__).parent / "alert_rules_test.yml"


@pytest.fixture(scope="module", params=[pytest.param("debian-12", marks=pytest.mark.on_demand), "debian-13"])
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A provisioned twin. Its provisioning is the first test: it works, and prints no secret."""
    with fresh_lab("test-gateway") as lab:
        box = gateway_box.start(lab, request.param, tmp_path_factory.mktemp("box"))
        dry = box.provision("--check", "--diff", roles=BOTH)
        assert dry.code == 0, f"a dry run on a bare host fails\n{dry.output}"
        assert dry.changed > 0
        first = box.provision("--diff", "-vvv", roles=BOTH)
        assert first.code == 0, first.output
        for secret in (gateway_box.ENGINE_KEY, gateway_box.ALICE_KEY, "$2b$05$"):
            assert secret not in first.output
        yield box


@pytest.fixture(scope="module")
def client(box: Box) -> Iterator[httpx.Client]:
    with box.client() as client:
        yield client


def error_code(reply: httpx.Response) -> str:
    """The code in OpenAI's shape of an error."""
    assert reply.headers["Content-Type"] == "application/json"
    return str(reply.json()["error"]["code"])


class TestProvisioning:
    def test_further_runs_change_nothing(self, box: Box) -> None:
        second = box.provision(roles=BOTH)
        assert (second.code, second.changed) == (0, 0), second.output
        dry = box.provision("--check", "--diff", roles=BOTH)
        assert (dry.code, dry.changed) == (0, 0), dry.output

    def test_only_ssh_and_the_gateway_listen(self, box: Box) -> None:
        sockets = [line.split()[3] for line in box.ssh("ss -H -lnt").splitlines()]
        outside = {socket.rpartition(":")[2] for socket in sockets if not socket.startswith(("127.", "[::1]"))}
        assert outside == {"22", "80", "443"}

    def test_secrets_are_closed_to_others(self, box: Box) -> None:
        modes = box.ssh(
            "cd /etc; stat -c '%n %U:%G %a' nginx/boxwright-credentials.conf nginx/boxwright.htpasswd "
            "boxwright/pki/ca.key boxwright/pki/gateway.key prometheus/boxwright-engine.key"
        )
        assert modes.split("\n")[:-1] == [
            "nginx/boxwright-credentials.conf root:root 600",
            "nginx/boxwright.htpasswd root:www-data 640",
            "boxwright/pki/ca.key root:root 600",
            "boxwright/pki/gateway.key root:root 600",
            "prometheus/boxwright-engine.key root:prometheus 640",
        ]

    def test_a_bad_site_is_refused_before_it_is_in_place(self, box: Box, client: httpx.Client) -> None:
        before = box.ssh("cat /etc/nginx/conf.d/boxwright.conf")
        run = box.provision(gateway_max_body_mib=2**62)
        assert run.code == 2
        assert "client_max_body_size" in run.output
        assert box.ssh("cat /etc/nginx/conf.d/boxwright.conf; nginx -t -q") == before
        assert client.get("/v1/models", auth=ALICE).status_code == 200

    def test_a_run_killed_before_the_reload_is_made_good(self, box: Box) -> None:
        box.ssh("sleep 1; touch /etc/nginx/conf.d/boxwright.conf /etc/default/prometheus-node-exporter")
        assert box.provision(roles=BOTH).changed == 2


class TestApi:
    def test_a_stranger_is_refused(self, client: httpx.Client) -> None:
        reply = client.get("/v1/models")
        assert (reply.status_code, error_code(reply)) == (401, "invalid_api_key")
        assert reply.headers["WWW-Authenticate"].startswith("Basic")

    @pytest.mark.parametrize(
        "authorization",
        [
            "Bearer junk",
            "Bearer",
            f"Bearer {gateway_box.ALICE_KEY.swapcase()}",
            f"Bearer {gateway_box.ALICE_KEY}x",
            f"Bearer x{gateway_box.ALICE_KEY}",
            f"Bearer {gateway_box.ENGINE_KEY}",
            "Basic !!!",
            "Basic " + base64.b64encode(b"alice:wrong").decode(),
            "Basic " + base64.b64encode(b"mallory:correct horse").decode(),
            "Basic " + base64.b64encode(f"alice:{gateway_box.ALICE_KEY}".encode()).decode(),
        ],
    )
    def test_wrong_credentials_are_refused(self, client: httpx.Client, authorization: str) -> None:
        reply = client.get("/v1/models", headers={"Authorization": authorization})
        assert (reply.status_code, error_code(reply)) == (401, "invalid_api_key")

    @pytest.mark.parametrize("auth", [{"auth": ALICE}, {"headers": ALICE_BEARER}], ids=["password", "key"])
    def test_a_user_reaches_the_engine(self, client: httpx.Client, auth: dict[str, Any]) -> None:
        spoofed = {"X-Forwarded-For": "1.2.3.4", "X-Real-IP": "1.2.3.4", "X-Api-Key": "k", "Cookie": "token=t"}
        auth = auth | {"headers": auth.get("headers", {}) | spoofed}
        reply = client.get("/v1/models?limit=1", **auth)
        assert reply.status_code == 200
        assert "Access-Control-Allow-Origin" not in reply.headers
        seen = reply.json()
        assert seen["path"] == "/v1/models?limit=1"
        assert seen["headers"]["authorization"] == f"Bearer {gateway_box.ENGINE_KEY}"
        assert seen["headers"]["x-forwarded-for"] == seen["headers"]["x-real-ip"] != "1.2.3.4"
        assert not {"x-api-key", "cookie"} & seen["headers"].keys()

    @pytest.mark.parametrize("path", FORBIDDEN_PATHS)
    def test_nothing_else_of_the_engine_is_reachable(self, box: Box, path: str) -> None:
        for headers in ({}, ALICE_BEARER):
            options = [item for name, value in headers.items() for item in ("-H", f"{name}: {value}")]
            status = curl(box, "--path-as-is", f"https://{box.twin.address}{path}", *options)
            assert status.endswith(" 404"), status

    def test_no_spelling_of_a_path_is_handed_on(self, box: Box) -> None:
        address = f"https://{box.twin.address}/metrics/%2e%2e/v1/models"
        seen = curl(box, "--path-as-is", address, "-H", f"Authorization: {ALICE_BEARER['Authorization']}")
        assert json.loads(seen.removesuffix(" 200"))["path"] == "/v1/models"

    @pytest.mark.parametrize("auth", [ALICE, None], ids=["password", "key"])
    def test_tokens_arrive_as_they_are_made(self, client: httpx.Client, auth: httpx.BasicAuth | None) -> None:
        headers = {} if auth else ALICE_BEARER
        for _ in range(2):  # twice over one connection: the engine closes its side after each
            arrivals = []
            with client.stream("POST", "/v1/chat/completions", json=CHAT, auth=auth, headers=headers) as reply:
                assert reply.status_code == 200
                for line in reply.iter_lines():
                    if line.startswith("data: "):
                        arrivals.append(time.monotonic())
            assert len(arrivals) == 5
            assert min(later - sooner for sooner, later in pairwise(arrivals)) > 0.1

    def test_large_bodies_pass_and_too_large_ones_are_told(self, box: Box, client: httpx.Client) -> None:
        fine = client.post("/v1/embeddings", content=b"x" * (30 << 20), auth=ALICE)
        assert fine.json()["body_bytes"] == 30 << 20
        with gateway_box.connect(box, box.trust()) as connection:
            head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {box.twin.address}\r\nContent-Length: {101 << 20}\r\n"
            connection.sendall(f"{head}Authorization: {ALICE_BEARER['Authorization']}\r\n\r\n".encode())
            reply = b"".join(iter(lambda: connection.recv(4096), b""))
        assert reply.startswith(b"HTTP/1.1 413 ")
        assert b"request_too_large" in reply

    def test_an_engine_that_is_away_is_told_in_the_apis_own_terms(self, box: Box, client: httpx.Client) -> None:
        box.ssh("systemctl stop engine")
        try:
            reply, page = client.get("/v1/models", auth=ALICE), client.get("/")
        finally:
            box.ssh("systemctl start engine; sleep 1")
        assert (reply.status_code, error_code(reply), reply.headers["Retry-After"]) == (503, "engine_unavailable", "10")
        assert page.status_code == 200
        with ThreadPoolExecutor(1) as pool:
            body = {"answer": {"cut": True}}
            cut = client.post("/v1/completions", json=body, auth=ALICE)
            stream = pool.submit(client.post, "/v1/chat/completions", json=CHAT, auth=ALICE)
            time.sleep(0.6)  # two of its five events
            box.ssh("systemctl restart engine; sleep 1")
            assert isinstance(stream.exception(), httpx.RemoteProtocolError)  # closed, and not as if it were whole
        assert (cut.status_code, error_code(cut), cut.headers["Retry-After"]) == (503, "engine_unavailable", "10")

    def test_new_requests_of_an_engine_that_lets_others_end_are_told_so(self, box: Box, client: httpx.Client) -> None:
        body = {"answer": {"status": 500}}  # as vLLM answers them then
        leaving = "/run/boxwright/leaving/8080"
        box.ssh(f"install -D -m 644 /dev/null {leaving}")
        try:
            reply, page = client.post("/v1/completions", json=body, auth=ALICE), client.get("/")
        finally:
            box.ssh(f"rm {leaving}")
        assert (reply.status_code, error_code(reply), reply.headers["Retry-After"]) == (503, "engine_unavailable", "10")
        assert page.status_code == 200
        assert client.post("/v1/completions", json=body, auth=ALICE).status_code == 500

    @pytest.mark.parametrize(("status", "retry_after"), [(400, None), (502, None), (503, "10"), (504, None)])
    def test_what_the_engine_answers_itself_passes(
        self, client: httpx.Client, status: int, retry_after: str | None
    ) -> None:
        reply = client.post("/v1/completions", json={"answer": {"status": status}}, auth=ALICE)
        assert (reply.status_code, reply.json()) == (status, {"error": {"message": "the engine's own"}})
        assert reply.headers.get("Retry-After") == retry_after
        own = client.post("/v1/completions", json={"answer": {"status": status, "retry_after": "7"}}, auth=ALICE)
        assert own.headers.get_list("Retry-After") == ["7"]

    def test_a_flood_is_slowed_for_its_user_alone(self, box: Box, client: httpx.Client) -> None:
        box.provision(gateway_api_requests_per_minute=30, gateway_api_concurrent_requests=2)
        try:
            replies = [client.get("/v1/models", headers=ALICE_BEARER) for _ in range(12)]
            assert [reply.status_code for reply in replies[:5]] == [200] * 5
            refused = replies[-1]
            assert (refused.status_code, error_code(refused)) == (429, "rate_limit_exceeded")
            assert refused.headers["Retry-After"] == "10"
            assert client.get("/v1/models", headers={"Authorization": "Bearer bw-bob-0123456789abcdef"}).is_success
            with ThreadPoolExecutor(4) as pool:
                bob = httpx.BasicAuth("bob", "battery")
                jobs = [pool.submit(client.post, "/v1/chat/completions", json=CHAT, auth=bob) for _ in range(4)]
                statuses = sorted(job.result().status_code for job in jobs)
            assert statuses == [200, 200, 429, 429]
        finally:
            assert box.provision().code == 0


class TestChatPage:
    def test_no_password_is_asked_and_none_is_handed_on(self, client: httpx.Client) -> None:
        reply = client.get("/", auth=ALICE)
        assert reply.status_code == 200
        assert "authorization" not in reply.json()["headers"]

    def test_its_own_token_passes(self, client: httpx.Client) -> None:
        seen = client.get("/api/models", headers={"Authorization": "Bearer its.own.token"}).json()
        assert seen["headers"]["authorization"] == "Bearer its.own.token"

    def test_it_is_told_the_true_address(self, box: Box, client: httpx.Client) -> None:
        spoofed = {
            "X-Forwarded-For": "1.2.3.4",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "for=1.2.3.4",
            "X-Forwarded-Email": "admin@example.org",
        }
        seen = client.get("/", headers=spoofed).json()["headers"]
        assert "1.2.3.4" not in json.dumps(seen)
        assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("https", box.twin.address)
        assert seen["host"] == box.twin.address
        assert not {"forwarded", "x-forwarded-email"} & seen.keys()

    def test_websockets_pass(self, box: Box) -> None:
        context = box.trust()
        with gateway_box.connect(box, context) as connection:
            connection.sendall(
                f"GET /ws/socket.io/?transport=websocket HTTP/1.1\r\nHost: {box.twin.address}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            head = connection.recv(4096)
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
            connection.sendall(b"\x81\x02hi")
            assert connection.recv(64) == b"\x81\x02hi"

    def test_guessing_passwords_is_slowed(self, client: httpx.Client) -> None:
        replies = [client.post("/api/v1/auths/signin", json={"email": "a", "password": "b"}) for _ in range(30)]
        assert replies[0].status_code == 200
        assert replies[-1].status_code == 429
        assert "Too many" in replies[-1].json()["detail"]
        assert client.get("/").status_code == 200

    def test_headers_guard_the_browser(self, client: httpx.Client) -> None:
        headers = client.get("/").headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'self'"
        assert headers["Server"] == "nginx"
        assert "Strict-Transport-Security" not in headers

    @pytest.mark.on_demand
    def test_without_a_chat_page_only_the_api_is_there(self, box: Box, client: httpx.Client) -> None:
        assert box.provision(gateway_chat_page_url=None).code == 0
        try:
            assert error_code(client.get("/")) == "unknown_path"
            assert client.get("/v1/models", auth=ALICE).status_code == 200
        finally:
            assert box.provision().code == 0


class TestNamesAndCertificates:
    def test_a_foreign_name_is_not_served(self, box: Box) -> None:
        for scheme in ("http", "https"):
            status = curl(box, f"{scheme}://{box.twin.address}/", "-H", "Host: evil.example")
            assert status.endswith(" 421"), status

    def test_plain_http_only_redirects_and_hands_out_the_authority(self, box: Box) -> None:
        with httpx.Client(base_url=f"http://{box.twin.address}", trust_env=False) as plain:
            moved = plain.get("/v1/models?x=1", headers=ALICE_BEARER)
            assert moved.status_code == 301
            assert moved.headers["Location"] == f"https://{box.twin.address}/v1/models?x=1"
            assert plain.get("/boxwright-ca.crt").text == box.ssh("cat /etc/boxwright/pki/ca.crt")

    def test_old_tls_is_refused(self, box: Box) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError), gateway_box.connect(box, context):
            pass

    @pytest.mark.on_demand
    def test_new_names_bring_a_new_certificate_of_the_same_authority(self, box: Box) -> None:
        authority = box.ssh("cat /etc/boxwright/pki/ca.crt")
        names = [*box.variables["gateway_server_names"], "new.example.org"]
        run = box.provision(gateway_server_names=names)
        assert run.code == 0, run.output
        assert box.ssh("cat /etc/boxwright/pki/ca.crt") == authority
        with gateway_box.connect(box, box.trust(), "new.example.org") as connection:
            subject_names = dict(connection.getpeercert() or {})["subjectAltName"]
        assert ("DNS", "new.example.org") in subject_names
        assert ("IP Address", box.twin.address) in subject_names
        assert box.provision(gateway_server_names=names).changed == 0

    def test_a_certificate_about_to_expire_is_renewed_without_a_run(self, box: Box) -> None:
        assert box.ssh("systemctl is-enabled boxwright-certificate.timer").strip() == "enabled"
        serial = "openssl x509 -in /etc/boxwright/pki/gateway.crt -noout -serial"
        old = box.ssh(serial)
        box.ssh(
            "cd /etc/boxwright/pki; openssl req -new -key gateway.key -subj /CN=old | openssl x509 -req -days 20"
            " -CA ca.crt -CAkey ca.key -set_serial 1 -out gateway.crt; systemctl start boxwright-certificate"
        )
        assert box.ssh(serial) not in (old, "serial=01\n")
        with gateway_box.connect(box, box.trust()) as connection:
            assert connection.getpeercert()

    @pytest.mark.on_demand
    def test_a_given_certificate_is_used_and_a_wrong_key_is_refused(self, box: Box) -> None:
        given = gateway_box.self_signed(box.twin.address)
        other = gateway_box.self_signed(box.twin.address)
        mixed = box.provision(gateway_tls_chain_pem=given[0], gateway_tls_private_key_pem=other[1])
        assert mixed.code == 2
        assert "do not belong together" in mixed.output
        try:
            run = box.provision(gateway_tls_chain_pem=given[0], gateway_tls_private_key_pem=given[1])
            assert run.code == 0, run.output
            context = ssl.create_default_context(cadata=given[0])
            with httpx.Client(verify=context, trust_env=False) as client:
                reply = client.get(f"https://{box.twin.address}/")
            assert reply.headers["Strict-Transport-Security"] == "max-age=31536000"
        finally:
            assert box.provision().code == 0
        with gateway_box.connect(box, box.trust()) as connection:
            assert connection.getpeercert()


class TestMonitoring:
    def test_every_target_is_up(self, box: Box) -> None:
        query = "curl -s http://127.0.0.1:9090/api/v1/targets"
        deadline = time.monotonic() + 30
        targets: dict[str, str] = {}
        while time.monotonic() < deadline and set(targets.values()) != {"up"}:
            time.sleep(1)
            active = json.loads(box.ssh(query))["data"]["activeTargets"]
            targets = {target["labels"]["job"]: target["health"] for target in active}
        assert targets == {"prometheus": "up", "node": "up", "engine": "up"}

    def test_the_expiry_of_certificates_is_measured(self, box: Box) -> None:
        box.ssh("systemctl start boxwright-certificate")
        metrics = box.ssh("curl -s http://127.0.0.1:9100/metrics")
        (expiry,) = re.findall(r'boxwright_certificate_expiry\w+\{certificate="gateway"\} (\S+)', metrics)
        assert 824 * 86400 < float(expiry) - time.time() < 826 * 86400
        assert 'node_systemd_unit_state{name="nginx.service",state="active"' in metrics

    def test_rules_fire_when_they_should(self, box: Box) -> None:
        box.put("/tmp/rules_test.yml", RULE_TESTS.read_text())
        assert "SUCCESS" in box.ssh("promtool test rules /tmp/rules_test.yml 2>&1")

    def test_retention_is_as_asked(self, box: Box) -> None:
        status = json.loads(box.ssh("curl -s http://127.0.0.1:9090/api/v1/status/flags"))
        assert status["data"]["storage.tsdb.retention.time"] == "30d"


def test_the_log_says_who_and_nothing_secret(box: Box, client: httpx.Client) -> None:
    client.get("/v1/models?token=in-a-query", headers=ALICE_BEARER)
    time.sleep(0.2)
    log = box.ssh("cat /var/log/nginx/*.log")
    entry = json.loads([line for line in log.splitlines() if line.startswith("{")][-1])
    assert (entry["user"], entry["path"], entry["status"]) == ("alice", "/v1/models", 200)
    for secret in (gateway_box.ALICE_KEY, gateway_box.ENGINE_KEY, "in-a-query", "its.own.token"):
        assert secret not in log


def curl(box: Box, *arguments: str) -> str:
    """The body and the status, for requests that a well-behaved client would tidy first."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = ["curl", "-sk", "-w", " %{http_code}", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, env=environment).stdout

"""The gateway's files as they are rendered, and its certificates as they are really made."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter import core, urlsplit
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

REPOSITORY = Path(__file__).parents[3]
ROLE = REPOSITORY / "roles/gateway"
GIVEN: dict[str, Any] = {
    "gateway_server_names": ["box.example.org", "192.0.2.10", "2001:db8::10"],
    "gateway_api_users": [{"name": "alice", "password_hash": "$2b$05$hash", "api_key": "key.of+alice/0123456789"}],
    "gateway_engine_url": "http://127.0.0.1:8080/",
    "gateway_engine_key": "key-of-the-engine",
    "gateway_chat_page_url": "http://127.0.0.1:3000",
    "gateway_has_ipv6": True,
    "ansible_managed": "Ansible managed",
}


def render(template: str, **changes: Any) -> str:
    """Render one of the role's templates with Ansible's filters, as its settings of Jinja2 are."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  not HTML
    )
    for module in (core, urlsplit):
        environment.filters |= module.FilterModule().filters()
    environment.tests["match"] = lambda value, pattern: re.match(pattern, value) is not None
    variables: dict[str, Any] = {}
    for file in ("defaults/main.yml", "vars/main.yml"):
        variables |= yaml.safe_load((ROLE / file).read_text(encoding="utf-8"))
    variables |= GIVEN | changes
    for name, value in variables.items():
        if isinstance(value, str) and "{{" in value:
            variables[name] = environment.from_string(value).render(variables)
    return environment.get_template(template).render(variables)


def location(site: str, name: str) -> str:
    """The body of one location."""
    return site.partition(f"location {name} {{")[2].partition("\n    }")[0]


class TestSite:
    def test_every_api_path_is_guarded_and_goes_to_itself(self) -> None:
        site = render("site.conf.j2", gateway_api_paths=["/v1/models", "/v1/rerank"])
        for path in ("/v1/models", "/v1/rerank"):
            body = location(site, f"= {path}")
            assert "auth_basic $gateway_realm;" in body
            assert f"proxy_pass http://127.0.0.1:8080{path};" in body
        assert site.count("proxy_pass http://127.0.0.1:8080") == 2

    def test_the_password_is_off_for_a_known_key_only(self) -> None:
        (realm,) = re.findall(r"map \$gateway_key_user \$gateway_realm \{(.*?)\}", render("site.conf.j2"), re.DOTALL)
        assert re.findall(r"(\S+) (.+);", realm) == [('""', '"Boxwright API"'), ("default", "off")]

    def test_the_chat_page_never_gets_a_password_and_asks_for_none(self) -> None:
        body = location(render("site.conf.j2"), "/")  # of plain http
        assert "return 301" in body
        site = render("site.conf.j2").rpartition("server {")[2]
        assert "proxy_set_header Authorization $gateway_chat_authorization;" in location(site, "/")
        assert "auth_basic" not in location(site, "/")

    def test_readable_files_hold_no_secret(self) -> None:
        for template in ("site.conf.j2", "boxwright-gateway.sh.j2"):
            text = render(template, gateway_tls_chain_pem="chain", gateway_tls_private_key_pem="PEM-OF-THE-KEY")
            for secret in ("key-of-the-engine", "key.of+alice", "$2b$05$hash", "PEM-OF-THE-KEY"):
                assert secret not in text

    def test_names_of_all_kinds_are_answered(self) -> None:
        site = render("site.conf.j2")
        assert site.count("server_name box.example.org 192.0.2.10 [2001:db8::10];") == 2
        assert "listen [::]:443 ssl default_server;" in site
        assert "[::]" not in render("site.conf.j2", gateway_has_ipv6=False).replace("[2001:db8::10]", "")

    def test_hsts_is_for_a_given_certificate(self) -> None:
        assert "Strict-Transport-Security" not in render("site.conf.j2")
        assert "Strict-Transport-Security" in render("site.conf.j2", gateway_tls_chain_pem="chain")

    def test_no_location_drops_the_security_headers(self) -> None:
        server = render("site.conf.j2").rpartition("server {")[2]
        assert not re.search(r"location [^{]*\{[^}]*add_header", server)


def test_a_key_is_matched_to_the_letter() -> None:
    pattern = re.search(r'"~(.*)" "alice";', render("credentials.conf.j2"))
    assert pattern is not None
    assert pattern[1] == r"^(?i:bearer) +\Qkey.of+alice/0123456789\E$"


def test_the_script_passes_shellcheck(tmp_path: Path) -> None:
    script = tmp_path / "boxwright-gateway.sh"
    script.write_text(render("boxwright-gateway.sh.j2"), encoding="utf-8")
    shellcheck = Path(sys.executable).parent / "shellcheck"
    checked = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


class TestCertificate:
    @pytest.fixture
    def issue(self, tmp_path: Path) -> Callable[..., str]:
        """Run the script's `certificate` in a folder of the test's; returns what it says."""

        def run(**changes: Any) -> str:
            script = tmp_path / "boxwright-gateway"
            places = {"gateway_pki_directory": str(tmp_path), "gateway_metrics_directory": str(tmp_path)}
            script.write_text(render("boxwright-gateway.sh.j2", **places, **changes), encoding="utf-8")
            command = ["sh", str(script), "certificate"]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

        return run

    @staticmethod
    def read(path: Path) -> x509.Certificate:
        return x509.load_pem_x509_certificate(path.read_bytes())

    def test_is_issued_once_for_all_names(self, issue: Callable[..., str], tmp_path: Path) -> None:
        assert issue() == "issued: there was none"
        assert issue() == "unchanged"
        leaf, authority = self.read(tmp_path / "gateway.crt"), self.read(tmp_path / "ca.crt")
        leaf.verify_directly_issued_by(authority)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["box.example.org"]
        addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
        assert addresses == ["192.0.2.10", "2001:db8::10"]
        assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 825
        for name in ("ca.key", "gateway.key"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert "boxwright_certificate_expiry_timestamp_seconds" in (tmp_path / "boxwright_certificate.prom").read_text()

    def test_is_issued_again_for_new_names_by_the_same_authority(
        self, issue: Callable[..., str], tmp_path: Path
    ) -> None:
        issue()
        authority = (tmp_path / "ca.crt").read_bytes()
        assert issue(gateway_server_names=["new.example.org"]) == "issued: the box's names changed"
        assert (tmp_path / "ca.crt").read_bytes() == authority

    @pytest.mark.parametrize("broken", ["gateway.crt", "gateway.key"])
    def test_heals_what_a_cut_off_run_left(self, issue: Callable[..., str], tmp_path: Path, broken: str) -> None:
        issue()
        kept = (tmp_path / broken).read_bytes()
        issue(gateway_server_names=["new.example.org"])
        (tmp_path / broken).write_bytes(kept)
        (tmp_path / "gateway.names").write_text("DNS:new.example.org\n")
        assert issue(gateway_server_names=["new.example.org"]).startswith("issued: the one in place does not belong")
        key = load_pem_private_key((tmp_path / "gateway.key").read_bytes(), None)
        assert key.public_key() == self.read(tmp_path / "gateway.crt").public_key()

    def test_an_authority_without_its_key_is_not_replaced(self, issue: Callable[..., str], tmp_path: Path) -> None:
        issue()
        (tmp_path / "ca.key").unlink()
        with pytest.raises(subprocess.CalledProcessError) as failed:
            issue()
        assert "ca.key is missing" in failed.value.stderr


class TestServices:
    SERVICES = [
        {"name": "vectors", "engine_url": "http://127.0.0.1:8001", "engine_key": "key-of-the-second"},
        {"name": "a-b", "engine_url": "http://127.0.0.1:8002/", "engine_key": None},
    ]

    def test_each_has_the_same_paths_and_an_authorization_of_its_own(self) -> None:
        site = render("site.conf.j2", gateway_services=self.SERVICES)
        for number, path in ((1, "vectors"), (2, "a-b")):
            body = location(site, f"= /services/{path}/v1/models")
            assert "auth_basic $gateway_realm;" in body
            assert f"proxy_set_header Authorization $gateway_service_{number}_authorization;" in body
            assert f"proxy_pass http://127.0.0.1:800{number}/v1/models;" in body
        assert "404" in location(site, "/services/")
        credentials = render("credentials.conf.j2", gateway_services=self.SERVICES)
        assert 'map "" $gateway_service_1_authorization {\n    default "Bearer key-of-the-second";' in credentials
        assert 'map "" $gateway_service_2_authorization {\n    default "";' in credentials

    def test_without_any_there_is_no_such_place(self) -> None:
        assert "/services/" not in render("site.conf.j2")


class TestAbout:
    def test_pages_are_for_users_and_in_the_language_of_the_browser(self) -> None:
        site = render("site.conf.j2", gateway_about_pages={"en": "<p>", "zh": "<p>"})
        assert "auth_basic $gateway_realm;" in location(site, "^~ /about/")
        assert 'default en;\n    "~*^en" en;\n    "~*^zh" zh;' in site
        assert "add_header Content-Security-Policy $gateway_content_policy always;" in site

    def test_without_any_nothing_is_shown(self) -> None:
        assert "about" not in render("site.conf.j2")

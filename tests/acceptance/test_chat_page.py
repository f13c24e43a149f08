"""The chat page, through the gateway, as a person's browser uses it."""

from __future__ import annotations

import httpx
import pytest

from boxwright.verification.gateway import Gateway
from boxwright.verification.job import VerifyHost
from boxwright.verification.plugin import Evidence
from boxwright.verification.questions import ask, question

pytestmark = pytest.mark.usefixtures("stack")

CHAT = "/api/chat/completions"
SIGN_IN = "/api/v1/auths/signin"
# Open WebUI takes 15 attempts for an address within some three minutes, and counts those that it refuses, too: who
# verifies a box again and again waits until earlier ones are forgotten, and asks seldom.
SIGN_IN_PAUSES_S = (45.0, 45.0)
WEBSOCKET = "/ws/socket.io/?EIO=4&transport=websocket"


@pytest.fixture(scope="module")
def signed_in(gateway: Gateway, target: VerifyHost) -> httpx.Response:
    """The answer to the administrator's sign-in."""
    login = {"email": target.admin_email, "password": target.secrets.webui_admin_password.get_secret_value()}
    answer = gateway.request("POST", SIGN_IN, body=login, pauses_s=SIGN_IN_PAUSES_S)
    assert answer.status_code == 200, f"sign-in answered {answer.status_code}"
    return answer


@pytest.fixture(scope="module")
def session(signed_in: httpx.Response) -> str:
    """The `Authorization` of the administrator's session, as the page's own script sends it."""
    return f"Bearer {signed_in.json()['token']}"


@pytest.mark.check(
    id="chat_page.opens",
    title="The chat page opens without asking for the API's password",
    severity="critical",
    remedy="On the box: journalctl -u open-webui -n 50. Then provision again.",
    needs="chat_url",
)
def test_page_opens(gateway: Gateway, evidence: Evidence) -> None:
    answer = gateway.request("GET", "/")
    kind = answer.headers.get("content-type", "")
    assert answer.status_code == 200, f"answered {answer.status_code}"
    assert kind.startswith("text/html"), f"answered {kind}"
    evidence(f"200, {kind}, {len(answer.content)} bytes")


@pytest.mark.check(
    id="chat_page.sign_in",
    title="The administrator signs in",
    severity="critical",
    remedy="Provision again: the deploy open_webui makes the administrator from the site's secrets.",
    needs="chat_url",
)
def test_sign_in(session: str, target: VerifyHost, evidence: Evidence) -> None:
    assert len(session) > len("Bearer "), "sign-in gave no token"
    evidence(f"{target.admin_email} signed in")


@pytest.mark.check(
    id="chat_page.cookie",
    title="The session's cookie is closed to scripts and to plain HTTP",
    severity="major",
    remedy="Provision again: the deploy open_webui sets WEBUI_SESSION_COOKIE_SECURE and WEBUI_AUTH_COOKIE_SECURE.",
    needs="chat_url",
)
def test_cookie(signed_in: httpx.Response, evidence: Evidence) -> None:
    cookies = [cookie.lower() for cookie in signed_in.headers.get_list("set-cookie")]
    assert cookies, "sign-in set no cookie"
    assert all("httponly" in cookie for cookie in cookies), "scripts can read it"
    assert all("; secure" in cookie for cookie in cookies), "it travels without TLS"
    evidence("HttpOnly and Secure")


@pytest.mark.check(
    id="chat_page.wrong_password",
    title="A wrong password is refused",
    severity="critical",
    remedy="Take the box off the network and report this: the chat page lets strangers in.",
    needs="chat_url",
)
def test_wrong_password_is_refused(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    login = {"email": target.admin_email, "password": "not the password"}
    answer = gateway.request("POST", SIGN_IN, body=login, pauses_s=SIGN_IN_PAUSES_S)
    assert answer.status_code in (400, 401, 403), f"answered {answer.status_code}"
    assert "token" not in answer.cookies, "gave a session"
    evidence(f"{answer.status_code}")


@pytest.mark.check(
    id="chat_page.stranger",
    title="A visitor who is not signed in sees no models and starts no chat",
    severity="critical",
    remedy="Provision again: WEBUI_AUTH must be on.",
    needs="chat_url",
)
def test_strangers_are_refused(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    tried = {
        "no credentials": None,
        "a made-up token": "Bearer made.up.token",
        "the API's key": gateway.bearer,
        "the API's password": gateway.basic,
    }
    for name, authorization in tried.items():
        for method, path, body in (("GET", "/api/models", None), ("POST", CHAT, question(target.model_alias))):
            status = gateway.request(method, path, authorization=authorization, body=body).status_code
            assert status in (401, 403), f"{method} {path} with {name} answered {status}"
    evidence(f"refused with {', '.join(tried)}")


@pytest.mark.check(
    id="chat_page.sign_up",
    title="People make accounts for themselves only where the profile says so",
    severity="critical",
    remedy="Provision again: the deploy open_webui sets ENABLE_SIGNUP by stack.open_webui_sign_up.",
    needs="chat_url",
)
def test_sign_up_is_as_the_profile_says(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    answer = gateway.request("GET", "/api/config")
    assert answer.status_code == 200, f"/api/config answered {answer.status_code}"
    config, policy = answer.json(), target.profile.stack.open_webui_sign_up
    assert config["features"]["auth"] is True, "the page works without signing in"
    offered = config["features"]["enable_signup"]
    assert offered is (policy != "closed"), f"the page {'offers' if offered else 'does not offer'} to sign up"
    if policy != "closed":  # trying it would leave an account behind
        evidence(f"offered, as the profile says: {policy}")
        return
    stranger = {"name": "A stranger", "email": "stranger@verify.invalid", "password": "a-Long-1-password"}
    status = gateway.request("POST", "/api/v1/auths/signup", body=stranger).status_code
    assert status in (400, 401, 403), f"signing up answered {status}: remove the account stranger@verify.invalid"
    evidence(f"not offered, and {status} when tried")


@pytest.mark.check(
    id="chat_page.models",
    title="The signed-in page lists the promised model",
    severity="critical",
    remedy="On the box: journalctl -u open-webui -n 50; is the engine's key the same on both sides?",
    needs="chat_url",
)
def test_models_are_listed(gateway: Gateway, session: str, target: VerifyHost, evidence: Evidence) -> None:
    answer = gateway.request("GET", "/api/models", authorization=session)
    assert answer.status_code == 200, f"answered {answer.status_code}"
    models = [model["id"] for model in answer.json()["data"]]
    assert target.model_alias in models, f"lists {models}, not {target.model_alias}"
    evidence(f"lists {', '.join(models)}")


@pytest.mark.check(
    id="chat_page.chat",
    title="A chat on the page is answered, and the answer makes sense",
    severity="critical",
    remedy="On the box: journalctl -u open-webui -n 50, and the journal of the engine's unit.",
    needs="chat_url",
)
def test_chat(gateway: Gateway, session: str, target: VerifyHost, evidence: Evidence) -> None:
    answer = ask(gateway, CHAT, target.model_alias, session)
    assert answer.is_right, f"the capital of France is said to be {answer.text[:120]!r}"
    evidence(f"{answer.text.strip()[:120]!r}")


@pytest.mark.check(
    id="chat_page.websocket",
    title="The page's websocket passes the gateway",
    severity="major",
    remedy="Provision again: the gateway passes Upgrade on, and CORS_ALLOW_ORIGIN names the page.",
    needs="chat_url",
)
def test_websocket(gateway: Gateway, evidence: Evidence) -> None:
    status = gateway.websocket_status(WEBSOCKET)
    assert " 101 " in status, f"answered {status!r}"
    evidence(status)

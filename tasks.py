"""The verbs, as a person says them. Each hands over to `boxwright`; `docs/verbs/` has a page for every one."""

from __future__ import annotations

import inspect
import os
import sys

from invoke import Collection, task

from boxwright.errors import Exit
from boxwright.options import OPTIONS
from boxwright.verb import verb

_POSITIONAL = {"topic", "file", "statement", "before", "after"}


def _verb(function):
    """Make a task of a verb, with help for each of its arguments."""
    run = verb(function, OPTIONS)
    arguments = inspect.signature(run).parameters
    return task(
        run,
        help={name: text for name, text in OPTIONS.items() if name in arguments},
        positional=[name for name in arguments if name in _POSITIONAL],
        auto_shortflags=False,
    )


def _choice(profile, site, host, count=0, distribution="", service="", kind=""):
    from boxwright.provisioning.target import Choice

    twins = {"count": int(count), "distribution": distribution, "kind": kind}
    return Choice(profile=profile, site=site, host=host, service=service, **twins)


def _names(text):
    return tuple(name.strip() for name in text.split(",") if name.strip())


@_verb
def plan(console, profile, site="lab", host="", count=0, distribution="", kind="", stages="", bundle="", signer=""):
    """Show what would change: one diff over both engines. Exit 0 nothing, 2 changes, 1 error."""
    from boxwright.provisioning import verbs

    choice = _choice(profile, site, host, count, distribution, kind=kind)
    return verbs.plan(console, choice, _names(stages), bundle, signer)


@_verb
def provision(
    console, profile, site="lab", host="", count=0, distribution="", kind="", stages="", bundle="", signer="", yes=False
):
    """Turn bare hosts into verified private-LLM boxes: plan, confirm, apply, record, verify."""
    from boxwright.provisioning import verbs

    choice = _choice(profile, site, host, count, distribution, kind=kind)
    return verbs.provision(console, choice, yes=yes, only=_names(stages), bundle=bundle, signer=signer)


@_verb
def board(console, site="lab", listen="127.0.0.1:8700", html="", table=False):
    """Serve a page of every machine of a batch: serial, stage, bytes, time left, verdict. Changes nothing."""
    from boxwright.board import verbs

    return verbs.board(console, site=site, listen=listen, html=html, table=table)


@_verb
def verify(console, profile, site="lab", host="", count=0, distribution="", kind="", junit="", html="", deep=False):
    """Check provisioned hosts from outside: the acceptance suite."""
    from boxwright.provisioning import verbs
    from boxwright.reports.verification import Outputs

    choice = _choice(profile, site, host, count, distribution, kind=kind)
    return verbs.verify(console, choice, Outputs.chosen(junit, html), deep=deep)


@_verb
def report_write(console, profile, site="lab", host="", count=0, distribution="", to="", deep=False):
    """Verify provisioned hosts and certify each: signed JSON, pages, PDFs and JUnit. Exit 6: a box fails."""
    from boxwright.provisioning import certifying

    return certifying.report(console, _choice(profile, site, host, count, distribution), to, deep=deep)


@_verb
def report_check(console, file, signer=""):
    """Say whether a certificate is what was signed, and by which key. Exit 1: it is not."""
    from boxwright.reports import verbs

    return verbs.check(console, file, signer)


@_verb
def evidence_write(console, profile, site="lab", host="", count=0, distribution="", to="", lock=""):
    """Tell what is on provisioned hosts (CycloneDX) and how they were built (SLSA), signed; leave it there, too."""
    from boxwright.provisioning import evidence

    return evidence.write(console, _choice(profile, site, host, count, distribution), to, lock)


@_verb
def evidence_check(console, statement, signer=""):
    """Say whether evidence is what was signed, and by which key. Exit 1: it is not."""
    from boxwright.factory.evidence import verbs

    return verbs.check(console, statement, signer)


@_verb
def handover(console, profile, site="lab", host="", count=0):
    """Write the page about each box, for those who use it, and tell how to begin. Changes nothing on a box."""
    from boxwright.provisioning import handing_over

    return handing_over.handover(console, _choice(profile, site, host, count))


@_verb
def bench(console, profile, site="lab", host="", concurrency="", context="", answer=64, by="", timeout=120.0):
    """Measure how fast provisioned boxes answer, by the gateway and past it. Exit 6: slower than promised."""
    from boxwright.bench import verbs

    return verbs.bench(
        console,
        _choice(profile, site, host),
        concurrency=concurrency,
        context=context,
        answer=answer,
        by=by,
        timeout=timeout,
    )


@_verb
def enroll(console, site="", host="", fingerprint="", replace="", yes=False):
    """Pin machines' host keys at first contact, each after its fingerprint was confirmed. Exit 3: not all of them."""
    from boxwright.enrolment import verbs

    return verbs.enroll(console, site=site, host=host, fingerprint=fingerprint, replace=replace, yes=yes)


@_verb
def burnin(console, profile, site="lab", host="", minutes=60.0, only="", bundle="", signer="", keep=False):
    """Load boxes part by part, and count what breaks. What serves is slow meanwhile. Exit 6: something broke."""
    from boxwright.burnin import verbs

    choice, parts = _choice(profile, site, host), _names(only)
    return verbs.burnin(console, choice, minutes=minutes, only=parts, keep=keep, bundle=bundle, signer=signer)


@_verb
def detect(console, host="", site="", profile_file=False):
    """Say what a machine is, which profile comes closest, and what to look after. Changes nothing."""
    from boxwright.detection import verbs

    return verbs.detect(console, host=host, site=site, as_profile_file=profile_file)


@_verb
def fit(
    console,
    profile="",
    gpu="",
    count=1,
    box="",
    model="",
    context=8192,
    users=0,
    speed=10.0,
    people_per_request=10,
    html="",
):
    """Say which models fit on a machine, for how many people, and about how fast. Exit 2: it does not fit."""
    from boxwright.sizing import verbs

    asked = verbs.Question(profile, gpu, count, box, model, context, users, speed, people_per_request, html)
    return verbs.fit(console, asked)


@_verb
def profiles(console):
    """List the hardware profiles."""
    from boxwright.model.catalogues import load_profile, profile_names

    known = [load_profile(name) for name in profile_names()]
    rows = [(one.name, one.stack.model, one.stack.engine, one.summary) for one in known]
    console.table("Profiles", ["Name", "Model", "Engine", "Summary"], rows, kind="profile")


@_verb
def docs(console, topic):
    """Print the commented example of a profile or a site: every key, with what it means."""
    from boxwright.model.examples import example

    text = example(topic)
    console.data("example", {"topic": topic, "text": text})
    console.line(text.rstrip())


@_verb
def doctor(console):
    """Say whether this machine can run Boxwright and its lab, and what to do where it cannot."""
    from boxwright.doctor import examine, show

    return show(console, examine())


@_verb
def secrets_show(console, site="lab", host="", name=""):
    """Show the secrets of a host, from the vault."""
    from boxwright.provisioning.disclosure import show

    return show(console, site, host, name)


@_verb
def models_list(console, profile="", site="", host=""):
    """List the models that are known; with --profile and --site, those that lie on boxes."""
    from boxwright.weights import verbs

    return verbs.show(console, profile=profile, site=site, host=host)


@_verb
def models_pin(console, model, build="", site="", hub="", revision=""):
    """Ask a hub for sizes and digests of a build, and print them ready for the catalogue."""
    from boxwright.weights import verbs

    return verbs.pin_build(console, model=model, build=build, site=site, hub=hub, revision=revision)


@_verb
def models_switch(
    console, profile, model, site="lab", host="", build="", engine="", service="", bundle="", signer="", yes=False
):
    """Serve another model on boxes that run; the old one stays until the new one answers, or comes back."""
    from boxwright.provisioning.switch import served, switch

    choice = _choice(profile, site, host, service=service)
    return switch(console, choice, served(model, build, engine), yes=yes, bundle=bundle, signer=signer)


@_verb
def models_remove(console, profile, model, site="", host="", build="", yes=False):
    """Remove a model that the profile does not serve from its boxes, after a question."""
    from boxwright.weights import verbs

    return verbs.remove(console, profile=profile, site=site, host=host, model=model, build=build, yes=yes)


@_verb
def models_clean(console, profile, site="", host="", yes=False):
    """Remove every model that the profile does not serve from its boxes, after a question."""
    from boxwright.weights import verbs

    return verbs.clean(console, profile=profile, site=site, host=host, yes=yes)


@_verb
def models_try(
    console,
    profile,
    site="",
    host="",
    model="",
    build="",
    on="auto",
    bundle="",
    signer="",
    page=False,
    seconds=900,
    keep=False,
):
    """Load a model on a box beside what serves there, let it answer, and leave nothing; --page serves it meanwhile."""
    from boxwright.trying import verbs

    wish = verbs.Wish(model=model, build=build, on=on, page=page, seconds=seconds, keep=keep)
    return verbs.try_model(console, site=site, host=host, profile=profile, wish=wish, bundle=bundle, signer=signer)


@_verb
def bundle_lock(console, profile, site="lab", distribution="", also="", image=False, to=""):
    """Write down every artefact of a profile: name, version, size and digest, and no address."""
    from boxwright.factory import verbs

    return verbs.lock(
        console, profile=profile, site=site, distribution=distribution, to=to, also=_names(also), image=image
    )


@_verb
def bundle_diff(console, before, after):
    """Tell what differs between two locks, as a changelog."""
    from boxwright.factory import verbs

    return verbs.diff(console, before=before, after=after)


@_verb
def bundle_fetch(console, lock, bundle, site="lab", near=""):
    """Fetch what a lock names into a folder, verified and signed. Goes on where it was cut off."""
    from boxwright.factory import verbs

    return verbs.fill(console, lock_file=lock, bundle=bundle, site=site, near=near)


@_verb
def bundle_verify(console, bundle, signer=""):
    """Read every byte of a bundle, and name what is damaged. Exit 1: something is."""
    from boxwright.factory import verbs

    return verbs.verify(console, bundle=bundle, signer=signer)


@_verb
def bundle_serve(console, bundle, listen, signer=""):
    """Serve a bundle to boxes until Ctrl-C: apt repository, Python index, models."""
    from boxwright.factory import verbs

    return verbs.serve(console, bundle=bundle, listen=listen, signer=signer)


@_verb
def image_build(console, profile, bundle, key, distribution="", to="", signer="", without_stack=False):
    """Make the golden image of a profile out of a bundle: sealed, signed, the same bits from the same lock."""
    from boxwright.factory.image import verbs

    return verbs.build(console, verbs.Asked(profile, bundle, key, distribution, to, signer, without_stack))


@_verb
def bundle_clean(console, bundle, keep="", yes=False):
    """Remove from a bundle what no lock names."""
    from boxwright.factory import verbs

    return verbs.clean(console, bundle=bundle, keep=keep, yes=yes)


@_verb
def lab_up(console, profile="lab", site="lab", count=0, distribution="", kind=""):
    """Boot the throw-away hosts of a site on this machine."""
    from boxwright.lab import verbs

    verbs.up(console, _choice(profile, site, "", count, distribution, kind=kind))


@_verb
def lab_down(console, site="lab"):
    """Remove the throw-away hosts of a site and everything that was made for them."""
    from boxwright.lab import verbs

    verbs.down(console, site)


@_verb
def lab_status(console, site="lab"):
    """Show the throw-away hosts of a site."""
    from boxwright.lab import verbs

    verbs.status(console, site)


@_verb
def lab_ssh(console, host="", site="lab"):
    """Enter a throw-away host over ssh."""
    from boxwright.lab import verbs

    verbs.ssh(console, site, host)


@_verb
def lab_box(console, site="vagrant", distribution="debian-12"):
    """Make the box from which Vagrant boots the hosts of a site."""
    from boxwright.lab import verbs

    verbs.box(console, site, distribution)


@_verb
def test(console, fast=False, on_demand=False, only=""):
    """Run the project's tests: unit, golden, and the lab on twins."""
    from boxwright.places import ROOT

    console.info("Running the tests" + (" that need no twin" if fast else "; the lab boots twins on this machine"))
    sys.stdout.flush()
    suites = ["unit", "golden"] if fast else ["lab", "golden", "unit"]  # the long ones first, to end together
    argv = [
        sys.executable,
        "-m",
        "pytest",
        f"--rootdir={ROOT}",
        *(str(ROOT / "tests" / suite) for suite in suites),
        # A file's tests share their twins, so they stay together and in order. One worker more than there are cores:
        # each of them often waits for a twin.
        *("-n", str((os.cpu_count() or 1) + 1), "--dist", "loadfile", "--no-loadscope-reorder"),
    ]
    argv += ["-m", "on_demand"] if on_demand else []
    argv += ["-k", only] if only else []
    os.execv(sys.executable, argv)  # noqa: S606  pytest takes over, with its own signals and exit code


@_verb
def lint(console):
    """Run every linter: ruff, mypy, ansible-lint, yamllint, shellcheck."""
    from boxwright.linting import run_all
    from boxwright.places import ROOT

    def show(result):
        if result.ok:
            console.success(f"{result.linter.name}: {result.linter.why} ({result.seconds:.1f} s)")
        else:
            console.warning(f"{result.linter.name} failed")
            console.line(result.output)

    return Exit.OK if all(result.ok for result in run_all(ROOT, show)) else Exit.ERROR


namespace = Collection(
    plan, provision, board, verify, bench, burnin, handover, enroll, detect, fit, profiles, docs, doctor, test, lint
)
models = Collection("models", pin=models_pin, switch=models_switch, remove=models_remove, clean=models_clean)
models.add_task(models_try, name="try")
models.add_task(models_list, name="list", default=True)
namespace.add_collection(models)
report = Collection("report", check=report_check)
report.add_task(report_write, name="write", default=True)
namespace.add_collection(report)
evidence = Collection("evidence", check=evidence_check)
evidence.add_task(evidence_write, name="write", default=True)
namespace.add_collection(evidence)
bundle = Collection("bundle", lock=bundle_lock, diff=bundle_diff, fetch=bundle_fetch, verify=bundle_verify)
bundle.add_task(bundle_serve, name="serve")
bundle.add_task(bundle_clean, name="clean")
namespace.add_collection(bundle)
namespace.add_collection(Collection("image", build=image_build))
namespace.add_collection(Collection("lab", up=lab_up, down=lab_down, status=lab_status, ssh=lab_ssh, box=lab_box))
namespace.add_collection(Collection("secrets", show=secrets_show))

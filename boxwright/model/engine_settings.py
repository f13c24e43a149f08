"""Which settings the releases of an engine have: profiles are held against it, and commands are made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.errors import did_you_mean
from boxwright.model.base import Frozen, Identifier, Sha256
from boxwright.model.catalogue import RelativePath
from boxwright.model.setting import Setting, Value
from boxwright.model.versions import ReleaseName, in_span, is_patch_of, release_key


class ReleaseSource(Frozen):
    """Source code of a release, as a source distribution of a Python package index carries it."""

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    package: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    package_version: str
    sha256: Sha256
    folder: RelativePath  # below which it lies in the archive


class Release(Frozen):
    """A release whose settings were read."""

    version: ReleaseName
    wheels: dict[str, Sha256] = {}  # the files they were read from, by package; none: it cannot be read again
    source: ReleaseSource | None = None  # None: Boxwright does not build it


class Fact(Frozen):
    """What is known of a name beyond what an engine tells of itself. Kept by hand."""

    reserved: str | None = None
    instead: str | None = None
    instead_of: dict[str, str] = {}
    absent: Literal["never", "before"] | None = None
    aliases: tuple[str, ...] = ()


class Capability(Frozen):
    """What a kind of quantized weights asks of NVIDIA's cards, over a span of releases."""

    name: str  # a value of --quantization
    least: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]$")]  # compute capability
    since: ReleaseName | None = None
    until: ReleaseName | None = None


class KindOnCards(Frozen):
    """A kind of quantized weights that an engine takes on a maker's cards, over a span of releases."""

    name: str  # a value of --quantization
    since: ReleaseName | None = None
    until: ReleaseName | None = None


class Problem(Frozen):
    """What is wrong with one setting of a profile."""

    setting: str  # as the profile spells it
    message: str
    hint: str = ""


class EngineTable(Frozen):
    """The settings of an engine over its releases, oldest release first."""

    engine: Identifier
    default_version: ReleaseName  # the one that Boxwright installs where a profile names none
    cpu_version: ReleaseName | None = None  # the one for a machine without cards; None: the same
    older_versions: tuple[ReleaseName, ...] = ()  # newest first: for cards that the default has nothing for any more
    source: str
    assignment: Literal["equals", "space"] = "equals"  # how a flag and its value are written: --x=1, or --x 1
    releases: Annotated[tuple[Release, ...], Field(min_length=1)]
    facts: dict[str, Fact] = {}
    settings: tuple[Setting, ...]
    capabilities: tuple[Capability, ...] = ()
    on_amd: tuple[KindOnCards, ...] = ()  # kinds of quantized weights that it takes on AMD's cards

    @model_validator(mode="after")
    def _releases_ascend(self) -> EngineTable:
        keys = [release_key(version) for version in self.versions]
        if keys != sorted(set(keys)):
            raise ValueError("releases: not in ascending order, or one stands twice")
        return self

    @model_validator(mode="after")
    def _spans_end_at_releases_and_do_not_meet(self) -> EngineTable:
        for name, entries in self._entries.items():
            ends = {end for entry in entries for end in (entry.since, entry.until) if end}
            unread = sorted(ends - set(self.versions))
            if unread:
                raise ValueError(f"settings: '{name}' names {', '.join(unread)}, of which nothing was read")
            if any(sum(entry.has(version) for entry in entries) > 1 for version in self.versions):
                raise ValueError(f"settings: '{name}' stands twice for one release")
        return self

    @model_validator(mode="after")
    def _facts_are_of_settings(self) -> EngineTable:
        names = {setting.name for setting in self.settings}
        for name, fact in self.facts.items():
            if (name in names) == (fact.absent is not None):
                what = "is a setting, and is said to be none" if fact.absent else "is no setting"
                raise ValueError(f"facts: '{name}' {what}")
        return self

    @property
    def versions(self) -> tuple[str, ...]:
        """The releases that were read, oldest first."""
        return tuple(release.version for release in self.releases)

    @cached_property
    def _entries(self) -> dict[str, tuple[Setting, ...]]:
        """Every name with its spans, and with what is known of it beyond them."""
        entries: dict[str, tuple[Setting, ...]] = {}
        for setting in self.settings:
            fact = self.facts.get(setting.name, Fact())
            known = setting.model_copy(
                update={
                    "reserved": setting.reserved or fact.reserved,
                    "instead": setting.instead or fact.instead,
                    "instead_of": fact.instead_of,
                    "aliases": (*setting.aliases, *fact.aliases),
                }
            )
            entries[setting.name] = (*entries.get(setting.name, ()), known)
        for name, fact in self.facts.items():
            if fact.absent:
                entries[name] = (Setting(name=name, type="text", absent=fact.absent, instead=fact.instead),)
        return entries

    @cached_property
    def _canonical(self) -> dict[str, str]:
        """The name behind every spelling."""
        entries = [entry for spans in self._entries.values() for entry in spans]
        spellings = {alias: entry.name for entry in entries for alias in entry.aliases}
        return {**spellings, **{entry.name: entry.name for entry in entries}}

    @cached_property
    def _opposites(self) -> dict[str, str]:
        """The flag that each `--no-…` turns off."""
        flags = [entry for spans in self._entries.values() for entry in spans if entry.kind == "flag"]
        return {entry.opposite: entry.name for entry in flags if entry.opposite}

    def canonical(self, name: str) -> str:
        """The engine's own spelling: `max_model_len` is `--max-model-len`. An unknown name comes back as it is."""
        for spelling in _spellings(name):
            if spelling in self._canonical:
                return self._canonical[spelling]
        return name

    def names(self, version: str) -> list[str]:
        """The names that a release has."""
        return [name for name in self._entries if self.find(name, version)]

    def find(self, name: str, version: str) -> Setting | None:
        """The setting of this name, in any spelling, as a release has it.

        A release that was not read has a setting if the ones read before and after it have it; this is the later one's.

        Raises:
            ValueError: The text is no version.
        """
        found = self._found(self.canonical(name), version)
        return found[-1] if found else None

    def _found(self, name: str, version: str) -> list[Setting]:
        """The setting as the releases around this one have it, unless one of them lacks it."""
        spans = self._entries.get(name, ())
        found = [next((span for span in spans if span.has(read)), None) for read in self._around(version)]
        return [setting for setting in found if setting] if all(found) else []

    def capability(self, kind: str, version: str) -> str | None:
        """The least compute capability that a kind of quantized weights needs; None where a release tells none."""
        around = self._around(version)
        spans = [one for one in self.capabilities if one.name == kind]
        found = [one.least for one in spans for read in around if in_span(read, one.since, one.until)]
        return max(found, key=release_key, default=None)

    def runs_on_amd(self, kind: str, version: str) -> bool:
        """Whether a release takes a kind of quantized weights on AMD's cards, or one read before or after it does."""
        spans = [one for one in self.on_amd if one.name == kind]
        return any(in_span(read, one.since, one.until) for one in spans for read in self._around(version))

    def check_version(self, version: str) -> Problem | None:
        """Whether enough is known of a release to say which settings it has."""
        try:
            around = self._around(version)
        except ValueError as error:
            return Problem(setting="", message=f"{self.engine}: {error}", hint=f"Read were {', '.join(self.versions)}.")
        if around:
            return None
        first, last = self.versions[0], self.versions[-1]
        older = release_key(version) < release_key(first)
        end = f"older than {first}, the oldest" if older else f"newer than {last}, the newest"
        return Problem(
            setting="",
            message=f"{self.engine} {version} is {end} release whose settings are known",
            hint=f"Take one from {first} to {last}." if first != last else f"Take {first}.",
        )

    def check(self, version: str, settings: Mapping[str, Value], *, ours: bool = False) -> list[Problem]:
        """Hold settings against what a release has.

        Args:
            version: The release.
            settings: Values by name, in any spelling of the name.
            ours: Also allow what is reserved for Boxwright.

        Returns:
            What is wrong, in the order of the settings; nothing if the release takes them all.
        """
        problem = self.check_version(version)
        if problem:
            return [problem]
        problems = [self._check(version, name, value, ours=ours) for name, value in settings.items()]
        names = [self.canonical(name) for name in settings]
        twice = [name for number, name in enumerate(names) if name in names[:number]]
        return [found for found in problems if found] + [
            Problem(setting=name, message=f"'{name}' is set twice, in two spellings") for name in twice
        ]

    def _around(self, version: str) -> tuple[str, ...]:
        """A release that was read itself, or those read before and after it; nothing beyond the ends.

        A patch of the newest one that was read is taken to have the same settings.
        """
        key, last = release_key(version), self.versions[-1]
        before = [read for read in self.versions if release_key(read) <= key]
        after = [read for read in self.versions if release_key(read) >= key]
        if before and not after and is_patch_of(version, last):
            after = [last]
        return (before[-1], after[0]) if before and after else ()

    def _check(self, version: str, given: str, value: Value, *, ours: bool) -> Problem | None:
        name = self.canonical(given)
        spans = self._entries.get(name)
        if spans is None:
            return self._unknown(version, given)
        if spans[0].absent:
            past = f"never was a setting of {self.engine}"
            gone = f"is gone from {self.engine} since before {self.versions[0]}"
            message = f"'{name}' {past if spans[0].absent == 'never' else gone}"
            return Problem(setting=given, message=message, hint=spans[0].instead or "")
        found = self._found(name, version)
        if not found:
            hint = spans[-1].instead or self._without_word(version, spans)
            return Problem(setting=given, message=self._missing(version, name, spans), hint=hint)
        if found[-1].reserved and not ours:
            return Problem(setting=given, message=f"'{name}' is set by Boxwright itself", hint=found[-1].reserved)
        wrong = [setting.problem(value) for setting in found]
        hint = found[-1].instead_of.get(str(value), "")
        return Problem(setting=given, message=wrong[-1] or "", hint=hint) if all(wrong) else None

    def _unknown(self, version: str, given: str) -> Problem:
        spellings = _spellings(given)
        opposite = next((spelling for spelling in spellings if spelling in self._opposites), None)
        if opposite:
            return Problem(setting=given, message=f"'{opposite}' is written '{self._opposites[opposite]}: false'")
        known = self.names(version)
        near = next((found for spelling in spellings if (found := did_you_mean(spelling, known))), "")
        return Problem(setting=given, message=f"{self.engine} {version} has no setting '{given}'.{near}")

    def _without_word(self, version: str, spans: tuple[Setting, ...]) -> str:
        """What to do about a name that is gone, and of which nobody wrote down what replaces it."""
        having = [read for read in self.versions if any(span.has(read) for span in spans)]
        if release_key(having[-1]) > release_key(version):
            return ""  # it comes, or may be there
        return (
            "Leave it out. What replaces it, if anything does, is not known here: "
            f"{self.engine}'s notes on the releases after {having[-1]} may say."
        )

    def _missing(self, version: str, name: str, spans: tuple[Setting, ...]) -> str:
        """Why a release does not have a name that others have."""
        having = [read for read in self.versions if any(span.has(read) for span in spans)]
        around = self._around(version)
        if any(read in having for read in around):
            has, lacks = sorted(around, key=lambda read: read not in having)
            return f"it is not known whether {self.engine} {version} has '{name}': {has} does, and {lacks} does not"
        later = [read for read in having if release_key(read) > release_key(version)]
        if later:
            return (
                f"{self.engine} {version} does not have '{name}' yet: {later[0]} is the first release known to have it"
            )
        gone = self.versions[self.versions.index(having[-1]) + 1]
        return f"{self.engine} {version} does not have '{name}' any more: {gone} is the first release known without it"


def arguments(table: EngineTable, version: str, settings: Mapping[str, Value]) -> tuple[str, ...]:
    """The command-line words of the flags among the settings; Boxwright's own are allowed.

    A list ends where the next flag begins, so a positional argument stands before these words.

    Raises:
        ValueError: The release does not take one of the settings.
    """
    words: list[str] = []
    for setting, value in _checked(table, version, settings):
        if setting.kind == "flag":
            words += _flag(setting, value, table.assignment)
    return tuple(words)


def environment(table: EngineTable, version: str, settings: Mapping[str, Value]) -> dict[str, str]:
    """The variables among the settings, with their values; Boxwright's own are allowed.

    Raises:
        ValueError: The release does not take one of the settings.
    """
    checked = _checked(table, version, settings)
    return {setting.name: ",".join(setting.words(value)) for setting, value in checked if setting.kind == "environment"}


def _checked(table: EngineTable, version: str, settings: Mapping[str, Value]) -> Iterator[tuple[Setting, Value]]:
    problems = table.check(version, settings, ours=True)
    if problems:
        raise ValueError("; ".join(problem.message for problem in problems))
    for name, value in settings.items():
        setting = table.find(name, version)
        assert setting is not None  # noqa: S101  checked above
        yield setting, value


def _flag(setting: Setting, value: Value, assignment: str) -> list[str]:
    if setting.type == "boolean":
        return [setting.name] if value else [setting.opposite] if setting.opposite else []
    words = setting.words(value)
    if setting.type == "list" and setting.form == "words":
        return [setting.name, *words]
    pairs = [[f"{setting.name}={word}"] if assignment == "equals" else [setting.name, word] for word in words]
    return [word for pair in pairs for word in pair]


def _spellings(name: str) -> tuple[str, str, str, str]:
    """The name as it is, as a flag in full with hyphens and with underscores, and as a variable."""
    bare = name.lstrip("-")
    return name, "--" + bare.replace("_", "-"), "--" + bare.replace("-", "_"), name.upper()

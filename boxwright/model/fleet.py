"""A fleet: one profile on the hosts of one site. The value that plans and projections are made from."""

from __future__ import annotations

from ipaddress import ip_address

from pydantic import model_validator

from boxwright.errors import did_you_mean
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.base import Frozen, HostName
from boxwright.model.catalogue import Model, ModelCatalogue
from boxwright.model.contract import ProfileWaiver
from boxwright.model.ollama import DEFAULT_RELEASE, OllamaArchive, archive_of
from boxwright.model.profile import Profile
from boxwright.model.site import Host, Site
from boxwright.model.stack import EngineName, Service
from boxwright.model.switching import Switched
from boxwright.model.vllm_container import VENDOR_CONTAINERS
from boxwright.model.weights import Weights, page_weights, parts_of, weights_of


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class SizedSetting(Frozen):
    """What sizing chose for a service where its profile leaves it open, or says of what the profile fixes."""

    unit: str  # of the service
    setting: str  # by the profile's name
    value: str
    fixed: bool  # the profile says it
    reason: str


class Fleet(Frozen):
    """A validated pair of profile and site, and the model that the profile names."""

    profile: Profile
    site: Site
    catalogue: ModelCatalogue
    accelerators: AcceleratorCatalogue
    left_out: frozenset[HostName] = frozenset()  # hosts of the site that a run does not touch
    switched: dict[str, Switched] = {}  # what services of `profile` serve by somebody's choice, and not by its file
    sized: tuple[SizedSetting, ...] = ()  # what `profile` got from sizing

    @model_validator(mode="after")
    def _models_are_known(self) -> Fleet:
        for service in self.profile.stack.services:
            try:
                model = parts_of(service, self.catalogue)[0].model
            except ValueError as error:
                raise ValueError(f"stack.model: {error}") from None
            if service.context_tokens > model.context_length:
                raise ValueError(
                    f"stack.context_tokens: {service.context_tokens} is more than the "
                    f"{model.context_length} tokens that {model.id} was trained for"
                )
        return self

    @model_validator(mode="after")
    def _hosts_make_whole_boxes(self) -> Fleet:
        nodes, hosts = self.profile.nodes, len(self.site.hosts)
        if hosts % nodes:
            raise ValueError(f"a {self.profile.name} is {nodes} machines, and the site has {hosts}")
        return self

    @model_validator(mode="after")
    def _nodes_have_addresses(self) -> Fleet:
        if self.profile.nodes > 1 and self.site.twin is None:
            for host in self.site.hosts:
                place = host.compute_address or host.address or ""
                if not _is_ip(place):
                    raise ValueError(
                        f"hosts: the nodes of a {self.profile.name} let each other in by IP address, and "
                        f"{host.name} is known as '{place}': set its compute_address"
                    )
        return self

    @model_validator(mode="after")
    def _disks_are_the_profiles(self) -> Fleet:
        named = {disk.name for disk in self.profile.hardware.disks if "system" not in disk.holds}
        for host in self.site.hosts:
            for name in host.disks:
                if name not in named:
                    raise ValueError(f"hosts: {host.name} has a disk '{name}'.{did_you_mean(name, sorted(named))}")
        return self

    @model_validator(mode="after")
    def _installers_are_supplied(self) -> Fleet:
        profile, artefacts = self.profile, self.site.artefacts
        wanted = {
            "ascend": profile.ascend.parts if profile.ascend else (),
            "hygon_dtk": profile.hygon_dtk.parts if profile.hygon_dtk else (),
        }
        if self.site.twin is None:  # twins are given simulated ones
            for vendor, parts in wanted.items():
                supplied = {one.part for one in getattr(artefacts, vendor)}
                missing = [part for part in parts if part not in supplied]
                if missing:
                    raise ValueError(
                        f"{profile.name} installs {vendor} from files that the vendor gives to its customers: "
                        f"name {', '.join(missing)} under artefacts.{vendor} of the site"
                    )
        return self

    @model_validator(mode="after")
    def _modules_are_published(self) -> Fleet:
        driver, twin = self.profile.nvidia_driver, self.site.twin
        if driver and driver.packaging == "precompiled" and twin:
            raise ValueError(
                f"nvidia_driver.packaging: nobody publishes modules that are built for {twin.distribution}, which the "
                f"twins run; Ubuntu alone does. Set packaging to dkms"
            )
        return self

    @property
    def waivers(self) -> tuple[ProfileWaiver, ...]:
        """What is set aside on these boxes, by their owner and by whoever made their profile."""
        return (*self.site.waivers, *self.profile.waivers)

    def accepted(self, host: str) -> frozenset[str]:
        """The names of what is set aside on one host."""
        return frozenset(one.check for one in self.waivers if one.covers(one.check, host))

    @property
    def model(self) -> Model:
        """The model that the stack serves."""
        return self.weights.model

    @property
    def weights(self) -> Weights:
        """What the main service serves."""
        return weights_of(self.profile.stack, self.catalogue)

    @property
    def all_weights(self) -> tuple[Weights, ...]:
        """What the services serve, and what the chat page searches documents by, each build once."""
        stack = self.profile.stack
        found = [weights for service in stack.services for weights in parts_of(service, self.catalogue)]
        page = page_weights(stack, self.catalogue)
        return tuple({weights.name: weights for weights in (*found, *((page,) if page else ()))}.values())

    @property
    def without_stack(self) -> str:
        """Why nothing serves on these machines, so that they alone are made; empty where something does."""
        if self.site.twin and self.profile.hardware.accelerators:
            return "the cards of a twin are simulated, and no engine computes on them"
        reasons = (self._not_served(service) for service in self.profile.stack.services)
        return next((reason for reason in reasons if reason), "")

    def _not_served(self, service: Service) -> str:
        """Why one service of the stack cannot be installed; empty where it can."""
        parts = parts_of(service, self.catalogue)
        if foreign := self._not_on_foreign_cards(service):
            return foreign
        if service.engine == "ollama" and self.ollama_archive is None:
            return f"no digest of Ollama {self.ollama_release} is known: name its archive under artefacts.ollama"
        container = VENDOR_CONTAINERS.get(service.engine)
        if container and service.engine_image is None:
            return f"no image of {service.engine} is known: name one of {container.image} under artefacts.images"
        unpinned = next((weights.name for weights in parts if not weights.build.pinned), None)
        if unpinned:
            return f"{unpinned} is not fetched: no digests of its files are pinned (./invoke models.pin)"
        return ""

    def _not_on_foreign_cards(self, service: Service) -> str:
        """Why an engine does not compute on the cards of this machine, which are not NVIDIA's; empty where it does."""
        card = next(iter(self.foreign_cards), "")
        if not card or (service.engine == "llama_cpp" and not self.profile.cards_of(service)):
            return ""
        why = {
            "llama_cpp": f"llama.cpp is built for NVIDIA's cards alone so far, and not for {card}",
            "ollama": f"Ollama's libraries for {card} are an archive of their own: not installed yet",
            "vllm": f"vLLM for {card} is an image of its vendor's, and how to run it is published nowhere",
        }
        return why.get(service.engine, "")

    @property
    def rehearsed(self) -> tuple[EngineName, ...]:
        """Engines that are installed and examined on these machines, though nothing can serve there.

        A good part of KTransformers computes on processors, and a twin has real ones.
        """
        engines = {service.engine for service in self.profile.stack.services}
        on_twins = self.site.twin is not None and self.profile.hardware.accelerator_count > 0
        return ("ktransformers",) if on_twins and "ktransformers" in engines else ()

    @property
    def ollama_release(self) -> str:
        """The release of Ollama that its services want, or would want."""
        wanted = [one.engine_version for one in self.profile.stack.services if one.engine == "ollama"]
        return next(iter(wanted), None) or DEFAULT_RELEASE

    @property
    def ollama_archive(self) -> OllamaArchive | None:
        """The archive that it is unpacked from; None where nobody says what its digest must be."""
        site = self.site
        found = archive_of(self.ollama_release, site.artefacts.ollama, site.mirrors.ollama_releases)
        if found is None or site.bundle is None:
            return found
        return found.model_copy(update={"path": None, "urls": (site.bundle.file(found.sha256),)})

    @property
    def served_name(self) -> str:
        """The main service's model as the engine lists it."""
        return self.listed_name(self.profile.stack)

    def listed_name(self, service: Service) -> str:
        """The model of a service as its engine lists it."""
        name = weights_of(service, self.catalogue).model.id
        return f"{name}:latest" if service.engine == "ollama" else name

    @property
    def foreign_cards(self) -> tuple[str, ...]:
        """Names of the cards that are not NVIDIA's."""
        groups = self.profile.hardware.accelerators
        known = [(group.name, self.accelerators.find(group.pci_id)) for group in groups]
        return tuple(name for name, found in known if found is None or found[0].vendor != "nvidia")

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The machines that a run is about."""
        return tuple(host for host in self.site.hosts if host.name not in self.left_out)

    def head_of(self, host: Host) -> Host:
        """The machine of this one's box that clients speak to."""
        return self.box_of(host)[0]

    def leads(self, host: Host) -> bool:
        """Whether clients speak to this machine; another node of a box lends its cards and sends them on."""
        return self.head_of(host).name == host.name

    def box_of(self, host: Host) -> tuple[Host, ...]:
        """The machines that serve one model together with this one, itself included; the first is the head."""
        place = [one.name for one in self.site.hosts].index(host.name)
        first = place - place % self.profile.nodes
        return self.site.hosts[first : first + self.profile.nodes]

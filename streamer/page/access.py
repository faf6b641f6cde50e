"""Who asks, and what they may do: the user of a trusted proxy, or the user of this machine on its loopback address."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from secrets import token_bytes
from typing import Final
from urllib.parse import urlsplit

from retrain.messages.control import Proof

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
NAME_CHARS_MAX: Final = 200  # of a user, as of an actor in a control record


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str  # "" for nobody known
    may_decide: bool
    how: str  # how the name was proven, for people
    proof: Proof = Proof.NONE  # the same, as control records have it
    session: str = field(default="", repr=False)  # that of a login, which the user's forms belong to


NOBODY: Final = User("", False, "nobody has logged in")


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one server. A user header counts only from the addresses of `proxies`."""

    host: str  # that the server is bound to
    local_user: str = ""  # the actor where no proxy is configured
    read_only: bool = False
    user_header: str = ""
    groups_header: str = ""
    approvers: str = ""  # the group that may decide; "" for every known user
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    own_name: str = ""  # the host name of a login's address, which a loopback server answers to as well
    secret: bytes = field(default_factory=lambda: token_bytes(32), repr=False)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK

    def user_of(self, peer: str, headers: Mapping[str, str]) -> User:
        """The user of a request from an address."""
        if self.user_header:
            name = headers.get(self.user_header, "").strip() if self._is_proxy(peer) else ""
            if not name or len(name) > NAME_CHARS_MAX:
                return User("", False, "no trusted proxy has named a user")
            groups = (
                {one.strip() for one in headers.get(self.groups_header, "").split(",")} if self.groups_header else set()
            )
            is_approver = not self.approvers or self.approvers in groups
            return User(name, is_approver and not self.read_only, f"{self.user_header} of {peer}", Proof.PROXY)
        if self.is_local and self.local_user:
            return User(self.local_user, not self.read_only, "the user of this machine", Proof.LOCAL)
        return User("", False, "no proxy that names users is configured")

    def is_host(self, host: str) -> bool:
        """Whether a Host header may be answered: on the loopback address only its own names, against DNS rebinding."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in {*LOOPBACK, self.own_name or "localhost"} if self.is_local and not self.proxies else True

    def token(self, user: User) -> str:
        """What a form of this user must carry."""
        return hmac.new(self.secret, f"{user.session}\0{user.name}".encode(), "sha256").hexdigest()

    def is_from_own_page(self, headers: Mapping[str, str], user: User, token: str) -> bool:
        """Whether a form was sent from a page of this server to this user."""
        site = headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            return False
        if site is None and urlsplit(headers.get("origin", "")).netloc != headers.get("host", ""):
            return False
        return hmac.compare_digest(self.token(user).encode(), token.encode())

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in one for one in self.proxies)

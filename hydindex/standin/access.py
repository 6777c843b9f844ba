"""The access keys of the stand-in client, what each permits, and how a program asks for one."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from hydindex.standin.replies import Refusal, bad_request

ADD_FILES = 1
SEARCH = 3
RELATIONSHIPS = 8
POPUPS = 10
LOCAL_PATHS = 13
EVERY_PERMISSION = frozenset(range(14))

# In the order in which Hydrus lists them in its descriptions.
_DESCRIPTIONS = {
    RELATIONSHIPS: "edit file relationships",
    ADD_FILES: "import and delete files",
    POPUPS: "manage popups",
    SEARCH: "search for and fetch files",
    LOCAL_PATHS: "see local file paths",
}


@dataclass(frozen=True, slots=True)
class Access:
    """What the holder of an access key may do."""

    name: str
    permissions: frozenset[int]

    def check(self, permission: int) -> None:
        """Refuse (403) one who lacks a permission."""
        if permission not in self.permissions:
            text = f"You do not have permission to: {_DESCRIPTIONS[permission]}"
            raise Refusal(403, "InsufficientCredentialsException", text)

    def described(self) -> dict[str, object]:
        """Tell what is permitted, as `/verify_access_key` does."""
        everything = self.permissions == EVERY_PERMISSION
        described = [text for number, text in _DESCRIPTIONS.items() if number in self.permissions]
        can_do = f"{', '.join(described)}: Can search: allowing all tags"
        return {
            "name": self.name,
            "permits_everything": everything,
            "basic_permissions": sorted(self.permissions),
            "human_description": (
                f"API Permissions ({self.name}): {'can do anything' if everything else can_do}"
            ),
        }


NOBODY = Access("", frozenset())

FULL_KEY = "f0" * 32
SEARCH_ONLY_KEY = "5e" * 32
SEARCH_AND_RELATIONSHIPS_KEY = "38" * 32
LOCAL_PATHS_KEY = "1d" * 32
POPUPS_KEY = "90" * 32

_KEPT_FROM_THE_START = {
    FULL_KEY: Access("full", EVERY_PERMISSION),
    SEARCH_ONLY_KEY: Access("search only", frozenset({SEARCH})),
    SEARCH_AND_RELATIONSHIPS_KEY: Access("hydindex", frozenset({SEARCH, RELATIONSHIPS})),
    LOCAL_PATHS_KEY: Access("beside Hydrus", frozenset({SEARCH, RELATIONSHIPS, LOCAL_PATHS})),
    POPUPS_KEY: Access("with popups", frozenset({SEARCH, RELATIONSHIPS, POPUPS})),
}


class AccessKeys:
    """The keys that a client knows, and its dialog *add > from api request*.

    A program is given a key at once, while that dialog is open; it opens nothing until the user has
    approved what was asked for. Of several requests the client only remembers the last.
    """

    def __init__(self) -> None:
        self._dialog_is_open = False
        self._known = dict(_KEPT_FROM_THE_START)
        self._requested: tuple[str, Access] | None = None

    def access_of(self, key: str) -> Access:
        """Look up a key as it stands in the header: 400 unless hex, 403 where unknown."""
        try:
            normal_key = bytes.fromhex(key).hex()
        except ValueError:
            raise bad_request("Problem parsing Hydrus-Client-API-Access-Key!") from None
        if normal_key not in self._known:
            text = "Did not find an entry for that access key!"
            raise Refusal(403, "InsufficientCredentialsException", text)
        return self._known[normal_key]

    def open_dialog(self) -> None:
        """Wait for a request, as the user lets the client do; an earlier one is forgotten."""
        self._dialog_is_open = True
        self._requested = None

    def check_dialog(self) -> None:
        """Refuse (409) whoever asks for a key while the dialog is not open."""
        if not self._dialog_is_open:
            text = (
                "The permission registration dialog is not open. "
                'Please open it under "review services" in the hydrus client.'
            )
            raise Refusal(409, "ConflictException", text)

    def request(self, access: Access) -> str:
        """Make a key for what a program asks for; nobody else has heard of it yet."""
        key = secrets.token_hex(32)
        self._requested = key, access
        return key

    def approve(self, permissions: Collection[int] | None = None) -> None:
        """Take up what was asked for, or what the user makes of it, and close the dialog.

        May be called again: the user edits the key.

        Raises:
            ValueError: no request has come.
        """
        if self._requested is None:
            raise ValueError("there is no request to approve")
        key, access = self._requested
        if permissions is not None:
            access = Access(access.name, frozenset(permissions))
        self._known[key] = access
        self._dialog_is_open = False

"""The access keys of the stand-in client, and what each permits."""

from dataclasses import dataclass

from hydindex.demo.replies import Refusal, bad_request

ADD_FILES = 1
SEARCH = 3
RELATIONSHIPS = 8
LOCAL_PATHS = 13
EVERY_PERMISSION = frozenset(range(14))

# In the order in which Hydrus lists them in its descriptions.
_DESCRIPTIONS = {
    RELATIONSHIPS: "edit file relationships",
    ADD_FILES: "import and delete files",
    SEARCH: "search for and fetch files",
    LOCAL_PATHS: "see local paths",
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

_ACCESS = {
    FULL_KEY: Access("full", EVERY_PERMISSION),
    SEARCH_ONLY_KEY: Access("search only", frozenset({SEARCH})),
    SEARCH_AND_RELATIONSHIPS_KEY: Access("hydindex", frozenset({SEARCH, RELATIONSHIPS})),
    LOCAL_PATHS_KEY: Access("beside Hydrus", frozenset({SEARCH, RELATIONSHIPS, LOCAL_PATHS})),
}


def access_of(key: str) -> Access:
    """Look up an access key as it stands in the header: 400 unless hex, 403 where unknown."""
    try:
        normal_key = bytes.fromhex(key).hex()
    except ValueError:
        raise bad_request("Problem parsing Hydrus-Client-API-Access-Key!") from None
    if normal_key not in _ACCESS:
        text = "Did not find an entry for that access key!"
        raise Refusal(403, "InsufficientCredentialsException", text)
    return _ACCESS[normal_key]

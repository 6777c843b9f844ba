"""Permissions of an access key, by Hydrus's numbers."""

from typing import Final

SEARCH_FILES: Final = 3
EDIT_RELATIONSHIPS: Final = 8
MANAGE_POPUPS: Final = 10
SEE_LOCAL_PATHS: Final = 13

REQUIRED: Final = {
    SEARCH_FILES: "search for and fetch files",
    EDIT_RELATIONSHIPS: "edit file relationships",
}
"""The permissions that every run needs, with Hydrus's names for them."""

OPEN_DIALOG: Final = "services > review services > local > client api > add > from api request"
"""Menu path of the dialog in which Hydrus grants access keys."""
